"""Opens the database so that a commit that returned survives a crash, on SQLite and PostgreSQL alike.

* SQLite: WAL with ``synchronous=FULL``, foreign keys enforced.  The driver's own transaction handling is off, because
  it would begin a transaction late and unlocked: ``BEGIN`` is sent here, as ``BEGIN IMMEDIATE`` when the connection has
  the execution option ``sluice_write``, so that a writer waits for its turn at the start and never fails in the middle.
* PostgreSQL: psycopg 3; a server that runs with ``synchronous_commit=off`` is overruled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from econe_api.store import (
    address_tables,
    history_tables,
    host_tables,
    image_tables,
    key_tables,
    metadata_tables,
    network_tables,
    opennebula_tables,
    prefix_list_tables,
    vnm_tables,
)
from econe_api.store.availability import unavailable
from econe_api.store.errors import StoreError, StoreUnavailableError
from econe_api.store.schema import counters, metadata

TABLES = (
    address_tables,
    history_tables,
    host_tables,
    image_tables,
    key_tables,
    metadata_tables,
    network_tables,
    opennebula_tables,
    prefix_list_tables,
    vnm_tables,
)
"""Modules whose tables belong to the schema besides :mod:`econe_api.store.schema`."""
WRITE = "sluice_write"
"""Execution option of a connection whose transactions write."""
SCHEMA_VERSION = 3
"""Kept in ``counters`` as "schema"; a database of another version is refused."""
REVISION = "revision"
"""Name of the counter that holds the store's revision, and whose row is the lock that every writer takes."""
PATIENCE = 30.0
"""How long a transaction waits for its turn to write, in seconds."""
_SCHEMA_LOCK = 0x736C7569  # "slui": names this program among the advisory locks of a PostgreSQL database


def make_engine(url: str, patience: float | None = None) -> Engine:
    """Return an engine for an SQLAlchemy ``url`` of a SQLite file or a PostgreSQL database; nothing is opened yet.

    A statement waits for somebody else's lock ``patience`` seconds at most, by default :data:`PATIENCE`.
    """
    patience = PATIENCE if patience is None else patience
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("database: not a database URL; write sqlite:///FILE or postgresql://...") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return _sqlite(parsed, patience)
    if backend == "postgresql":
        return _postgresql(parsed.set(drivername="postgresql+psycopg"), patience)
    raise StoreError(f"database: {backend} without a file or not supported; write sqlite:///FILE or postgresql://...")


def _sqlite(url: URL, patience: float) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        # busy_timeout comes first: the change to WAL may have to wait for another process that does the same.
        connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql(url: URL, patience: float) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=-1, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (str(int(patience * 1000)),))
        connection.commit()

    return engine


def create_schema(engine: Engine) -> None:
    """Create what is missing of the tables and the revision counter; safe when several processes do it at once.

    Raises :class:`StoreError` when the database was made by another version of Sluice, and its subclass
    :class:`econe_api.store.errors.StoreUnavailableError` when it does not answer.
    """
    with unavailable(engine), engine.connect().execution_options(**{WRITE: True}) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
        fresh = not inspect(connection).has_table(counters.name)
        if not fresh:
            _check_version(connection)
        metadata.create_all(connection)
        if fresh:
            rows = [{"name": "schema", "value": SCHEMA_VERSION}, {"name": REVISION, "value": 0}]
            connection.execute(insert(counters), rows)


def check_schema(engine: Engine) -> None:
    """See that the database is there and of this version; unlike :func:`create_schema` it makes nothing.

    Raises :class:`StoreError` and :class:`econe_api.store.errors.StoreUnavailableError`.
    """
    missing = "start the API, which makes it, or mend 'database'"
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        raise StoreUnavailableError(f"database file {engine.url.database} is not there; {missing}")
    with unavailable(engine), engine.connect() as connection:
        if not inspect(connection).has_table(counters.name):
            raise StoreUnavailableError(f"the {engine.dialect.name} database holds no store yet; {missing}")
        _check_version(connection)


def _check_version(connection: Connection) -> None:
    version = connection.scalar(select(counters.c.value).where(counters.c.name == "schema"))
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the database has schema {version}, this program knows {SCHEMA_VERSION}; "
            "run the version of Sluice that made it"
        )
