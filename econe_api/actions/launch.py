"""RunInstances."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from econe_api.actions import (
    image_rows,
    instance_rows,
    key_pairs,
    launch_request,
    metadata_options,
    networks,
    placement,
    tag_rows,
)
from econe_api.actions.launch_interfaces import LaunchedInterfaces
from econe_api.actions.launch_request import LaunchRequest
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.hosts import closed_to_new
from econe_api.store.quotas import INSTANCES
from econe_api.store.schema import client_tokens, instances
from econe_api.store.transaction import Transaction

#: How long a ClientToken is remembered; EC2 promises a day.
_TOKEN_LIFE = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the instances of a launch go: their subnet (of the first interface), and a host for each."""

    subnet: Row[Any]
    hosts: Sequence[str]


def run(call: Call, txn: Transaction) -> dict[str, Any]:
    """Record new instances in state ``pending``; a ClientToken that comes again answers with the first launch."""
    request = launch_request.parse(call.params, txn.config)
    earlier = _earlier(txn, request)
    if earlier is not None:
        return _answer(txn, earlier)
    image_rows.check_launchable(txn, request.image)
    if request.key_name is not None:
        key_pairs.check(txn, request.key_name)
    links = LaunchedInterfaces(txn, request)
    subnets = _subnets(txn, request, links)
    links.choose_groups(subnets[0])
    plan = _plan(txn, request, subnets, links)
    reservation = txn.new_id("r")
    _insert(txn, request, plan, links, reservation)
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
        raise launch_request.token_mismatch()
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


def _subnets(txn: Transaction, request: LaunchRequest, links: LaunchedInterfaces) -> list[Row[Any]]:
    """The subnets that the instances may go to (all to one of them)."""
    if links.subnet is None:
        subnets = networks.default_subnets(txn)
        matching = [row for row in subnets if links.zone in (None, row.zone) and request.zone in (None, row.zone)]
        if not matching:
            raise Ec2Error(
                "InvalidInput", f"No default subnet for availability zone: '{request.zone}'. Specify a subnet."
            )
        return _with_address(matching, request.primary.addresses.primary)
    subnet = links.subnet
    if request.zone not in (None, subnet.zone):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Invalid Availability Zone ({request.zone}): the subnet '{subnet.id}' is in {subnet.zone}",
        )
    return [subnet]


def _with_address(subnets: list[Row[Any]], address: str | None) -> list[Row[Any]]:
    """Those of some subnets whose range holds an address, all when none is asked for."""
    if address is None:
        return subnets
    found = [row for row in subnets if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(row.cidr)]
    if not found:
        raise Ec2Error("InvalidParameterValue", f"Address {address} does not fall within the subnet's address range")
    return found


def _plan(txn: Transaction, request: LaunchRequest, subnets: Sequence[Row[Any]], links: LaunchedInterfaces) -> _Plan:
    most = min(request.most, _quota_left(txn))
    if most < request.least:
        raise Ec2Error(
            "InstanceLimitExceeded",
            f"You have requested more instances ({request.least}) than your current instance limit of "
            f"{txn.quota(INSTANCES)} allows. Please ask the operator of the cloud for a higher limit.",
        )
    left, closed = rooms(txn), closed_to_new(txn.connection)
    links.look_for_addresses(subnets)
    plans = []
    for subnet in subnets:
        open_here = [
            host.name for host in txn.config.hypervisors if host.zone == subnet.zone and host.name not in closed
        ]
        here = {name: left[name] for name in open_here if request.host in (None, name)}
        hosts = placement.spread(here, request.size, most)
        count = min(len(hosts), links.most_in(subnet, len(hosts)))
        plans.append((count, _Plan(subnet, hosts), sum(room.memory_mib for room in here.values())))
    # Enough room first, then enough addresses, then the zone with the most memory left; zones are in order of name.
    count, best, _ = max(plans, key=lambda entry: (entry[0], len(entry[1].hosts), entry[2]))
    _refuse_small(request, best, count)
    return _Plan(best.subnet, best.hosts[:count])


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


def _refuse_small(request: LaunchRequest, plan: _Plan, count: int) -> None:
    zone = plan.subnet.zone
    if len(plan.hosts) < request.least:
        raise Ec2Error(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {request.size.name} capacity in the Availability Zone you requested "
            f"({zone}).",
            500,
        )
    if count < request.least:
        raise Ec2Error(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{plan.subnet.id}' to satisfy the requested number of "
            "instances.",
        )


def _insert(txn: Transaction, request: LaunchRequest, plan: _Plan, links: LaunchedInterfaces, reservation: str) -> None:
    new_instances: list[dict[str, Any]] = []
    for index, host in enumerate(plan.hosts):
        new_instances.append(
            {
                "id": txn.new_id("i"),
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
    txn.connection.execute(insert(instances), new_instances)
    ids = [row["id"] for row in new_instances]
    metadata_options.change(txn, ids, request.metadata)
    tag_rows.write(txn, "instance", ids, request.tags.get("instance", {}))
    links.give(ids, plan.subnet)
