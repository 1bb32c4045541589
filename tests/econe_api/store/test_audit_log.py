"""The audit log: whoever changes it behind our back is found out."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from econe_api.call import Call, Caller
from econe_api.store import audit_log
from econe_api.store.audit_batch import OVERFLOW, AuditBatch
from econe_api.store.audit_log import Entry, Head
from econe_api.store.errors import StoreError, StoreUnavailableError
from econe_api.store.schema import audit, audit_floor
from econe_api.store.store import ANCHOR, Store

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = Call("CreateTags", {}, Caller("123456789012", "AKIAEXAMPLE"), "r-1", "198.51.100.7")


def write(store: Store, count: int = 1) -> None:
    for _ in range(count):
        with store.write(replace(CALL, request_id=f"é-{uuid.uuid4()}")):
            pass


def entry(number: int = 0, **changes: Any) -> Entry:
    moment = NOW + timedelta(minutes=number)
    return replace(Entry(moment, f"r-{number}", "123456789012", "AKIA", "::1", "DescribeTags", "é<"), **changes)


def problems(store: Store) -> list[str]:
    with store.read(CALL) as txn:
        return audit_log.verify(txn.connection, store.sealer, store.anchor.read())[1]


def test_a_log_that_nobody_has_touched_is_whole(store: Store) -> None:
    write(store, 2)
    store.record([entry(1), entry(2, account="", signature="s" * 32, invocation="i" * 32)])
    write(store)
    assert problems(store) == []
    with store.read(CALL) as txn:
        found = audit_log.entries(txn.connection, None, 4)
        assert [number for number, _ in found] == [2, 3, 4, 5]
        assert found[1][1] == entry(1)
        assert [number for number, _ in audit_log.entries(txn.connection, "123456789012", 2)] == [3, 5]
    assert store.anchor.read() == Head(5, _mac(store, 5))


def _mac(store: Store, number: int) -> str:
    with store.engine.connect() as connection:
        return str(connection.scalar(select(audit.c.mac).where(audit.c.id == number)))


@pytest.mark.parametrize("column", [column.name for column in audit.c if column.name not in ("id", "mac")])
@SQLITE_ONLY
def test_an_altered_entry_is_found(store: Store, column: str) -> None:
    write(store)
    store.record([entry(1, revision=7, signature="s", invocation="i")])
    write(store)
    changed: dict[str, Any] = {"time": NOW + timedelta(seconds=61), "revision": 8}
    with store.engine.begin() as connection:
        connection.execute(update(audit).where(audit.c.id == 2).values({column: changed.get(column, "x")}))
    assert problems(store) == [
        "entry 2 is not as it was written: altered, moved or put there by somebody else",
    ]


def test_entries_taken_away_moved_or_put_in_are_found(store: Store) -> None:
    write(store, 6)
    with store.engine.begin() as connection:
        connection.execute(delete(audit).where(audit.c.id.in_([2, 3])))
    assert problems(store) == ["entries 2 to 3 are missing: somebody removed them"]
    with store.engine.begin() as connection:
        for old, new in ((5, 99), (4, 5), (99, 4)):
            connection.execute(update(audit).where(audit.c.id == old).values(id=new))
    assert len(problems(store)) == 3
    with store.engine.begin() as connection:  # the numbers closed up
        for old, new in ((4, 2), (5, 3), (6, 4)):
            connection.execute(update(audit).where(audit.c.id == old).values(id=new))
    assert any("entry 2 is not as it was written" in problem for problem in problems(store))


def test_a_log_that_was_cut_off_is_found_also_when_it_went_on(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    write(store, 4)
    with store.engine.begin() as connection:
        connection.execute(delete(audit).where(audit.c.id > 2))
    assert problems(store) == ["entries 3 to 4 are missing: the log was cut off, or an old backup restored"]
    write(store, 4)
    assert problems(store) == ["entry 4 is another one than was noted: the end of the log was written anew"]
    assert caplog.text.count("entry 4 of the audit log is gone or altered") == 1
    with store.read(CALL) as txn:
        store.anchor.reset(audit_log.head(txn.connection))
    write(store)
    assert problems(store) == []
    with store.engine.begin() as connection:
        connection.execute(delete(audit))
    assert problems(store) == ["entries 1 to 7 are missing: the log was cut off, or an old backup restored"]


@SQLITE_ONLY
def test_another_key_or_anchor_is_none(store: Store) -> None:
    write(store)
    anchor = Path(store.config.state) / ANCHOR
    assert anchor.stat().st_mode & 0o777 == 0o600
    with store.read(CALL) as txn:
        assert audit_log.verify(txn.connection, audit_log.Sealer(b"x" * 32), None)[1]
    for content in ("{}", "nothing", anchor.read_text().replace('"id": 1', '"id": 0')):
        anchor.write_text(content)
        with pytest.raises(StoreError, match="damaged or not ours"):
            store.anchor.read()
    write(store)
    anchor.unlink()
    write(store)
    assert problems(store) == []


class TestPrune:
    """Retention."""

    @pytest.fixture
    def aged(self, store: Store) -> Store:
        store.record([entry(number) for number in range(6)])
        return store

    def prune(self, store: Store, minutes: int) -> int:
        with store.write(CALL) as txn:
            return audit_log.prune(txn.connection, store.sealer, NOW + timedelta(minutes=minutes))

    def test_what_is_left_is_whole(self, aged: Store) -> None:
        assert self.prune(aged, 0) == 0
        assert self.prune(aged, 4) == 4
        assert problems(aged) == []
        with aged.read(CALL) as txn:
            assert [number for number, _ in audit_log.entries(txn.connection, None, 99)] == [5, 6, 7, 8]
        assert self.prune(aged, 10**6) == 4
        write(aged)
        assert problems(aged) == []

    def test_more_than_was_pruned_is_missing(self, aged: Store) -> None:
        self.prune(aged, 3)
        with aged.engine.begin() as connection:
            connection.execute(delete(audit).where(audit.c.id == 4))
        assert problems(aged) == ["entry 4 is missing: somebody removed them"]

    def test_the_note_is_sealed(self, aged: Store) -> None:
        self.prune(aged, 3)
        with aged.engine.begin() as connection:
            fourth = connection.execute(select(audit).where(audit.c.id == 4)).one()
            connection.execute(delete(audit).where(audit.c.id == 4))
            connection.execute(update(audit_floor).values(id=4, mac=fourth.mac))
        assert problems(aged) == ["the note that entries up to 4 were pruned is not ours"]

    def test_a_log_that_is_not_whole_is_not_pruned(self, aged: Store) -> None:
        with aged.engine.begin() as connection:
            connection.execute(update(audit).where(audit.c.id == 2).values(account="other"))
        with pytest.raises(StoreError, match="nothing is pruned"):
            self.prune(aged, 4)


def test_many_writers_make_one_chain(store: Store) -> None:
    others = [Store(store.engine, store.config) for _ in range(3)]

    def work(own: Store) -> None:
        for number in range(8):
            write(own)
            own.record([entry(number), entry(number)])

    threads = [threading.Thread(target=work, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems(store) == []
    with store.read(CALL) as txn:
        assert audit_log.head(txn.connection).id == 72


class TestBatch:
    """Entries without a transaction of their own."""

    @pytest.fixture
    def written(self) -> list[Entry]:
        return []

    def test_they_are_written_together_and_in_order(self, written: list[Entry]) -> None:
        batches: list[int] = []

        def append(entries: Sequence[Entry]) -> None:
            batches.append(len(entries))
            written.extend(entries)

        batch = AuditBatch(append, interval=0.02)
        for number in range(100):
            batch.add(entry(number))
        deadline = time.monotonic() + 10
        while len(written) < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        batch.add(entry(100))
        batch.close()
        assert written == [entry(number) for number in range(101)]
        assert len(batches) < 20

    def test_a_store_that_does_not_answer_is_waited_for(
        self, written: list[Entry], caplog: pytest.LogCaptureFixture
    ) -> None:
        down = [True]

        def append(entries: Sequence[Entry]) -> None:
            if down[0]:
                raise StoreUnavailableError("down")
            written.extend(entries)

        batch = AuditBatch(append, interval=60)
        batch.add(entry(1))
        batch.flush()
        assert "the audit log waits: down" in caplog.text
        batch.add(entry(2))
        down[0] = False
        batch.close()
        assert written == [entry(1), entry(2)]

    def test_a_flood_of_anonymous_calls_is_counted_and_others_are_kept(self, written: list[Entry]) -> None:
        batch = AuditBatch(written.extend, interval=60)
        for number in range(2500):
            batch.add(entry(number, account=""))
        batch.add(entry(9999))
        batch.close()
        assert len(written) == 2002
        assert (written[2000].action, written[2000].code) == (OVERFLOW, "500")
        assert written[2001] == entry(9999)


@SQLITE_ONLY
def test_an_anchor_that_cannot_be_written_stops_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    anchor = Path(store.config.state) / ANCHOR
    anchor.unlink(missing_ok=True)
    anchor.mkdir()
    write(store, 3)
    assert caplog.text.count("Is a directory") == 1
