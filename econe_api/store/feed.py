"""The change feed: what a follower needs to be where the store is.

A batch says how the objects that changed are *now*, not what happened to them: a follower may skip revisions, and
applying a batch twice does no harm.  The number of statements does not depend on how much has changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, bindparam, func, select

from econe_api.store.availability import unavailable
from econe_api.store.engine import REVISION, WRITE
from econe_api.store.feed_records import ALL, READERS, Keys
from econe_api.store.records import Batch, Change, Kind, Record
from econe_api.store.schema import audit, changes, counters
from econe_api.store.transaction import FLOOR, lock_writers, trim

_LATEST = 256
"""How many entries of the audit log are searched for requests; logs are not worth more."""


class Feed:
    """Reads batches, each in one consistent read transaction; safe to share between threads.

    When the database does not answer, every method raises :class:`econe_api.store.errors.StoreUnavailableError`.
    """

    def __init__(self, engine: Engine) -> None:
        self._writer = engine.execution_options(**{WRITE: True})
        self._reader = engine
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def snapshot(self) -> Batch:
        """Return all there is."""
        with unavailable(self._reader), self._reader.connect() as connection, connection.begin():
            return _snapshot(connection, _counters(connection)[REVISION])

    def since(self, revision: int) -> Batch:
        """Return what has changed after ``revision``.

        When that cannot be told - its changes have been trimmed, or the store has never been there, having been
        restored from an older copy - the answer is a full snapshot.
        """
        with unavailable(self._reader), self._reader.connect() as connection, connection.begin():
            known = _counters(connection)
            present = known[REVISION]
            if not known.get(FLOOR, 0) <= revision <= present:
                return _snapshot(connection, present)
            if revision == present:
                return Batch(revision=present, full=False, changes=())
            return _difference(connection, revision, present)

    def trim(self, keep: int) -> None:
        """Forget all changes but those of the last ``keep`` revisions."""
        with unavailable(self._writer), self._writer.connect() as connection, connection.begin():
            trim(connection, lock_writers(connection) - keep)


# Built once: a follower asks after each write.
_COUNTERS = select(counters.c.name, counters.c.value).where(counters.c.name.in_((REVISION, FLOOR)))
_TOUCHED = (
    select(changes.c.kind, changes.c.object)
    .where(changes.c.revision > bindparam("after"))
    .distinct()
    .order_by(changes.c.object)
)
_ONLY = {
    kind: select(changes.c.object).where(changes.c.revision > bindparam("after"), changes.c.kind == kind.value)
    for kind in READERS
}
_LAST_REQUESTS = (
    select(audit.c.request_id)
    .where(audit.c.id > select(func.max(audit.c.id)).scalar_subquery() - _LATEST, audit.c.revision > bindparam("after"))
    .order_by(audit.c.id)
)


def _counters(connection: Connection) -> Mapping[str, int]:
    return {row.name: row.value for row in connection.execute(_COUNTERS)}


def _snapshot(connection: Connection, revision: int) -> Batch:
    found = [Change(kind, key, record) for kind, reader in READERS.items() for key, record in reader(connection, ALL)]
    return Batch(revision=revision, full=True, changes=tuple(found))


def _difference(connection: Connection, after: int, present: int) -> Batch:
    touched: dict[Kind, dict[str, Record | None]] = {}
    for row in connection.execute(_TOUCHED, {"after": after}):
        touched.setdefault(Kind(row.kind), {})[row.object] = None
    for kind, objects in touched.items():
        objects.update(READERS[kind](connection, Keys(_ONLY[kind], {"after": after})))
    found = [Change(kind, key, record) for kind in READERS for key, record in touched.get(kind, {}).items()]
    return Batch(revision=present, full=False, changes=tuple(found), requests=_requests(connection, after))


def _requests(connection: Connection, after: int) -> tuple[str, ...]:
    """The requests that made what has changed after ``after``, as far as they are among the latest of the audit log."""
    return tuple(connection.scalars(_LAST_REQUESTS, {"after": after}))
