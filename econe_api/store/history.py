"""Who had an elastic IP, and when: written with every change, in its transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, update

from econe_api.store.availability import unavailable
from econe_api.store.history_tables import address_history
from econe_api.store.schema import addresses, instances, interfaces

if TYPE_CHECKING:  # the store's own transactions write the history
    from econe_api.store.store import Store

_FACTS = ("account", "allocation", "association", "interface", "private_ip", "instance", "host")


@dataclass(frozen=True, slots=True)
class Period:
    """A time, ``since`` to ``until`` (None: still), in which an address belonged to one account and place.

    Without an association, interface, private address, instance and host are None: the address was allocated, no more.
    """

    public_ip: str
    since: datetime
    until: datetime | None
    account: str
    allocation: str
    association: str | None
    interface: str | None
    private_ip: str | None
    instance: str | None
    host: str | None


def note(connection: Connection, now: datetime, public_ips: Collection[str], interface_ids: Collection[str]) -> None:
    """Write down what has become of ``public_ips`` and of the addresses of ``interface_ids``; within a write."""
    concerned = set(public_ips)
    if interface_ids:
        query = select(addresses.c.public_ip).where(addresses.c.interface.in_(interface_ids))
        concerned.update(connection.scalars(query))
    if not concerned:
        return
    present = {
        row.public_ip: _facts(row) for row in connection.execute(_present().where(addresses.c.public_ip.in_(concerned)))
    }
    query_open = select(address_history).where(
        address_history.c.public_ip.in_(concerned), address_history.c.until.is_(None)
    )
    known = {row.public_ip: (row.id, _facts(row)) for row in connection.execute(query_open)}
    over = [row_id for ip, (row_id, facts) in known.items() if present.get(ip) != facts]
    if over:
        connection.execute(update(address_history).where(address_history.c.id.in_(over)).values(until=now))
    begun = [
        {"public_ip": ip, "since": now, **dict(zip(_FACTS, facts, strict=True))}
        for ip, facts in sorted(present.items())
        if facts != known.get(ip, (0, None))[1]
    ]
    if begun:
        connection.execute(insert(address_history), begun)


def who_had(store: Store, public_ip: str, at: datetime | None = None) -> list[Period]:
    """Return the periods of ``public_ip``, the oldest first; with ``at`` (aware) only the one of that moment."""
    query = select(address_history).where(address_history.c.public_ip == public_ip).order_by(address_history.c.id)
    if at is not None:
        query = query.where(
            address_history.c.since <= at, (address_history.c.until > at) | address_history.c.until.is_(None)
        )
    with unavailable(store.engine), store.engine.connect() as connection:
        return [Period(*(getattr(row, name) for name in Period.__slots__)) for row in connection.execute(query)]


def _present() -> Any:
    return (
        select(
            addresses.c.public_ip,
            addresses.c.account,
            addresses.c.allocation,
            addresses.c.association,
            addresses.c.interface,
            addresses.c.private_ip,
            interfaces.c.instance,
            instances.c.host,
        )
        .outerjoin(interfaces, addresses.c.interface == interfaces.c.id)
        .outerjoin(instances, interfaces.c.instance == instances.c.id)
        .where(addresses.c.allocation.is_not(None))
    )


def _facts(row: Row[Any]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _FACTS)
