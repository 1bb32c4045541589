"""Transactions: all or nothing, one after another, audited, durable."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select, text
from sqlalchemy.exc import IntegrityError

from econe_api.call import Call, Caller
from econe_api.config import Config
from econe_api.store import engine as engine_module
from econe_api.store import store as store_module
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.engine import SCHEMA_VERSION, create_schema, make_engine
from econe_api.store.errors import StoreError, StoreUnavailableError
from econe_api.store.feed import Feed
from econe_api.store.records import Kind
from econe_api.store.schema import accounts, audit, changes, counters, instances
from econe_api.store.secretbox import create_key
from econe_api.store.store import Store, wall_clock

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MOMENT = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


def call(action: str = "CreateSecurityGroup", account: str = "123456789012") -> Call:
    return Call(action, {}, Caller(account, "AKIAEXAMPLE"), request_id="r-1", source_ip="198.51.100.7")


def test_a_write_gets_a_revision_changes_and_an_audit_row(config: Config, store: Store) -> None:
    clocked = Store(store.engine, config, clock=lambda: MOMENT)
    with clocked.write(call()) as txn:
        assert txn.revision is None
        assert txn.now == MOMENT
        assert txn.account == "123456789012"
        txn.touch(Kind.GROUP, "sg-1")
        txn.touch(Kind.GROUP, "sg-1")
        txn.touch(Kind.ADDRESS, "203.0.113.9")
    assert txn.revision == 1 == store.revision()
    with store.engine.connect() as connection:
        assert sorted(connection.execute(select(changes)).all()) == [
            (1, "address", "203.0.113.9"),
            (1, "group", "sg-1"),
        ]
        row = connection.execute(select(audit)).one()
    who = ("r-1", "123456789012", "AKIAEXAMPLE", "198.51.100.7")
    assert row[1:-1] == (MOMENT, *who, "CreateSecurityGroup", 1, "", None, None)
    assert row.time.utcoffset() == timedelta(0)


def test_a_write_that_touches_nothing_is_audited_without_a_revision(store: Store) -> None:
    with store.write(call()) as txn:
        pass
    assert txn.revision is None
    assert store.revision() == 0
    with store.engine.connect() as connection:
        assert connection.scalars(select(audit.c.revision)).all() == [None]


def test_an_exception_takes_everything_back(store: Store) -> None:
    with pytest.raises(LookupError), store.write(call()) as txn:
        txn.connection.execute(insert(accounts).values(id="1", name="one", created=txn.now))
        assert txn.next_number("things") == 1
        txn.touch(Kind.VPC, "vpc-1")
        raise LookupError
    assert txn.revision is None
    assert store.revision() == 0
    with store.engine.connect() as connection:
        for table in (accounts, audit, changes):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
    with store.write(call()) as txn:
        assert [txn.next_number("things") for _ in range(3)] == [1, 2, 3]
        assert txn.next_number("others") == 1


def test_bugs_are_not_taken_for_an_absent_database(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write(call()) as txn:
        for _ in range(2):
            txn.connection.execute(insert(accounts).values(id="1", name="one", created=txn.now))


def test_foreign_keys_are_enforced(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write(call()) as txn:
        txn.connection.execute(text("INSERT INTO quotas (account, name, value) VALUES ('none', 'x', 1)"))


def test_a_read_sees_one_state_and_changes_nothing(store: Store) -> None:
    query = select(counters.c.value).where(counters.c.name == "revision")
    with store.read(call()) as reader:
        assert reader.connection.scalar(query) == 0
        with store.write(call()) as writer:
            writer.touch(Kind.VPC, "vpc-1")
        assert reader.connection.scalar(query) == 0
        for change in (lambda: reader.touch(Kind.VPC, "vpc-1"), lambda: reader.next_number("things")):
            with pytest.raises(TypeError, match="only reads"):
                change()
    assert store.revision() == 1


def test_ids_have_seventeen_hex_digits_and_differ(store: Store) -> None:
    with store.read(call()) as txn:
        made = {txn.new_id("sg") for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(name) == 20 and name.startswith("sg-") and int(name[3:], 16) >= 0 for name in made)


def test_writes_survive_a_new_start(config: Config, store: Store, account: NewAccount) -> None:
    store.close()
    again = Store.open(config)
    credential = again.credential(account.access_key_id)
    assert credential is not None
    assert credential.secret == account.secret
    assert again.revision() == 1
    again.close()


def test_naive_times_are_refused(store: Store) -> None:
    with pytest.raises(Exception, match="no time zone"), store.write(call()) as txn:
        txn.connection.execute(insert(accounts).values(id="1", name="one", created=datetime(2024, 1, 1)))


def test_times_come_back_in_utc_and_none_stays_none(store: Store, account: NewAccount) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    about = {
        "account": account.account_id,
        "reservation": "r-1",
        "launch_index": 0,
        "image": "ami-1",
        "type": "t2.micro",
    }
    place = {"host": "hv1", "zone": "us-east-1a", "state": "pending"}
    with store.write(call()) as txn:
        launched = MOMENT.astimezone(zone)
        row = insert(instances).values(id="i-1", launched=launched, terminated=None, **about, **place)
        txn.connection.execute(row)
        found = txn.connection.execute(select(instances.c.launched, instances.c.terminated)).one()
    assert found == (MOMENT, None)
    assert found.launched.tzinfo == UTC


def test_the_wall_clock_is_aware_and_in_whole_seconds() -> None:
    now = wall_clock()
    assert now.utcoffset() == timedelta(0)
    assert now.microsecond == 0


@SQLITE_ONLY
def test_sqlite_is_durable_and_strict(store: Store) -> None:
    with store.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_postgresql_is_durable_whatever_its_server_says(store: Store, database_url: str) -> None:
    with store.engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    for setting, expected in (("off", "on"), ("remote_apply", "remote_apply")):
        with store.engine.begin() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = {setting}'))
        engine = make_engine(database_url)
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == expected
            assert connection.scalar(text("SHOW lock_timeout")) == "30s"
        engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_postgresql_reads_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="read-only"), store.read(call()) as txn:
        txn.connection.execute(insert(accounts).values(id="1", name="one", created=txn.now))


@SQLITE_ONLY
def test_state_is_for_its_owner_only(config: Config, store: Store) -> None:
    assert stat.S_IMODE(config.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.state.stat().st_mode) == 0o700
    assert sorted(path.name for path in config.state.iterdir()) == [
        "secrets.key",
        "sluice.db",
        "sluice.db-shm",
        "sluice.db-wal",
    ]


@SQLITE_ONLY
def test_a_key_file_that_others_read_or_that_is_none_is_refused(config: Config, store: Store) -> None:
    config.key_file.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Store.open(config)
    config.key_file.chmod(0o600)
    for content in (b"", b"not base64!", b"c2hvcnQ="):
        config.key_file.write_bytes(content)
        with pytest.raises(StoreError, match="holds no key"):
            Store.open(config)


@SQLITE_ONLY
def test_the_first_key_stays_when_two_processes_make_one(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = config.key_file.read_bytes()
    monkeypatch.setattr(Path, "exists", lambda _path: False)  # what the slower process saw a moment ago
    create_key(config.key_file)
    assert config.key_file.read_bytes() == first
    assert [path.name for path in config.state.glob("secrets.key*")] == ["secrets.key"]


@SQLITE_ONLY
def test_a_lost_or_foreign_key_file_is_named(config: Config, store: Store, account: NewAccount) -> None:
    config.key_file.rename(config.state / "elsewhere")
    with pytest.raises(StoreError, match=r"key file .* is gone; restore it"):
        Store.open(config)
    other = Store.open(replace(config, state=config.state / "b", database=f"sqlite:///{config.state / 'b' / 'x.db'}"))
    other.close()
    with pytest.raises(StoreError, match=f"secret of {account.access_key_id} does not open"):
        Store(store.engine, config).credential(account.access_key_id)


@SQLITE_ONLY
def test_a_key_file_in_no_folder_is_named(config: Config) -> None:
    with pytest.raises(StoreError, match=r"key file .*: No such file"):
        Store.open(replace(config, key_file=config.state / "none" / "key"))


@SQLITE_ONLY
def test_a_state_directory_that_cannot_be_written_is_one_clear_line(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", Path("/proc/sluice")):
        with pytest.raises(StoreError, match=f"state directory {state} is not writable") as caught:
            Store.open(replace(config, state=state))
        assert "\n" not in str(caught.value)


@SQLITE_ONLY
def test_a_database_of_another_version_is_refused(config: Config, store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text(f"UPDATE counters SET value = {SCHEMA_VERSION + 1} WHERE name = 'schema'"))
    with pytest.raises(StoreError, match=f"schema {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}"):
        Store.open(config)


@SQLITE_ONLY
def test_a_locked_database_is_unavailable_and_then_works(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 0.05)
    store = Store.open(config)
    other = sqlite3.connect(config.state / "sluice.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        create_account(store, "tenant")
    assert store.revision() == 0
    other.execute("ROLLBACK")
    other.close()
    create_account(store, "tenant")
    assert store.revision() == 1
    store.close()


@SQLITE_ONLY
def test_a_write_inside_a_write_fails_instead_of_hanging(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.05)
    with pytest.raises(StoreUnavailableError, match="another write"), store.write(call()), store.write(call()):
        pass
    with store.write(call()) as txn:
        txn.touch(Kind.VPC, "vpc-1")
    assert txn.revision == 1


@SQLITE_ONLY
def test_a_file_that_is_no_database_is_unavailable(config: Config) -> None:
    config.state.mkdir()
    (config.state / "sluice.db").write_bytes(b"This is not a database. " * 100)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        Store.open(config)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_a_database_that_is_not_there_is_unavailable(config: Config) -> None:
    absent = config.database.replace("/sluice_", "/absent_")
    with pytest.raises(StoreUnavailableError, match="does not exist") as caught:
        Store.open(replace(config, database=absent))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_connections_that_the_server_dropped_are_replaced(store: Store) -> None:
    with store.engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    killer = make_engine(store.config.database)
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with killer.connect() as connection:
        assert connection.execute(text(others)).all()
    killer.dispose()
    create_account(store, "tenant")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_a_read_only_server_is_unavailable_for_writes_alone(config: Config, store: Store) -> None:
    """As a standby is, or a primary whose disk ran full."""
    with store.write(call()) as txn:
        txn.touch(Kind.GROUP, "sg-1")
    name = make_url(config.database).database
    _set(store, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    opened = Store.open(config)
    try:
        with pytest.raises(StoreUnavailableError, match="read-only transaction") as caught, opened.write(call()):
            pytest.fail("this cannot be reached")
        assert "\n" not in str(caught.value)
        assert opened.revision() == 1
        assert Feed(opened.engine).snapshot().revision == 1
        with opened.read(call()) as txn:
            assert txn.connection.scalar(select(func.count()).select_from(audit)) == 1
        _set(store, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        opened.close()
        with opened.write(call()) as txn:
            txn.touch(Kind.GROUP, "sg-1")
        assert txn.revision == 2
    finally:
        opened.close()


def _set(store: Store, statement: str) -> None:
    """Change a setting that new connections have from then on."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(statement))


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "no url"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="write sqlite:///FILE or postgresql://"):
        make_engine(url)


def test_processes_that_start_at_once_agree(config: Config, database_url: str, tmp_path: Path) -> None:
    if database_url.startswith("postgresql"):
        engine = make_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    file = tmp_path / "sluice.toml"
    file.write_text(f'state = "{config.state}"\ndatabase = "{database_url}"\n')
    program = (
        "import sys; from pathlib import Path; from econe_api.config import load; "
        "from econe_api.store.store import Store; from econe_api.store.accounts import create_account; "
        "store = Store.open(load(Path(sys.argv[1]))); sys.stdin.readline(); "
        "print(create_account(store, sys.argv[2]).access_key_id)"
    )
    names = ["one", "two", "three", "four"]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(file), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    answers = [process.communicate("go\n", timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0, 0]
    store = Store.open(config)
    create_schema(store.engine)
    assert store.revision() == 4
    assert all(store.credential(answer) for answer in answers)
    assert sorted(path.name for path in config.state.glob("secrets.key*")) == ["secrets.key"]
    store.close()
