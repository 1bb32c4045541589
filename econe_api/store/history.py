"""Who had an elastic IP, and when: written with every change, in its transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, insert, select, update

from econe_api.store.availability import unavailable
from econe_api.store.history_tables import address_history
from econe_api.store.schema import addresses, instances, interfaces

if TYPE_CHECKING:  # the store's own transactions write the history
    from econe_api.store.store import Store

_FACTS = ("account", "allocation", "association", "interface", "private_ip", "instance", "host")

#: The statements of every change of an address, built once: building them takes longer than running them.
_ADDRESSES_OF = select(addresses.c.public_ip).where(
    addresses.c.interface.in_(bindparam("interfaces", expanding=True)),
)
_NOW_AND_BEFORE = (
    select(
        addresses.c.public_ip,
        addresses.c.account,
        addresses.c.allocation,
        addresses.c.association,
        addresses.c.interface,
        addresses.c.private_ip,
        interfaces.c.instance,
        instances.c.host,
        address_history.c.id.label("known"),
        *(address_history.c[name].label(f"known_{name}") for name in _FACTS),
    )
    .outerjoin(interfaces, addresses.c.interface == interfaces.c.id)
    .outerjoin(instances, interfaces.c.instance == instances.c.id)
    .outerjoin(
        address_history,
        (address_history.c.public_ip == addresses.c.public_ip) & address_history.c.until.is_(None),
    )
    .where(addresses.c.public_ip.in_(bindparam("public_ips", expanding=True)))
)
_END = update(address_history).where(address_history.c.id == bindparam("over")).values(until=bindparam("until"))
_BEGIN = insert(address_history)


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
        concerned.update(connection.scalars(_ADDRESSES_OF, {"interfaces": list(interface_ids)}))
    if not concerned:
        return
    over, begun = [], []
    for row in connection.execute(_NOW_AND_BEFORE, {"public_ips": list(concerned)}):
        present = None if row.allocation is None else {name: getattr(row, name) for name in _FACTS}
        known = None if row.known is None else {name: getattr(row, f"known_{name}") for name in _FACTS}
        if known is not None and known != present:
            over.append({"over": row.known, "until": now})
        if present is not None and known != present:
            begun.append({"public_ip": row.public_ip, "since": now, **present})
    if over:
        connection.execute(_END, over)
    if begun:
        connection.execute(_BEGIN, begun)


def who_had(store: Store, public_ip: str, at: datetime | None = None) -> list[Period]:
    """Return the periods of ``public_ip``, the oldest first; with ``at`` (aware) only the one of that moment."""
    query = select(address_history).where(address_history.c.public_ip == public_ip).order_by(address_history.c.id)
    if at is not None:
        query = query.where(
            address_history.c.since <= at, (address_history.c.until > at) | address_history.c.until.is_(None)
        )
    with unavailable(store.engine), store.engine.connect() as connection:
        return [Period(*(getattr(row, name) for name in Period.__slots__)) for row in connection.execute(query)]
