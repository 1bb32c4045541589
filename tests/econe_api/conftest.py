"""Stores for tests, each test's own: SQLite in its folder, or a database of a private PostgreSQL cluster.

A test that needs one kind of database only says so with
``@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)``.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from econe_api.actions import ACTIONS
from econe_api.config import Config, parse
from econe_api.notify import Notifier
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.engine import create_schema, make_engine
from econe_api.store.pools import Pool, create_pool
from econe_api.store.store import Store
from econe_api.wsgi import Application

_TEMPLATE = "sluice_template"


class PostgresCluster:
    """A running private cluster; gives out fresh databases that hold the schema already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self._admin = create_engine(
            self.url("postgres", driver="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        self._run(f"CREATE DATABASE {_TEMPLATE}")
        engine = make_engine(self.url(_TEMPLATE))
        create_schema(engine)
        engine.dispose()

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://postgres@/{database}?host={self.folder}"

    def create(self, template: str = _TEMPLATE) -> str:
        name = f"sluice_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.fail("PostgreSQL is not installed, and the store is tested on it: apt-get install postgresql")
    return found[-1].parent


def _as_owner(*command: str | Path) -> None:
    words = [str(word) for word in command]
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        prefix + words, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        pytest.fail(f"{words[0]} failed: {done.stdout.decode(errors='replace')}")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A private PostgreSQL on a unix socket, without durability, gone at the end."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data, log = folder / "data", folder / "log"
        initdb = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        _as_owner(binaries / "initdb", "-D", data, *initdb)
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        _as_owner(binaries / "pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", options)
        try:
            yield PostgresCluster(folder)
        finally:
            _as_owner(binaries / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test alone; on PostgreSQL the schema is there already."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state' / 'sluice.db'}"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    name = cluster.create()
    try:
        yield cluster.url(name)
    finally:
        cluster.drop(name)


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Config:
    """A cloud of two hypervisors in two zones."""
    hosts = [
        {"name": f"hv{number}", "zone": f"us-east-1{zone}", "vcpus": 8, "memory_mib": 16384}
        for number, zone in ((1, "a"), (2, "b"))
    ]
    document = {"state": str(tmp_path / "state"), "database": database_url, "hypervisor": hosts}
    return parse(document, "test", tmp_path)


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    """A fresh store, on SQLite and on PostgreSQL."""
    opened = Store.open(config)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def account(store: Store) -> NewAccount:
    """An account with its default VPC, subnets and group."""
    return create_account(store, "tenant")


@pytest.fixture
def pool(store: Store) -> Pool:
    """Eight elastic IPs, 203.0.113.10 to .17."""
    return create_pool(
        store,
        name="public",
        cidr="203.0.113.0/24",
        gateway="203.0.113.1",
        gateway_mac="02:00:00:00:00:fe",
        first="203.0.113.10",
        last="203.0.113.17",
    )


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def port(store: Store) -> Iterator[int]:
    """The application on a port of its own; neither controller nor worker answer, which delays nothing."""
    application = Application(store, ACTIONS, store.config, Notifier(store.config))
    server = make_server("127.0.0.1", 0, application, server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        application.close()
