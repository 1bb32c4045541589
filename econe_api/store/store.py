"""The durable truth of a cloud: one database, one transaction per call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, bindparam, select

from econe_api.auth.credential import Credential
from econe_api.call import Call, Role
from econe_api.config import Config
from econe_api.store import audit_log, sessions
from econe_api.store.anchor import Anchor
from econe_api.store.audit_log import Entry, Head, Sealer
from econe_api.store.availability import unavailable
from econe_api.store.engine import PATIENCE, REVISION, WRITE, create_schema, make_engine
from econe_api.store.errors import StoreError, StoreUnavailableError
from econe_api.store.schema import access_keys, accounts, counters
from econe_api.store.secretbox import SecretBox, create_key, load_key
from econe_api.store.transaction import Transaction, WriteTransaction, lock_writers

ANCHOR = "audit.anchor"
"""Name of the file in the state directory that notes the newest entry of the audit log."""

#: What every call begins with, built once.
_KEY = (
    select(access_keys, accounts.c.disabled)
    .join(accounts, accounts.c.id == access_keys.c.account)
    .where(access_keys.c.id == bindparam("key"))
)


def wall_clock() -> datetime:
    """Return the time now: aware, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Store:
    """Begins, commits and rolls back; safe to share between threads.

    The schema and the key file must be there: :meth:`open` sees to it.  When the database does not answer, every
    method raises :class:`econe_api.store.errors.StoreUnavailableError`.
    """

    def __init__(self, engine: Engine, config: Config, clock: Callable[[], datetime] = wall_clock) -> None:
        self.engine = engine
        self.config = config
        self._clock = clock
        self.secrets: SecretBox = load_key(config.key_file)
        self.sealer = Sealer(self.secrets.derive("audit log"))
        self.anchor = Anchor(config.state / ANCHOR, self.sealer)
        self._writer = engine.execution_options(**{WRITE: True})
        self._reader = engine
        self._turn = threading.Lock()
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @classmethod
    def open(cls, config: Config, clock: Callable[[], datetime] = wall_clock) -> Store:
        """Open the store of ``config``, making what is missing: state directory, schema, key file.

        Raises :class:`StoreError` when the state directory cannot be written or the key of old secrets is gone.
        """
        _create_state(config.state)
        engine = make_engine(config.database)
        create_schema(engine)
        with unavailable(engine), engine.connect() as connection:
            sealed = connection.execute(select(access_keys.c.id, access_keys.c.secret).limit(1)).one_or_none()
        if sealed is not None and not config.key_file.exists():
            raise StoreError(
                f"key file {config.key_file} is gone; restore it, the database's secrets open with no other"
            )
        try:
            create_key(config.key_file)
            store = cls(engine, config, clock)
        except OSError as error:
            raise StoreError(f"key file {config.key_file}: {error.strerror}; mend its folder or its rights") from error
        if sealed is not None:
            store.secrets.open(sealed.id, sealed.secret)  # with another key nobody could sign in: say so now
        return store

    def close(self) -> None:
        """Close the idle connections."""
        self.engine.dispose()

    @contextmanager
    def read(self, call: Call) -> Iterator[Transaction]:
        """Give one consistent view of the store."""
        with unavailable(self.engine), self._reader.connect() as connection, connection.begin():
            yield Transaction(connection, self.config, call, self._clock(), self.secrets)

    @contextmanager
    def write(self, call: Call) -> Iterator[Transaction]:
        """Give the one write transaction of its time; commit it with an audit row, roll all back on an exception."""
        with unavailable(self.engine), self._own_turn(), self._writer.connect() as connection:
            with connection.begin():
                last = lock_writers(connection)
                log = audit_log.opening(connection, call.signature, call.invocation)
                transaction = WriteTransaction(connection, self.config, call, self._clock(), self.secrets, last, log)
                yield transaction
                revision, entry = transaction.finish()
                newest = audit_log.append(connection, self.sealer, [entry], log.head)
            transaction.revision = revision
        self.anchor.advance(log.head, newest, self._holds)

    def record(self, entries: Sequence[Entry]) -> None:
        """Add to the audit log what happened outside write transactions."""
        with unavailable(self.engine), self._own_turn(), self._writer.connect() as connection, connection.begin():
            lock_writers(connection)
            before = audit_log.head(connection)
            newest = audit_log.append(connection, self.sealer, entries, before)
        self.anchor.advance(before, newest, self._holds)

    def entry(self, call: Call, code: str) -> Entry:
        """Return the entry that tells the audit log of ``call`` and its error ``code`` ("" = success)."""
        return Entry(
            time=self._clock(),
            request_id=call.request_id,
            account=call.caller.account_id,
            access_key=call.caller.access_key_id,
            source_ip=call.source_ip,
            action=call.action,
            code=code,
            signature=call.signature,
            invocation=call.invocation,
        )

    def credential(self, access_key_id: str, token: str | None = None) -> Credential | None:
        """Return the key as it is now, None when there is none of that id.

        ``token`` comes with a temporary key, which is good while the key that it was made with is.
        """
        ticket = None if token is None else sessions.read(self.secrets, access_key_id, token)
        if token is not None and ticket is None:
            return None
        wanted = access_key_id if ticket is None else ticket.parent
        with unavailable(self.engine), self._reader.connect() as connection:
            row = connection.execute(_KEY, {"key": wanted}).one_or_none()
        if row is None:
            return None
        return Credential(
            access_key_id=access_key_id,
            account_id=row.account,
            secret=self.secrets.open(access_key_id, row.secret) if ticket is None else ticket.secret,
            active=row.active and not row.disabled,
            role=Role(row.role),
            user=row.user,
            expires=None if ticket is None else ticket.expires,
        )

    def _holds(self, noted: Head) -> bool:
        with unavailable(self.engine), self._reader.connect() as connection:
            return audit_log.holds(connection, self.sealer, noted)

    def revision(self) -> int:
        """Return the revision of the last write that the data plane follows; 0 at the start."""
        with unavailable(self.engine), self._reader.connect() as connection:
            query = select(counters.c.value).where(counters.c.name == REVISION)
            revision: int = connection.execute(query).scalar_one()
        return revision

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """Queue the writers of this process: SQLite's own queue is a poll with growing pauses, unfair under load."""
        if not self._turn.acquire(timeout=PATIENCE):
            raise StoreUnavailableError(f"another write has held the store for {PATIENCE:g} s; try again")
        try:
            yield
        finally:
            self._turn.release()


def _create_state(state: Path) -> None:
    mend = "run as a user who may write there, or set 'state' to another directory"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = state / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"state directory {state} is not writable ({error.strerror}); {mend}") from error
