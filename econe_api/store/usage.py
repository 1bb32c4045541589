"""What elastic IPs cost: hours from their history, packets and bytes from the flow counters of the switches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from econe_api.store.availability import unavailable
from econe_api.store.engine import WRITE
from econe_api.store.history_tables import address_history, flow_counters, usage
from econe_api.store.schema import counters
from econe_api.store.store import Store
from econe_api.store.transaction import lock_writers

DIRECTIONS = ("in", "out")
"""Towards the instance, and from it."""
_METERED = "metered"
"""Name of the counter that holds when the counters were read last, in seconds since 1970."""
_SLACK = timedelta(seconds=3)
"""By how much the age of a flow may seem to change: switches tell whole seconds, and answers take time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one flow of an elastic IP had counted: ``age`` in seconds, packets and bytes since it was made."""

    public_ip: str
    direction: str
    age: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """One address in one month: hours allocated, of these hours associated; packets and bytes, in and out."""

    account: str
    public_ip: str
    allocation: str
    hours: float
    associated_hours: float
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int


def is_due(store: Store, now: datetime, interval: float) -> bool:
    """Tell whether nobody has taken readings for nearly ``interval`` seconds: several API workers share the work."""
    with unavailable(store.engine), store.engine.connect() as connection:
        last = connection.scalar(select(counters.c.value).where(counters.c.name == _METERED))
    return last is None or abs(now.timestamp() - last) >= interval * 0.9


def take(store: Store, readings: Mapping[str, Iterable[Reading]], now: datetime) -> None:
    """Add what the flows have counted since they were read last; ``readings`` are all of each host that answered.

    A reading tells all that its flow has counted, so one that is taken twice adds nothing, and one that fails to come
    is made up for by the next.  A flow that is younger than the one read before is another flow, which began at zero.
    """
    with (
        unavailable(store.engine),
        store.engine.connect().execution_options(**{WRITE: True}) as connection,
        connection.begin(),
    ):
        lock_writers(connection)
        _set_metered(connection, int(now.timestamp()))
        known = {(row.host, row.public_ip, row.direction): row for row in connection.execute(select(flow_counters))}
        added: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTED, 0))
        fresh = []
        for host, one in ((host, one) for host, several in readings.items() for one in several):
            started = now - timedelta(seconds=one.age)
            old = known.get((host, one.public_ip, one.direction))
            if old is not None and (started - old.started >= _SLACK or one.bytes < old.bytes):
                old = None
            added[one.public_ip][f"packets_{one.direction}"] += one.packets - (old.packets if old else 0)
            added[one.public_ip][f"bytes_{one.direction}"] += one.bytes - (old.bytes if old else 0)
            fresh.append(
                {
                    "host": host,
                    "public_ip": one.public_ip,
                    "direction": one.direction,
                    "started": old.started if old else started,
                    "packets": one.packets,
                    "bytes": one.bytes,
                }
            )
        connection.execute(delete(flow_counters).where(flow_counters.c.host.in_(readings)))
        if fresh:
            connection.execute(insert(flow_counters), fresh)
        _add(connection, now, {ip: amounts for ip, amounts in added.items() if any(amounts.values())})


def month(store: Store, year: int, number: int, now: datetime, account: str | None = None) -> list[Line]:
    """Return what every address did in a month (UTC), by account and address; up to ``now`` if it is not over."""
    begin = datetime(year, number, 1, tzinfo=UTC)
    end = min((begin + timedelta(days=32)).replace(day=1), now)
    if end <= begin:
        return []
    hours: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    address: dict[tuple[str, str], str] = {}
    amounts: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTED, 0))
    periods = select(address_history).where(
        address_history.c.since < end, (address_history.c.until > begin) | address_history.c.until.is_(None)
    )
    days = select(usage).where(usage.c.day >= f"{begin:%Y-%m-%d}", usage.c.day < f"{begin + timedelta(days=32):%Y-%m}")
    if account is not None:
        periods, days = periods.where(address_history.c.account == account), days.where(usage.c.account == account)
    with unavailable(store.engine), store.engine.connect() as connection:
        for row in connection.execute(periods):
            key = row.account, row.allocation
            address[key] = row.public_ip
            lasted = (min(row.until or end, end) - max(row.since, begin)).total_seconds() / 3600
            hours[key][0] += lasted
            hours[key][1] += lasted if row.association else 0.0
        for row in connection.execute(days):
            key = row.account, row.allocation
            address[key] = row.public_ip
            for name in _COUNTED:
                amounts[key][name] += getattr(row, name)
    return [
        Line(owner, address[key], allocation, hours[key][0], hours[key][1], **amounts[key])
        for key in sorted(address, key=lambda key: (key[0], _sort_key(address[key]), key[1]))
        for owner, allocation in [key]
    ]


_COUNTED = ("packets_in", "packets_out", "bytes_in", "bytes_out")


def _sort_key(public_ip: str) -> tuple[int, ...]:
    return tuple(int(part) for part in public_ip.split("."))


def _set_metered(connection: Connection, seconds: int) -> None:
    changed = connection.execute(update(counters).where(counters.c.name == _METERED).values(value=seconds))
    if not changed.rowcount:
        connection.execute(insert(counters).values(name=_METERED, value=seconds))


def _add(connection: Connection, now: datetime, added: dict[str, dict[str, int]]) -> None:
    """Credit amounts to who has each address now, or had it last."""
    last = (
        select(address_history.c.public_ip, address_history.c.account, address_history.c.allocation)
        .where(address_history.c.public_ip.in_(added))
        .order_by(address_history.c.id)
    )
    owner = {row.public_ip: row for row in connection.execute(last)}
    day = f"{now:%Y-%m-%d}"
    for ip, amounts in added.items():
        if ip not in owner:
            continue
        key = (
            (usage.c.day == day) & (usage.c.account == owner[ip].account) & (usage.c.allocation == owner[ip].allocation)
        )
        more = {name: usage.c[name] + amount for name, amount in amounts.items()}
        if not connection.execute(update(usage).where(key).values(more)).rowcount:
            whose = {"account": owner[ip].account, "allocation": owner[ip].allocation, "public_ip": ip}
            connection.execute(insert(usage).values(day=day, **whose, **amounts))
