"""One transaction of the store, as actions and administrative commands see it.

All writes happen one after another: a write transaction begins by locking the row of the revision counter.  So
revisions come in commit order (a follower that has seen N never finds an N' < N later), and whatever a write reads
first - quotas, free addresses, names - still holds when it commits.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from econe_api.call import Call
from econe_api.config import Config
from econe_api.store import history
from econe_api.store.audit_log import Entry, Opening
from econe_api.store.engine import REVISION
from econe_api.store.quotas import quota
from econe_api.store.records import Kind
from econe_api.store.schema import changes, counters
from econe_api.store.secretbox import SecretBox

FLOOR = "feed_floor"
"""Name of the counter that holds the newest revision whose changes have been trimmed."""
KEEP_REVISIONS = 100_000
"""A follower that is further behind than this starts again from a snapshot."""
_TRIM_EVERY = 1_000
_ID_DIGITS = 17
#: Statements of every write, built once.
_SET = update(counters).where(counters.c.name == bindparam("counter")).values(value=bindparam("number"))
_NOTE = insert(changes)
_LOCK = select(counters.c.value).where(counters.c.name == REVISION).with_for_update()


class Transaction:
    """What a handler works with; :class:`econe_api.store.store.Store` begins, commits and rolls back.

    ``now`` is one moment for the whole transaction, aware, UTC, whole seconds.  ``revision`` is the revision that this
    transaction made, known after the commit; None when it changed nothing that the data plane follows.  ``secrets``
    seals what must not be read at rest.  ``awaited`` are ids of instances that the answer waits for, bounded, besides
    those that the answer names.
    """

    def __init__(self, connection: Connection, config: Config, call: Call, now: datetime, secrets: SecretBox) -> None:
        self.connection = connection
        self.config = config
        self.call = call
        self.now = now
        self.secrets = secrets
        self.revision: int | None = None
        self.awaited: list[str] = []

    @property
    def account(self) -> str:
        """The caller's account id."""
        return self.call.caller.account_id

    def quota(self, name: str) -> int:
        """Return the caller's quota ``name`` (:mod:`econe_api.store.quotas`)."""
        return quota(self.connection, self.account, name)

    def first_signed(self) -> tuple[datetime | None, bool]:
        """Return when the signature of this call first came with one that may change something, and whether under
        the same name of the SDK's; None when it is new or may be used again.  Writes only.
        """
        raise TypeError("this transaction only reads")

    def new_id(self, prefix: str) -> str:
        """Return a fresh random id, ``prefix`` + "-" + 17 hex digits."""
        return f"{prefix}-{secrets.token_hex((_ID_DIGITS + 1) // 2)[:_ID_DIGITS]}"

    def next_number(self, name: str) -> int:
        """Return the next number of the counter ``name``: 1, 2, ...; never the same twice.  Writes only."""
        raise TypeError("this transaction only reads")

    def touch(self, kind: Kind, key: str) -> None:
        """Note that an object came, changed or went; ``key`` as in records.Change.  Writes only."""
        raise TypeError("this transaction only reads")

    def note_address(self, public_ip: str) -> None:
        """Note a change of an address (its owner's) that only the history follows, not the data plane.  Writes only."""
        raise TypeError("this transaction only reads")


class WriteTransaction(Transaction):
    """A transaction that may change things; the connection holds the lock of all writers since ``last_revision``."""

    def __init__(
        self,
        connection: Connection,
        config: Config,
        call: Call,
        now: datetime,
        secrets: SecretBox,
        last_revision: int,
        log: Opening,
    ) -> None:
        super().__init__(connection, config, call, now, secrets)
        self._log = log
        self._touched: dict[tuple[Kind, str], None] = {}
        self._noted: set[str] = set()
        self._next_revision = last_revision + 1

    def first_signed(self) -> tuple[datetime | None, bool]:
        """Return what the log said of this call's signature when the transaction began."""
        return self._log.first, self._log.alike

    def next_number(self, name: str) -> int:
        """Return the next number of the counter ``name``; one that a rolled-back transaction took comes again."""
        bump = update(counters).where(counters.c.name == name).values(value=counters.c.value + 1)
        number: int | None = self.connection.scalar(bump.returning(counters.c.value))
        if number is None:
            number = 1
            self.connection.execute(insert(counters).values(name=name, value=number))
        return number

    def touch(self, kind: Kind, key: str) -> None:
        """Note a change for the feed."""
        self._touched[kind, key] = None

    def note_address(self, public_ip: str) -> None:
        """Note a change for the history alone."""
        self._noted.add(public_ip)

    def finish(self) -> tuple[int | None, Entry]:
        """Write history, revision and changes; return the revision, None when nothing was touched, and the audit entry.

        Called once, by the store, just before it adds the entry to the log and commits.
        """
        history.note(self.connection, self.now, self._noted | self._of(Kind.ADDRESS), self._of(Kind.INTERFACE))
        revision = self._next_revision if self._touched else None
        if revision is not None:
            self._set(REVISION, revision)
            rows = [{"revision": revision, "kind": kind.value, "object": key} for kind, key in self._touched]
            self.connection.execute(_NOTE, rows)
            if revision % _TRIM_EVERY == 0:
                trim(self.connection, revision - KEEP_REVISIONS)
        entry = Entry(
            time=self.now,
            request_id=self.call.request_id,
            account=self.account,
            access_key=self.call.caller.access_key_id,
            source_ip=self.call.source_ip,
            action=self.call.action,
            revision=revision,
            signature=self.call.signature,
            invocation=self.call.invocation,
        )
        return revision, entry

    def _of(self, kind: Kind) -> set[str]:
        return {key for touched, key in self._touched if touched is kind}

    def _set(self, name: str, value: int) -> None:
        self.connection.execute(_SET, {"counter": name, "number": value})


def lock_writers(connection: Connection) -> int:
    """Wait until no other transaction writes, keep others waiting until this one ends; return the store's revision."""
    revision: int = connection.execute(_LOCK).scalar_one()
    return revision


def trim(connection: Connection, floor: int) -> None:
    """Forget the changes of all revisions up to ``floor``.  The connection must be in a write transaction."""
    present = connection.scalar(select(counters.c.value).where(counters.c.name == FLOOR))
    if floor <= (present or 0):
        return
    connection.execute(delete(changes).where(changes.c.revision <= floor))
    if present is None:
        connection.execute(insert(counters).values(name=FLOOR, value=floor))
    else:
        connection.execute(update(counters).where(counters.c.name == FLOOR).values(value=floor))
