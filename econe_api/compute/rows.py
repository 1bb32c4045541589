"""What the worker reads from the store's rows about instances and writes back."""

from __future__ import annotations

import ipaddress
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Select, Table, bindparam, select, update

from econe_api.call import Call, Caller
from econe_api.compute.backend import InterfaceSpec, LaunchSpec
from econe_api.store.attachments import (
    ATTACHED,
    ATTACHING,
    DETACHING,
    end_instances,
    let_go,
    make_available,
    set_attached,
)
from econe_api.store.key_tables import key_pairs
from econe_api.store.records import Kind
from econe_api.store.schema import accounts, instances, interfaces, ipv6_addresses, secondary_addresses, subnets
from econe_api.store.transaction import Transaction
from econe_api.store.vnm_tables import opennebula_nics

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED = "pending", "running", "shutting-down", "terminated"
STOPPING, STOPPED = "stopping", "stopped"
UNSETTLED = (PENDING, SHUTTING_DOWN, STOPPING)
_CALLER = Caller(account_id="000000000000", access_key_id="compute")
_LONGEST_REASON = 255
_FROM_OUTSIDE = "Client.UserInitiatedShutdown"
_FROM_INSIDE = "Client.InstanceInitiatedShutdown"


class Outline(NamedTuple):
    """As much of an :class:`InstanceRow` as says whether there is anything to do for the instance.

    ``reboot``: one that was asked for has not been done; ``moving``: interfaces come or go.
    """

    id: str
    state: str
    host: str
    reboot: bool
    moving: bool


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance that is not terminated: its state in the store, and how it shall run.

    ``reboots`` is how often its owner has asked for a reboot; ``reboot``: the last one has not been done yet.
    ``attaching`` are those of its interfaces that nobody has noted as plugged in yet, ``detaching`` former ones that
    may still be.
    """

    state: str
    spec: LaunchSpec
    reboots: int = 0
    reboot: bool = False
    attaching: tuple[InterfaceSpec, ...] = ()
    detaching: tuple[InterfaceSpec, ...] = ()

    @property
    def id(self) -> str:
        """The instance's id."""
        return self.spec.instance_id

    @property
    def outline(self) -> Outline:
        """The instance in outline."""
        return Outline(self.id, self.state, self.spec.host, self.reboot, bool(self.attaching or self.detaching))


def worker_call() -> Call:
    """Return the call that stands for the worker in transactions and in the audit."""
    return Call(action="compute", params={}, caller=_CALLER, request_id=str(uuid.uuid4()))


def _ours() -> ColumnElement[bool]:
    """Not one of the machines that OpenNebula runs by itself: they begin and end there."""
    return instances.c.id.not_in(select(opennebula_nics.c.instance))


# Built once, because a worker asks many times a second.
_LIVING = (instances.c.state != TERMINATED) & _ours()
_INSTANCES = (
    select(instances, accounts.c.name.label("account_name"), key_pairs.c.public_key)
    .join(accounts, accounts.c.id == instances.c.account)
    .outerjoin(key_pairs, (key_pairs.c.account == instances.c.account) & (key_pairs.c.name == instances.c.key_name))
    .where(_LIVING)
    .order_by(instances.c.id)
)
_INTERFACES = (
    select(interfaces, subnets.c.cidr, subnets.c.ipv6_cidr)
    .join(subnets, subnets.c.id == interfaces.c.subnet)
    .join(instances, instances.c.id == interfaces.c.instance)
    .where(_LIVING)
    .order_by(interfaces.c.device_index)
)
_REBOOTING = (instances.c.state == RUNNING) & (instances.c.reboots_asked != instances.c.reboots_done)
_MOVING = interfaces.c.attachment_state.in_((ATTACHING, DETACHING))
_WITH_MOVING = instances.c.id.in_(select(interfaces.c.instance).where(_MOVING, interfaces.c.instance.is_not(None)))
_OUTLINES = select(
    instances.c.id,
    instances.c.state,
    instances.c.host,
    instances.c.reboots_asked != instances.c.reboots_done,
    _WITH_MOVING,
).where(_LIVING)
_WANTING = (
    select(instances.c.id)
    .where(instances.c.state.in_(UNSETTLED) | _REBOOTING)
    .union(select(interfaces.c.instance).where(_MOVING, interfaces.c.instance.is_not(None)))
)
_NAMED: BindParameter[Any] = bindparam("ids", expanding=True)
_NAMED_INSTANCES = _INSTANCES.where(instances.c.id.in_(_NAMED))
_NAMED_INTERFACES = _INTERFACES.where(instances.c.id.in_(_NAMED))
_FEW = 500
"""As many may be named in a query; of more, all there are are read."""
_OPEN = (
    select(instances.c.id)
    .where(instances.c.id.in_(_NAMED), (instances.c.state.in_(UNSETTLED) | _REBOOTING) & _ours())
    .union_all(select(interfaces.c.id).where(interfaces.c.instance.in_(_NAMED), _MOVING))
)


def load(connection: Connection) -> list[InstanceRow]:
    """Return every instance that is not terminated and that a backend of ours runs, in order of id."""
    return _load(connection, _INSTANCES, _INTERFACES)


def outlines(connection: Connection) -> list[Outline]:
    """Return those of :func:`load` in outline, at a fraction of the cost: a worker often looks at all of them."""
    return list(map(Outline._make, connection.execute(_OUTLINES).all()))


def load_named(connection: Connection, ids: Collection[str]) -> list[InstanceRow]:
    """Return those of :func:`load` that are named."""
    if len(ids) > _FEW:
        wanted = set(ids)
        return [row for row in load(connection) if row.id in wanted]
    return _load(connection, _NAMED_INSTANCES, _NAMED_INTERFACES, {"ids": list(ids)}) if ids else []


def load_open(connection: Connection) -> list[InstanceRow]:
    """Return those of :func:`load` that are on their way to another state, or whose interfaces come or go."""
    return load_named(connection, connection.scalars(_WANTING).all())


def _load(
    connection: Connection, chosen: Select[Any], linked: Select[Any], named: Mapping[str, Any] | None = None
) -> list[InstanceRow]:
    rows = connection.execute(chosen, named).all()
    if not rows:
        return []
    found = connection.execute(linked, named).all()
    ids = [row.id for row in found]
    ipv6, secondary = _addresses(connection, ipv6_addresses, ids), _addresses(connection, secondary_addresses, ids)
    links: dict[str, list[tuple[str, InterfaceSpec]]] = defaultdict(list)
    for row in found:
        link = _interface(row, tuple(secondary[row.id]), tuple(ipv6[row.id]))
        links[row.instance].append((row.attachment_state or ATTACHED, link))
    return [_instance(row, links[row.id]) for row in rows]


def _addresses(connection: Connection, table: Table, links: Collection[str]) -> dict[str, list[str]]:
    """The further addresses of interfaces, in order."""
    query = select(table.c.interface, table.c.address).order_by(table.c.sort)
    if len(links) <= _FEW:
        query = query.where(table.c.interface.in_(links))
    found: dict[str, list[str]] = defaultdict(list)
    for interface, address in connection.execute(query):
        found[interface].append(address)
    return found


def _instance(row: Row[Any], links: Collection[tuple[str, InterfaceSpec]]) -> InstanceRow:
    return InstanceRow(
        row.state,
        _spec(row, [link for state, link in links if state != DETACHING]),
        reboots=row.reboots_asked,
        reboot=row.reboots_asked != row.reboots_done,
        attaching=tuple(link for state, link in links if state == ATTACHING),
        detaching=tuple(link for state, link in links if state == DETACHING),
    )


def _spec(row: Row[Any], links: Iterable[InterfaceSpec]) -> LaunchSpec:
    return LaunchSpec(
        instance_id=row.id,
        host=row.host,
        image=row.image,
        instance_type=row.type,
        user_data=row.user_data,
        interfaces=tuple(links),
        account=row.account,
        account_name=row.account_name,
        public_key=row.public_key,
    )


def _interface(row: Row[Any], secondary: tuple[str, ...], ipv6: tuple[str, ...]) -> InterfaceSpec:
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
        secondary=secondary,
    )


def states(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Return the state of each of the instances ``ids`` that the store knows."""
    query = select(instances.c.id, instances.c.state).where(instances.c.id.in_(ids))
    return {row.id: row.state for row in connection.execute(query)}


def settled(connection: Connection, ids: Collection[str]) -> bool:
    """Return whether nothing is left to do for the instances ``ids``, and for the interfaces that come and go."""
    return connection.execute(_OPEN, {"ids": list(ids)}).first() is None


def has_instances(connection: Connection) -> bool:
    """Return whether the store holds an instance, be it one that has ended."""
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
    let_go(txn, instance_id)


def set_ended(txn: Transaction, instance_id: str, reason: str) -> None:
    """End an instance that its backend has lost for good: interfaces go unless they outlive it, elastic IPs stay.

    One that was shutting down anyway stays as it is, to be cleaned up after.
    """
    living = instances.c.state.in_((PENDING, RUNNING, STOPPING, STOPPED))
    why = {"reason_code": _FROM_OUTSIDE, "reason": f"{_FROM_OUTSIDE}: {reason}"[:_LONGEST_REASON]}
    changed = txn.connection.execute(
        update(instances)
        .where(instances.c.id == instance_id, living)
        .values(state=TERMINATED, terminated=txn.now, **why)
    )
    if changed.rowcount:
        end_instances(txn, [instance_id])
        let_go(txn, instance_id)


def set_stopped_by_others(txn: Transaction, instance_id: str, reason: str) -> None:
    """Note that a running instance was stopped, but not by us."""
    why = {"reason_code": _FROM_OUTSIDE, "reason": f"{_FROM_OUTSIDE}: {reason}"[:_LONGEST_REASON]}
    running = (instances.c.id == instance_id) & (instances.c.state == RUNNING)
    txn.connection.execute(update(instances).where(running).values(state=STOPPED, stopped=txn.now, **why))


def set_shut_down_by_guest(txn: Transaction, instance_id: str) -> None:
    """Stop or end a running instance that has shut itself down, as its InstanceInitiatedShutdownBehavior says.

    Protection against termination and stopping is against the API alone ("Enable termination protection" in the EC2
    user guide).  What its backend still has of it goes the way of any other instance that stops or ends.
    """
    query = select(instances.c.shutdown_behavior).where(instances.c.id == instance_id, instances.c.state == RUNNING)
    behavior = txn.connection.scalar(query)
    if behavior is None:
        return
    state = SHUTTING_DOWN if behavior == "terminate" else STOPPING
    why = {"reason_code": _FROM_INSIDE, "reason": f"{_FROM_INSIDE}: Instance initiated shutdown"}
    txn.connection.execute(update(instances).where(instances.c.id == instance_id).values(state=state, **why))
    if state == SHUTTING_DOWN:
        end_instances(txn, [instance_id])


def set_running_by_others(txn: Transaction, instance_id: str, host: str) -> None:
    """Note that an instance runs on ``host`` ("" = where it was): started though it was stopped, or moved there."""
    here = (instances.c.id == instance_id) & instances.c.state.in_((RUNNING, STOPPED))
    values = {"state": RUNNING, "reason_code": None, "reason": None} | ({"host": host} if host else {})
    if txn.connection.execute(update(instances).where(here).values(**values)).rowcount:
        for interface in txn.connection.scalars(select(interfaces.c.id).where(interfaces.c.instance == instance_id)):
            txn.touch(Kind.INTERFACE, interface)


def set_plugged(txn: Transaction, row: InstanceRow) -> None:
    """Note that the interfaces that came are plugged in, and that those that went are available."""
    set_attached(txn, [link.id for link in row.attaching])
    gone = [link.id for link in row.detaching]
    still = interfaces.c.id.in_(gone) & (interfaces.c.instance == row.id)
    make_available(txn, txn.connection.scalars(select(interfaces.c.id).where(still)).all())


def set_failed(txn: Transaction, instance_id: str, code: str, reason: str) -> None:
    """End a pending instance that could not be launched: interfaces go unless they outlive it, elastic IPs stay.

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
        end_instances(txn, [instance_id])
        let_go(txn, instance_id)
