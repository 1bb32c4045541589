"""Finds network interfaces by what people call them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from econe_api.store.availability import unavailable
from econe_api.store.schema import instances, interfaces, tags
from econe_api.store.store import Store

_GONE = "terminated"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A network interface, the instance that it belongs to and the account that owns it."""

    interface: str
    instance: str | None
    account: str


def find_interfaces(store: Store, name: str) -> list[Whereabouts]:
    """The first interface of every instance that ``name`` (an id, or the tag ``Name``) means; or the one with that id.

    Instances that have ended are passed over.
    """
    found = (
        select(interfaces.c.id, interfaces.c.instance, interfaces.c.account)
        .outerjoin(instances, interfaces.c.instance == instances.c.id)
        .where((instances.c.state != _GONE) | instances.c.state.is_(None))
        .order_by(interfaces.c.instance, interfaces.c.device_index)
    )
    named = select(tags.c.resource).where(tags.c.kind == "instance", tags.c.key == "Name", tags.c.value == name)
    meant = (interfaces.c.id == name) | (interfaces.c.instance == name) | interfaces.c.instance.in_(named)
    with unavailable(store.engine), store.engine.connect() as connection:
        rows = connection.execute(found.where(meant)).all()
    first = {row.instance or row.id: Whereabouts(row.id, row.instance, row.account) for row in reversed(rows)}
    return [first[key] for key in sorted(first)]
