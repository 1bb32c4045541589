"""The audit log: every call in order, sealed so that a change behind our back shows.

Entries are numbered without gaps by whoever holds the lock of all writers.  Each has a MAC of itself and of the MAC
before it, under a key that is derived from the key file and never in the database: whoever can write the database but
not read that file can neither alter, remove, insert nor reorder an entry without :func:`verify` finding the place.  The
newest entry is noted in a file as well (the anchor), so that cutting the log off at its end shows too.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, case, delete, func, insert, select

from econe_api.store.errors import StoreError
from econe_api.store.schema import audit, audit_floor

BEGINNING = ""
"""What stands before the first entry in place of a MAC."""
KEPT = timedelta(hours=1)
"""The newest part of the log, which is never pruned: replays are recognised by it."""
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One call: when (UTC, whole seconds), who, from where, what, with which result ("" = success)."""

    time: datetime
    request_id: str
    account: str
    access_key: str
    source_ip: str
    action: str
    code: str = ""
    revision: int | None = None
    signature: str | None = None
    invocation: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a chain: its number and MAC."""

    id: int
    mac: str


@dataclass(frozen=True, slots=True)
class Sealer:
    """Makes the MACs; ``key`` is 32 bytes."""

    key: bytes

    def entry(self, before: str, number: int, entry: Entry) -> str:
        """Return the MAC of an entry that follows the one with MAC ``before``."""
        fields = [
            before,
            number,
            int(entry.time.timestamp()),
            *(entry.request_id, entry.account, entry.access_key, entry.source_ip, entry.action),
            *(entry.code, entry.revision, entry.signature, entry.invocation),
        ]
        return self._mac("entry", fields)

    def head(self, what: str, head: Head) -> str:
        """Return the MAC of a note about an entry; ``what`` keeps kinds of notes apart."""
        return self._mac(what, [head.id, head.mac])

    def _mac(self, what: str, fields: list[Any]) -> str:
        text = json.dumps([what, *fields], separators=(",", ":"))
        return hmac.digest(self.key, text.encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a write transaction finds in the log: the newest entry, and whether its signature has come before.

    ``first`` is when it first came with a call that may change something, None = never; ``alike`` tells whether it came
    under the same name of the SDK's.
    """

    head: Head
    first: datetime | None
    alike: bool


#: Statements of every write, built once.
_earlier = audit.alias()
_same_name = _earlier.c.invocation.is_not_distinct_from(bindparam("name", type_=String))
_of_signature = _earlier.c.signature == bindparam("signed", type_=String)
_NEWEST = select(audit.c.id, audit.c.mac).order_by(audit.c.id.desc()).limit(1)
_OPENING = _NEWEST.add_columns(
    select(func.min(_earlier.c.time)).where(_of_signature).scalar_subquery().label("first"),
    select(func.max(case((_same_name, 1), else_=0))).where(_of_signature).scalar_subquery().label("alike"),
)
_APPEND = insert(audit)


def head(connection: Connection) -> Head:
    """Return the newest entry; where there is none, what stands before the first."""
    row = connection.execute(_NEWEST).one_or_none()
    if row is None:
        floor = connection.execute(select(audit_floor.c.id, audit_floor.c.mac)).one_or_none()
        return Head(0, BEGINNING) if floor is None else Head(floor.id, floor.mac)
    return Head(row.id, row.mac)


def opening(connection: Connection, signature: str | None, invocation: str | None) -> Opening:
    """Return how the log stands for a call of ``signature`` (None: one that may come again) and ``invocation``.

    It stays so while the connection holds the writers' lock.
    """
    row = connection.execute(_OPENING, {"name": invocation, "signed": signature}).one_or_none()
    if row is None:
        return Opening(head(connection), None, alike=False)
    return Opening(Head(row.id, row.mac), row.first, bool(row.alike))


def append(connection: Connection, sealer: Sealer, entries: Sequence[Entry], before: Head) -> Head:
    """Add ``entries``, in order, to the log that ends with ``before``; return the newest.

    The connection must hold the writers' lock since it read that end.
    """
    last = before
    rows = []
    for entry in entries:
        mac = sealer.entry(last.mac, last.id + 1, entry)
        last = Head(last.id + 1, mac)
        rows.append({"id": last.id, "mac": mac, **_values(entry)})
    if rows:
        connection.execute(_APPEND, rows)
    return last


def holds(connection: Connection, sealer: Sealer, noted: Head) -> bool:
    """Tell whether the log has that entry, or had it before it was pruned."""
    mac = connection.scalar(select(audit.c.mac).where(audit.c.id == noted.id))
    if mac is not None:
        return hmac.compare_digest(mac, noted.mac)
    problems: list[str] = []
    return noted.id <= _floor(connection, sealer, problems).id and not problems


def entries(connection: Connection, account: str | None, last: int) -> list[tuple[int, Entry]]:
    """Return the ``last`` newest entries, numbered, oldest first; those of one ``account`` where that is given."""
    query = select(audit).order_by(audit.c.id.desc()).limit(last)
    if account is not None:
        query = query.where(audit.c.account == account)
    return [(row.id, _entry(row)) for row in reversed(connection.execute(query).all())]


def verify(connection: Connection, sealer: Sealer, anchor: Head | None) -> tuple[int, list[str]]:
    """Return how many entries there are and what is wrong with them, one line each, at most one per place.

    ``anchor`` is the newest entry that the anchor file knows, None when there is no such file.
    """
    problems: list[str] = []
    last, anchored, count = _floor(connection, sealer, problems), anchor is None, 0
    floor = last.id
    for row in _rows(connection):
        count += 1
        if row.id != last.id + 1:
            problems.append(f"{_missing(last.id + 1, row.id - 1)}: somebody removed them")
        elif not hmac.compare_digest(sealer.entry(last.mac, row.id, _entry(row)), row.mac):
            problems.append(f"entry {row.id} is not as it was written: altered, moved or put there by somebody else")
        last = Head(row.id, row.mac)
        anchored = anchored or last == anchor
    if anchor is not None and not anchored and anchor.id > floor:
        if anchor.id > last.id:
            problems.append(f"{_missing(last.id + 1, anchor.id)}: the log was cut off, or an old backup restored")
        else:
            problems.append(f"entry {anchor.id} is another one than was noted: the end of the log was written anew")
    return count, problems


def prune(connection: Connection, sealer: Sealer, before: datetime) -> int:
    """Forget the oldest entries as far as they are all older than ``before``; return how many.

    The entry that ends them is noted under a seal.  The connection must hold the writers' lock.  Raises StoreError
    when the log is not whole as far as that: pruning must not hide what somebody did.
    """
    first_kept = connection.scalar(select(func.min(audit.c.id)).where(audit.c.time >= before))
    query = select(audit.c.id, audit.c.mac).order_by(audit.c.id.desc()).limit(1)
    row = connection.execute(query if first_kept is None else query.where(audit.c.id < first_kept)).one_or_none()
    if row is None:
        return 0
    _, problems = verify(connection, sealer, None)
    if problems:
        raise StoreError(f"the log is not whole ({problems[0]}); nothing is pruned, see 'sluice log verify'")
    note = Head(row.id, row.mac)
    gone = connection.execute(delete(audit).where(audit.c.id <= row.id)).rowcount
    connection.execute(delete(audit_floor))
    connection.execute(insert(audit_floor).values(id=note.id, mac=note.mac, seal=sealer.head("floor", note)))
    return gone


def _floor(connection: Connection, sealer: Sealer, problems: list[str]) -> Head:
    row = connection.execute(select(audit_floor)).one_or_none()
    if row is None:
        return Head(0, BEGINNING)
    floor = Head(row.id, row.mac)
    if not hmac.compare_digest(sealer.head("floor", floor), row.seal):
        problems.append(f"the note that entries up to {row.id} were pruned is not ours")
    return floor


def _missing(first: int, last: int) -> str:
    if first > last:
        return f"entry {last} is there twice or out of order"
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _rows(connection: Connection) -> Iterator[Row[Any]]:
    after = -1
    while True:
        query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(_BATCH)
        rows = connection.execute(query).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        after = rows[-1].id


def _values(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _FIELDS}


def _entry(row: Row[Any]) -> Entry:
    return Entry(**{name: getattr(row, name) for name in _FIELDS})


_FIELDS: Iterable[str] = Entry.__slots__
