"""RunInstances."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from econe_api.actions import (
    group_lookup,
    instance_rows,
    ipv6,
    key_pairs,
    launch_request,
    metadata_options,
    networks,
    placement,
    tag_rows,
)
from econe_api.actions.launch_request import LaunchRequest
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.quotas import GROUPS_PER_INTERFACE, INSTANCES
from econe_api.store.records import Kind
from econe_api.store.schema import client_tokens, groups, instances, interface_groups, interfaces, ipv6_addresses
from econe_api.store.transaction import Transaction

#: How long a ClientToken is remembered; EC2 promises a day.
_TOKEN_LIFE = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the instances of a launch go: a host and a private address each."""

    subnet: Row[Any]
    hosts: Sequence[str]
    addresses: Sequence[str]


def run(call: Call, txn: Transaction) -> dict[str, Any]:
    """Record new instances in state ``pending``; a ClientToken that comes again answers with the first launch."""
    request = launch_request.parse(call.params, txn.config)
    earlier = _earlier(txn, request)
    if earlier is not None:
        return _answer(txn, earlier)
    if request.key_name is not None:
        key_pairs.check(txn, request.key_name)
    subnets = _subnets(txn, request)
    chosen = _groups(txn, request, subnets[0])
    plan = _plan(txn, request, subnets)
    reservation = txn.new_id("r")
    _insert(txn, request, plan, chosen, reservation)
    if request.token is not None:
        row = {"account": txn.account, "token": request.token, "fingerprint": request.fingerprint}
        txn.connection.execute(insert(client_tokens).values(**row, result=reservation, created=txn.now))
    return _answer(txn, reservation)


def _earlier(txn: Transaction, request: LaunchRequest) -> str | None:
    if request.token is None:
        return None
    txn.connection.execute(delete(client_tokens).where(client_tokens.c.created < txn.now - _TOKEN_LIFE))
    query = select(client_tokens).where(client_tokens.c.account == txn.account, client_tokens.c.token == request.token)
    row = txn.connection.execute(query).first()
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise Ec2Error(
            "IdempotentParameterMismatch",
            "The client token you have provided is associated with a resource that has different parameters.",
        )
    return str(row.result)


def _answer(txn: Transaction, reservation: str) -> dict[str, Any]:
    views = instance_rows.load(txn, instances.c.reservation == reservation)
    views.sort(key=lambda view: int(view.row.launch_index))
    return {
        "ReservationId": reservation,
        "OwnerId": txn.account,
        "Groups": [],
        "Instances": [instance_rows.instance(view) for view in views],
    }


def _subnets(txn: Transaction, request: LaunchRequest) -> list[Row[Any]]:
    """The subnets that the instances may go to (all to one of them)."""
    if request.subnet is None:
        subnets = networks.default_subnets(txn)
        matching = [row for row in subnets if request.zone in (None, row.zone)]
        if not matching:
            raise Ec2Error(
                "InvalidInput", f"No default subnet for availability zone: '{request.zone}'. Specify a subnet."
            )
        return matching
    subnet = networks.subnet(txn, request.subnet)
    if request.zone not in (None, subnet.zone):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Invalid Availability Zone ({request.zone}): the subnet '{subnet.id}' is in {subnet.zone}",
        )
    return [subnet]


def _groups(txn: Transaction, request: LaunchRequest, subnet: Row[Any]) -> list[str]:
    if not request.group_ids and not request.group_names:
        query = select(groups.c.id).where(groups.c.vpc == subnet.vpc, groups.c.name == "default")
        return [txn.connection.execute(query).scalar_one()]
    rows = group_lookup.resolve(txn, request.group_ids, request.group_names)
    for row in rows:
        if row.vpc != subnet.vpc:
            raise Ec2Error(
                "InvalidParameter", f"Security group {row.id} and subnet {subnet.id} belong to different networks."
            )
    refuse_many(txn, len(rows))
    return [row.id for row in rows]


def refuse_many(txn: Transaction, count: int) -> None:
    """Refuse more groups on an interface than the quota allows.

    Raises:
        Ec2Error: SecurityGroupsPerInterfaceLimitExceeded.

    """
    if count > txn.quota(GROUPS_PER_INTERFACE):
        raise Ec2Error(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        )


def _plan(txn: Transaction, request: LaunchRequest, subnets: Sequence[Row[Any]]) -> _Plan:
    most = min(request.most, _quota_left(txn))
    if most < request.least:
        raise Ec2Error(
            "InstanceLimitExceeded",
            f"You have requested more instances ({request.least}) than your current instance limit of "
            f"{txn.quota(INSTANCES)} allows. Please ask the operator of the cloud for a higher limit.",
        )
    left = rooms(txn)
    used: dict[str, set[str]] = {subnet.id: set() for subnet in subnets}
    query = select(interfaces.c.subnet, interfaces.c.private_ip).where(interfaces.c.subnet.in_(used))
    for row in txn.connection.execute(query):
        used[row.subnet].add(row.private_ip)
    plans = []
    for subnet in subnets:
        here = {host.name: left[host.name] for host in txn.config.hypervisors if host.zone == subnet.zone}
        hosts = placement.spread(here, request.size, most)
        addresses = _addresses(request, subnet, used[subnet.id], len(hosts))
        plans.append((_Plan(subnet, hosts, addresses), sum(room.memory_mib for room in here.values())))
    # Enough room first, then enough addresses, then the zone with the most memory left; zones are in order of name.
    best = max(plans, key=lambda entry: (len(entry[0].addresses), len(entry[0].hosts), entry[1]))[0]
    _refuse_small(request, best)
    return best


def _quota_left(txn: Transaction) -> int:
    mine = select(func.count()).select_from(instances)
    mine = mine.where(instances.c.account == txn.account, instances.c.state.not_in(instance_rows.ENDED))
    return txn.quota(INSTANCES) - (txn.connection.scalar(mine) or 0)


def rooms(txn: Transaction) -> dict[str, placement.Room]:
    """What is left on every host, over all accounts; an instance keeps its room until it is really gone."""
    query = (
        select(instances.c.host, instances.c.type, func.count())
        .where(instances.c.state != "terminated")
        .group_by(instances.c.host, instances.c.type)
    )
    sizes = {size.name: size for size in txn.config.instance_types}
    running = [(host, size, count) for host, size, count in txn.connection.execute(query)]
    return placement.rooms(txn.config.hypervisors, sizes, running)


def _addresses(request: LaunchRequest, subnet: Row[Any], used: set[str], count: int) -> list[str]:
    if request.private_ip is None:
        return list(islice(placement.free_addresses(subnet.cidr, used), count))
    launch_request.check_in_subnet(request.private_ip, subnet.cidr)
    if placement.is_reserved(subnet.cidr, request.private_ip):
        raise Ec2Error("InvalidParameterValue", f"Address {request.private_ip} is in subnet's reserved address range")
    if request.private_ip in used:
        raise Ec2Error("InvalidIPAddress.InUse", f"Address {request.private_ip} is in use.")
    return [request.private_ip][:count]


def _refuse_small(request: LaunchRequest, plan: _Plan) -> None:
    zone = plan.subnet.zone
    if len(plan.hosts) < request.least:
        raise Ec2Error(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {request.size.name} capacity in the Availability Zone you requested "
            f"({zone}).",
            500,
        )
    if len(plan.addresses) < request.least:
        raise Ec2Error(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{plan.subnet.id}' to satisfy the requested number of "
            "instances.",
        )


def _insert(txn: Transaction, request: LaunchRequest, plan: _Plan, chosen: Sequence[str], reservation: str) -> None:
    new_instances: list[dict[str, Any]] = []
    new_interfaces: list[dict[str, Any]] = []
    macs = _macs(txn, len(plan.addresses))
    ipv6_chosen = ipv6.choose(txn, plan.subnet, request.ipv6, len(plan.addresses))
    ipv6_rows: list[dict[str, Any]] = []
    for index, (host, address) in enumerate(zip(plan.hosts, plan.addresses, strict=False)):
        instance, interface = txn.new_id("i"), txn.new_id("eni")
        new_instances.append(
            {
                "id": instance,
                "account": txn.account,
                "reservation": reservation,
                "launch_index": index,
                "client_token": request.token,
                "image": request.image,
                "type": request.size.name,
                "key_name": request.key_name,
                "user_data": request.user_data,
                "host": host,
                "zone": plan.subnet.zone,
                "state": "pending",
                "launched": txn.now,
                **request.options.columns(),
            }
        )
        new_interfaces.append(
            {
                "id": interface,
                "account": txn.account,
                "instance": instance,
                "device_index": 0,
                "vpc": plan.subnet.vpc,
                "subnet": plan.subnet.id,
                "mac": macs[index],
                "private_ip": address,
                "created": txn.now,
            }
        )
        ipv6_rows += ipv6.rows(plan.subnet.vpc, interface, ipv6_chosen[index])
        txn.touch(Kind.INTERFACE, interface)
    txn.connection.execute(insert(instances), new_instances)
    txn.connection.execute(insert(interfaces), new_interfaces)
    if ipv6_rows:
        txn.connection.execute(insert(ipv6_addresses), ipv6_rows)
    members = [{"interface": row["id"], "group": group} for row in new_interfaces for group in chosen]
    txn.connection.execute(insert(interface_groups), members)
    metadata_options.change(txn, [row["id"] for row in new_instances], request.metadata)
    for kind, rows in (("instance", new_instances), ("network-interface", new_interfaces)):
        tag_rows.write(txn, kind, [row["id"] for row in rows], request.tags.get(kind, {}))


def _macs(txn: Transaction, count: int) -> list[str]:
    """Fresh MACs of the locally administered range 02:..., which no real card has."""
    chosen: list[str] = []
    while len(chosen) < count:
        drawn = {"02:" + secrets.token_bytes(5).hex(":") for _ in range(count - len(chosen))}.difference(chosen)
        chosen += drawn.difference(txn.connection.scalars(select(interfaces.c.mac).where(interfaces.c.mac.in_(drawn))))
    return chosen
