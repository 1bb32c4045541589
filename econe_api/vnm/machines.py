"""Machines of OpenNebula in the store: taken over, brought up to date, forgotten.

A machine is an instance of the account that the configuration names, its NICs are network interfaces with OpenNebula's
MAC and addresses, in the subnet that carries the tag ``opennebula:network``.  From there on the ordinary pipeline
enforces its groups.  An interface that the API has made is known by its MAC: its own groups hold.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from econe_api.call import Call, Caller
from econe_api.store import attachments
from econe_api.store.engine import REVISION
from econe_api.store.records import Kind
from econe_api.store.schema import (
    accounts,
    counters,
    instances,
    interface_groups,
    interfaces,
    ipv6_addresses,
    secondary_addresses,
    subnets,
    tags,
    vpcs,
)
from econe_api.store.transaction import Transaction
from econe_api.store.vnm_tables import IMAGE, opennebula_nics
from econe_api.vnm import native_groups
from econe_api.vnm.document import Machine, Nic
from econe_api.vnm.native import RefusedError

NETWORK_TAG = "opennebula:network"
"""The tag of a subnet whose value is the id of OpenNebula's virtual network that is laid out there."""
_RUNNING, _TERMINATED = "running", "terminated"
_FOREIGN = "Client.OpenNebula"
_RESERVED_FIRST = 4  # of a subnet's addresses, and the last one ("Subnet sizing", VPC user guide)


@dataclass(frozen=True, slots=True)
class Plugged:
    """What the hypervisor shall write on a tap: whose interface it is, and with which MAC."""

    tap: str
    interface: str
    instance: str
    mac: str


def call(action: str) -> Call:
    """Return the call that stands for OpenNebula's driver in transactions and in the audit."""
    caller = Caller(account_id="000000000000", access_key_id="opennebula")
    return Call(action=f"OpenNebula.{action}", params={}, caller=caller, request_id=str(uuid.uuid4()))


def revision(txn: Transaction) -> int:
    """The store's revision before this transaction."""
    found: int = txn.connection.execute(select(counters.c.value).where(counters.c.name == REVISION)).scalar_one()
    return found


def check(txn: Transaction, machine: Machine) -> None:
    """See that all NICs could be taken over; changes nothing.  Raises :class:`RefusedError`."""
    for nic in machine.nics:
        if _made_by_api(txn, machine, nic) is None:
            _free(txn, machine, nic, _subnet(txn, _account(txn), nic).vpc)


def take_over(txn: Transaction, machine: Machine, host: str) -> list[Plugged]:
    """Bring the store to what the document says of the machine, which is on ``host``.

    Raises :class:`RefusedError`, and then nothing is changed (the transaction has to be rolled back).
    """
    done = []
    for nic in machine.nics:
        made = _made_by_api(txn, machine, nic)
        if made is not None:
            done.append(Plugged(nic.tap, made.id, made.instance, nic.mac))
            continue
        subnet = _subnet(txn, _account(txn), nic)
        row = _known(txn, machine, nic, subnet)
        if row is None:
            _free(txn, machine, nic, subnet.vpc, make=True)
            row = _make(txn, machine, nic, subnet, host)
        _place(txn, row.instance, host)
        _join(txn, row.interface, subnet, nic)
        done.append(Plugged(nic.tap, row.interface, row.instance, nic.mac))
    return done


def forget(txn: Transaction, machine: int, host: str | None, nics: Iterable[int] | None = None) -> int:
    """Forget a machine, or those of its NICs, if it is on ``host`` (None: wherever); returns how many NICs went."""
    table = opennebula_nics.c
    query = select(opennebula_nics, instances.c.host).join(instances, instances.c.id == table.instance, isouter=True)
    wanted = None if nics is None else frozenset(nics)
    rows = [
        row
        for row in txn.connection.execute(query.where(table.machine == machine))
        if (host is None or row.host == host) and (wanted is None or row.nic in wanted)
    ]
    _remove(txn, rows)
    return len(rows)


def listing(txn: Transaction) -> list[Row[Any]]:
    """Every NIC that has been taken over, with its interface and host, by machine and number."""
    table = opennebula_nics.c
    columns = (opennebula_nics, interfaces.c.mac, interfaces.c.private_ip, instances.c.host)
    joined = select(*columns).join(interfaces, interfaces.c.id == table.interface)
    query = joined.join(instances, instances.c.id == table.instance).order_by(table.machine, table.nic)
    return list(txn.connection.execute(query))


def _account(txn: Transaction) -> str:
    name = txn.config.opennebula_driver.account
    account: str | None = txn.connection.scalar(select(accounts.c.id).where(accounts.c.name == name))
    if account is None:
        raise RefusedError(
            f"there is no account {name!r} to take over OpenNebula's machines: sluice account create {name}"
        )
    return account


def _made_by_api(txn: Transaction, machine: Machine, nic: Nic) -> Row[Any] | None:
    """The interface with that MAC that is not one of those taken over."""
    ours = select(opennebula_nics.c.interface)
    query = select(interfaces).where(interfaces.c.mac == nic.mac, interfaces.c.id.not_in(ours))
    row = txn.connection.execute(query).first()
    if row is not None and (row.private_ip != nic.ip or row.instance is None):
        raise RefusedError(
            f"NIC {nic.number} of VM {machine.number} has the MAC {nic.mac} of {row.id}, which is not attached with "
            f"{nic.ip}; give the NIC a lease of its own"
        )
    return row


def _subnet(txn: Transaction, account: str, nic: Nic) -> Row[Any]:
    tagged = (tags.c.key == NETWORK_TAG) & (tags.c.value == str(nic.network)) & (tags.c.account == account)
    named = select(tags.c.resource).where(tagged, tags.c.kind == "subnet")
    query = select(subnets).join(vpcs, vpcs.c.id == subnets.c.vpc).where(subnets.c.id.in_(named))
    found = txn.connection.execute(query.where(vpcs.c.account == account)).all()
    mend = f"aws ec2 create-tags --resources subnet-... --tags Key={NETWORK_TAG},Value={nic.network}"
    if len(found) != 1:
        raise RefusedError(
            f"{len(found)} subnets stand for OpenNebula's virtual network {nic.network}, and it has to be one: {mend}"
        )
    (subnet,) = found
    address, network = ipaddress.IPv4Address(nic.ip), ipaddress.IPv4Network(subnet.cidr)
    inside = address in network
    six = ipaddress.IPv6Network(subnet.ipv6_cidr) if subnet.ipv6_cidr else None
    if address == network.broadcast_address or network[0] <= address < network[_RESERVED_FIRST]:
        raise RefusedError(
            f"{nic.ip} of virtual network {nic.network} is one of the five that {subnet.id} ({subnet.cidr}) keeps for "
            "itself; begin the address range after them"
        )
    strange = [one for one in nic.ipv6 if six is None or ipaddress.IPv6Address(one) not in six]
    if not inside or strange:
        raise RefusedError(
            f"{nic.ip if not inside else strange[0]} of virtual network {nic.network} is not in {subnet.id} "
            f"({subnet.cidr}{', ' + subnet.ipv6_cidr if six else ''}); lay the network's range out inside"
        )
    return subnet


def _known(txn: Transaction, machine: Machine, nic: Nic, subnet: Row[Any]) -> Row[Any] | None:
    """The row of a NIC that has been taken over and is still what it was; else what is left of it goes."""
    table = opennebula_nics.c
    mine = (table.machine == machine.number) & (table.nic == nic.number)
    row = txn.connection.execute(select(opennebula_nics).where(mine)).first()
    if row is None:
        return None
    there = select(interfaces.c.id).where(
        interfaces.c.id == row.interface,
        interfaces.c.instance == row.instance,
        interfaces.c.mac == nic.mac,
        interfaces.c.private_ip == nic.ip,
        interfaces.c.subnet == subnet.id,
        interfaces.c.attachment_state == attachments.ATTACHED,
    )
    if txn.connection.scalar(there) is not None:
        return row
    _remove(txn, [row])
    return None


def _free(txn: Transaction, machine: Machine, nic: Nic, vpc: str, *, make: bool = False) -> None:
    """See that nobody else has the NIC's MAC and address.

    A lease belongs to one machine at a time: what another machine of OpenNebula had on the same network has gone
    without a word, as when its host died, and makes room (with ``make``).
    """
    table = opennebula_nics.c
    clash = (interfaces.c.mac == nic.mac) | ((interfaces.c.vpc == vpc) & (interfaces.c.private_ip == nic.ip))
    mine = (table.machine == machine.number) & (table.nic == nic.number)
    stale = select(opennebula_nics).join(interfaces, interfaces.c.id == table.interface).where(clash, ~mine)
    rows = txn.connection.execute(stale.where(table.network == nic.network)).all()
    going = [row.interface for row in rows]
    own = select(table.interface).where(mine)
    taken = select(interfaces.c.id).where(clash, interfaces.c.id.not_in(going), interfaces.c.id.not_in(own))
    second = select(secondary_addresses.c.interface).where(
        secondary_addresses.c.vpc == vpc, secondary_addresses.c.address == nic.ip
    )
    holder = txn.connection.scalar(taken.limit(1)) or txn.connection.scalar(second.limit(1))
    if holder is not None:
        raise RefusedError(
            f"NIC {nic.number} of VM {machine.number} has the MAC {nic.mac} or the address {nic.ip} of {holder}; "
            "reserve that address in one of the two"
        )
    if make:
        _remove(txn, rows)


def _make(txn: Transaction, machine: Machine, nic: Nic, subnet: Row[Any], host: str) -> Row[Any]:
    instance = _instance(txn, machine, subnet, host)
    made = txn.new_id("eni")
    used = select(func.max(interfaces.c.device_index)).where(interfaces.c.instance == instance)
    highest = txn.connection.scalar(used)
    txn.connection.execute(
        insert(interfaces).values(
            id=made,
            account=_account(txn),
            instance=instance,
            device_index=0 if highest is None else highest + 1,
            attachment=txn.new_id("eni-attach"),
            attachment_state=attachments.ATTACHED,
            attached=txn.now,
            description=f"NIC {nic.number} of OpenNebula's VM {machine.number}",
            vpc=subnet.vpc,
            subnet=subnet.id,
            mac=nic.mac,
            private_ip=nic.ip,
            created=txn.now,
        )
    )
    six = [
        {"vpc": subnet.vpc, "address": address, "interface": made, "sort": sort}
        for sort, address in enumerate(nic.ipv6)
    ]
    if six:
        txn.connection.execute(insert(ipv6_addresses), six)
    row = {"interface": made, "instance": instance, "machine": machine.number, "nic": nic.number}
    txn.connection.execute(insert(opennebula_nics).values(network=nic.network, **row))
    txn.touch(Kind.INTERFACE, made)
    return txn.connection.execute(select(opennebula_nics).where(opennebula_nics.c.interface == made)).one()


def _instance(txn: Transaction, machine: Machine, subnet: Row[Any], host: str) -> str:
    """The instance that stands for the machine, made if it is not there."""
    known = select(opennebula_nics.c.instance).where(opennebula_nics.c.machine == machine.number)
    living = select(instances.c.id).where(instances.c.id.in_(known), instances.c.state == _RUNNING)
    found: str | None = txn.connection.scalar(living.limit(1))
    if found is not None:
        return found
    made = txn.new_id("i")
    account = _account(txn)
    txn.connection.execute(
        insert(instances).values(
            id=made,
            account=account,
            reservation=txn.new_id("r"),
            launch_index=0,
            image=IMAGE,
            type=txn.config.instance_types[0].name,
            host=host,
            zone=subnet.zone,
            state=_RUNNING,
            launched=txn.now,
            disable_api_termination=True,
            disable_api_stop=True,
        )
    )
    named = {"key": "opennebula:vm", "value": str(machine.number), "kind": "instance"}
    txn.connection.execute(insert(tags).values(resource=made, account=account, **named))
    return made


def _place(txn: Transaction, instance: str, host: str) -> None:
    moved = update(instances).where(instances.c.id == instance, instances.c.host != host).values(host=host)
    if txn.connection.execute(moved).rowcount:
        for interface in txn.connection.scalars(select(interfaces.c.id).where(interfaces.c.instance == instance)):
            txn.touch(Kind.INTERFACE, interface)


def _join(txn: Transaction, interface: str, subnet: Row[Any], nic: Nic) -> None:
    """Have the interface in exactly the groups that the document gives it."""
    account = _account(txn)
    wanted = {native_groups.ensure(txn, account, subnet.vpc, group) for group in nic.groups}
    member = interface_groups.c
    present = set(txn.connection.scalars(select(member.group).where(member.interface == interface)))
    if wanted == present:
        return
    leaving = (member.interface == interface) & member.group.in_(present - wanted)
    txn.connection.execute(delete(interface_groups).where(leaving))
    joined = [{"interface": interface, "group": group} for group in sorted(wanted - present)]
    if joined:
        txn.connection.execute(insert(interface_groups), joined)
    txn.touch(Kind.INTERFACE, interface)
    native_groups.drop_unused(txn, present - wanted)


def _remove(txn: Transaction, rows: Iterable[Row[Any]]) -> None:
    """Take interfaces away, with instances that have none left and groups that nobody is in."""
    going = {row.interface: row.instance for row in rows}
    if not going:
        return
    member = interface_groups.c
    left = txn.connection.scalars(select(member.group).where(member.interface.in_(going))).all()
    attachments.remove(txn, list(going))
    txn.connection.execute(delete(opennebula_nics).where(opennebula_nics.c.interface.in_(going)))
    native_groups.drop_unused(txn, left)
    still = select(opennebula_nics.c.instance).where(opennebula_nics.c.instance.in_(going.values()))
    ended = instances.c.id.in_(going.values()) & instances.c.id.not_in(still) & (instances.c.state != _TERMINATED)
    reason = {"reason_code": _FOREIGN, "reason": f"{_FOREIGN}: OpenNebula has let go of the machine"}
    txn.connection.execute(update(instances).where(ended).values(state=_TERMINATED, terminated=txn.now, **reason))
