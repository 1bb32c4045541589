"""What the worker reads from the store's rows about instances and writes back."""

from __future__ import annotations

import ipaddress
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from econe_api.call import Call, Caller
from econe_api.compute.backend import InterfaceSpec, LaunchSpec
from econe_api.store.records import Kind
from econe_api.store.schema import (
    addresses,
    instances,
    interface_groups,
    interfaces,
    ipv6_addresses,
    subnets,
    tags,
)
from econe_api.store.transaction import Transaction

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED = "pending", "running", "shutting-down", "terminated"
STOPPING, STOPPED = "stopping", "stopped"
UNSETTLED = (PENDING, SHUTTING_DOWN, STOPPING)
_CALLER = Caller(account_id="000000000000", access_key_id="compute")
_LONGEST_REASON = 255


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance that is not terminated: its state in the store, and how it shall run.

    ``reboots`` is how often its owner has asked for a reboot; ``reboot``: the last one has not been done yet.
    """

    state: str
    spec: LaunchSpec
    reboots: int = 0
    reboot: bool = False

    @property
    def id(self) -> str:
        """The instance's id."""
        return self.spec.instance_id


def worker_call() -> Call:
    """Return the call that stands for the worker in transactions and in the audit."""
    return Call(action="compute", params={}, caller=_CALLER, request_id=str(uuid.uuid4()))


def load(connection: Connection) -> list[InstanceRow]:
    """Return every instance that is not terminated, in order of id."""
    living = instances.c.state != TERMINATED
    linked = (
        select(interfaces, subnets.c.cidr, subnets.c.ipv6_cidr)
        .join(subnets, subnets.c.id == interfaces.c.subnet)
        .join(instances, instances.c.id == interfaces.c.instance)
        .where(living)
        .order_by(interfaces.c.device_index)
    )
    ipv6: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(ipv6_addresses).order_by(ipv6_addresses.c.sort)):
        ipv6[row.interface].append(row.address)
    specs: dict[str, list[InterfaceSpec]] = defaultdict(list)
    for row in connection.execute(linked):
        specs[row.instance].append(_interface(row, tuple(ipv6[row.id])))
    rows = connection.execute(select(instances).where(living).order_by(instances.c.id))
    return [
        InstanceRow(row.state, _spec(row, specs[row.id]), row.reboots_asked, row.reboots_asked != row.reboots_done)
        for row in rows
    ]


def _spec(row: Row[Any], links: Iterable[InterfaceSpec]) -> LaunchSpec:
    return LaunchSpec(
        instance_id=row.id,
        host=row.host,
        image=row.image,
        instance_type=row.type,
        user_data=row.user_data,
        interfaces=tuple(links),
    )


def _interface(row: Row[Any], ipv6: tuple[str, ...]) -> InterfaceSpec:
    subnet = ipaddress.IPv4Network(row.cidr)
    six = ipaddress.IPv6Network(row.ipv6_cidr or "::/64")
    return InterfaceSpec(
        id=row.id,
        mac=row.mac,
        address=row.private_ip,
        prefix_length=subnet.prefixlen,
        gateway=str(subnet.network_address + 1),
        device_index=row.device_index,
        ipv6=ipv6,
        ipv6_prefix_length=six.prefixlen,
        ipv6_gateway=str(six.network_address + 1),
    )


def states(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Return the state of each of the instances ``ids`` that the store knows."""
    query = select(instances.c.id, instances.c.state).where(instances.c.id.in_(ids))
    return {row.id: row.state for row in connection.execute(query)}


def settled(connection: Connection, ids: Collection[str]) -> bool:
    """Return whether nothing is left to do for the instances ``ids``."""
    rebooting = (instances.c.state == RUNNING) & (instances.c.reboots_asked != instances.c.reboots_done)
    open_ = instances.c.state.in_(UNSETTLED) | rebooting
    return connection.scalar(select(instances.c.id).where(instances.c.id.in_(ids), open_).limit(1)) is None


def has_instances(connection: Connection) -> bool:
    """Return whether the store has ever held an instance."""
    return connection.scalar(select(instances.c.id).limit(1)) is not None


def set_running(txn: Transaction, instance_id: str) -> None:
    """Note that a pending instance runs; one that has come to its end meanwhile stays as it is.

    Reboots that it was asked for before have come true with that.
    """
    txn.connection.execute(
        update(instances)
        .where(instances.c.id == instance_id, instances.c.state == PENDING)
        .values(state=RUNNING, reboots_done=instances.c.reboots_asked)
    )


def set_rebooted(txn: Transaction, instance_id: str, reboots: int) -> None:
    """Note that the reboot number ``reboots`` is done; a later one is not."""
    txn.connection.execute(update(instances).where(instances.c.id == instance_id).values(reboots_done=reboots))


def set_stopped(txn: Transaction, instance_id: str) -> None:
    """Note that an instance that was stopping does not run any more."""
    txn.connection.execute(
        update(instances)
        .where(instances.c.id == instance_id, instances.c.state == STOPPING)
        .values(state=STOPPED, stopped=txn.now)
    )


def set_terminated(txn: Transaction, instance_id: str) -> None:
    """Note that an instance that was shutting down is gone."""
    txn.connection.execute(
        update(instances)
        .where(instances.c.id == instance_id, instances.c.state == SHUTTING_DOWN)
        .values(state=TERMINATED, terminated=txn.now)
    )


def set_failed(txn: Transaction, instance_id: str, code: str, reason: str) -> None:
    """End a pending instance that could not be launched: its interfaces and their tags go, its elastic IPs stay.

    One that was stopped and could not be started is stopped again, with all it has.  One that was told to end meanwhile
    keeps the reason that it has.
    """
    why = {"reason_code": code, "reason": f"{code}: {reason}"[:_LONGEST_REASON]}
    pending = (instances.c.id == instance_id) & (instances.c.state == PENDING)
    again = pending & instances.c.stopped.is_not(None)
    if txn.connection.execute(update(instances).where(again).values(state=STOPPED, **why)).rowcount:
        return
    changed = txn.connection.execute(
        update(instances).where(pending).values(state=TERMINATED, terminated=txn.now, **why)
    )
    if changed.rowcount:
        _release(txn, instance_id)


def _release(txn: Transaction, instance_id: str) -> None:
    execute = txn.connection.execute
    gone = list(txn.connection.scalars(select(interfaces.c.id).where(interfaces.c.instance == instance_id)))
    freed = select(addresses.c.public_ip).where(addresses.c.interface.in_(gone))
    for public_ip in txn.connection.scalars(freed).all():
        txn.touch(Kind.ADDRESS, public_ip)
    for interface in gone:
        txn.touch(Kind.INTERFACE, interface)
    execute(
        update(addresses)
        .where(addresses.c.interface.in_(gone))
        .values(association=None, interface=None, private_ip=None)
    )
    execute(delete(interface_groups).where(interface_groups.c.interface.in_(gone)))
    execute(delete(tags).where(tags.c.resource.in_(gone)))
    execute(delete(interfaces).where(interfaces.c.id.in_(gone)))
