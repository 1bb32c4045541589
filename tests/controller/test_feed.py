"""From the store to the composer: the reader process, its frames, and what may happen to both."""

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from dataclasses import replace
from typing import get_type_hints

import eventlet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel.frames import FrameReader, pack
from controller import feed_reader
from controller.feed_changes import read_change
from controller.feed_follower import FeedFollower
from econe_api.call import Call, Caller
from econe_api.config import load
from econe_api.store import records
from econe_api.store.accounts import create_account
from econe_api.store.records import Batch, Change, Kind
from econe_api.store.store import Store

RECORDS = {
    Kind.VPC: records.VpcRecord,
    Kind.SUBNET: records.SubnetRecord,
    Kind.POOL: records.PoolRecord,
    Kind.PREFIX_LIST: records.PrefixListRecord,
    Kind.INTERFACE: records.InterfaceRecord,
    Kind.GROUP: records.GroupRecord,
    Kind.ADDRESS: records.AddressRecord,
    Kind.HOST: records.HostRecord,
}
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_NUMBER = st.integers(-(1 << 31), (1 << 63) - 1)


def _value(kind):
    """A strategy for the type of a record's field."""
    simple = {
        str: _TEXT,
        int: _NUMBER,
        bool: st.booleans(),
        str | None: st.none() | _TEXT,
        int | None: st.none() | _NUMBER,
        tuple[str, ...]: st.lists(_TEXT, max_size=4).map(tuple),
        tuple[records.RuleRecord, ...]: st.lists(st.deferred(lambda: _record(records.RuleRecord)), max_size=3).map(
            tuple
        ),
    }
    return simple[kind]


def _record(kind):
    return st.builds(kind, **{name: _value(hint) for name, hint in get_type_hints(kind).items()})


_CHANGES = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(Change, st.just(kind), _TEXT, st.none() | _record(RECORDS[kind]))
)


@given(st.builds(Batch, st.integers(0, 1 << 62), st.booleans(), st.lists(_CHANGES, max_size=12).map(tuple)))
def test_every_batch_arrives_as_it_was_sent(batch):
    arrived = []
    follower = FeedFollower(None, arrived.append, pytest.fail)
    frames = FrameReader()
    for message in feed_reader.messages(batch, per_frame=5):
        for received in frames.feed(pack(message)):
            follower._message(received)
    assert arrived == [batch]


@pytest.mark.parametrize(
    "change",
    [
        ("volume", "vol-1", None),
        ("vpc", "vpc-1", ["vpc-1"]),
        ("vpc", "vpc-1", ["vpc-1", 1, "10.0.0.0/8", 1, None, True, "red"]),
        ("vpc", "vpc-1", {"id": "v", "number": 1, "cidr": "10.0.0.0/8", "vlan": 1, "ipv6_cidr": None, "dns": True}),
        ("vpc", "vpc-1", "abcdef"),
        ("group", "sg-1", ["sg-1", 1, "v", "n"]),
        ("group", "sg-1", ["sg-1", 1, "v", "n", None]),
        ("group", "sg-1", ["sg-1", 1, "v", "n", [["sgr-1", False]]]),
    ],
)
def test_what_is_no_change_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_change(*change)


class Following:
    """A follower at work, and what it has told."""

    def __init__(self, config):
        self.batches, self.problems = [], []
        self.follower = FeedFollower(str(config), self.batches.append, self.problems.append)
        self._greenlet = eventlet.spawn(self.follower.run)

    def until(self, condition, seconds=20.0):
        with eventlet.Timeout(seconds, AssertionError(f"in vain; {self.problems}, {len(self.batches)} batches")):
            while not condition():
                eventlet.sleep(0.01)

    @property
    def pid(self):
        return self.follower._reader.pid

    def end(self):
        """Kill it in the order of the controller; returns how many seconds that took."""
        begin = time.monotonic()
        self._greenlet.kill()
        with contextlib.suppress(eventlet.greenlet.GreenletExit):
            self._greenlet.wait()
        return time.monotonic() - begin


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "sluice.toml"
    file.write_text(f'state = "{tmp_path / "state"}"\n')
    return file


@pytest.fixture
def store(config_file):
    opened = Store.open(load(config_file))
    yield opened
    opened.close()


@pytest.fixture
def follow(config_file):
    started = []

    def start():
        started.append(Following(config_file))
        return started[-1]

    yield start
    for one in started:
        one.end()


def _touch(store, kind=Kind.VPC, key="vpc-1"):
    with store.write(Call("Test", {}, Caller("123456789012", "AKIA"), "r-1")) as txn:
        txn.touch(kind, key)
    return txn.revision


def test_changes_arrive_and_a_poke_makes_it_quick(store, follow):
    create_account(store, "tenant")
    following = follow()
    following.until(lambda: following.batches)
    (first,) = following.batches
    assert first.full
    assert {change.kind for change in first.changes} >= {Kind.VPC, Kind.SUBNET, Kind.GROUP}
    assert first.revision == store.revision()
    revision = _touch(store)
    following.follower.poke(revision)
    following.until(lambda: len(following.batches) == 2)
    assert following.batches[1] == Batch(revision, False, (Change(Kind.VPC, "vpc-1", None),), ("r-1",))
    _touch(store)
    following.until(lambda: len(following.batches) == 3)  # without a poke
    assert following.problems == []


def test_pokes_from_many_at_once(store, follow):
    following = follow()
    following.until(lambda: following.batches)
    os.kill(following.pid, signal.SIGSTOP)  # so that nobody reads them
    try:
        revision = _touch(store)
        for poke in [eventlet.spawn(following.follower.poke, revision) for _ in range(100)]:
            poke.wait()
        for _ in range(70_000):  # more than a pipe holds
            following.follower.poke(revision)
    finally:
        os.kill(following.pid, signal.SIGCONT)
    following.until(lambda: following.batches[-1].revision == revision)


def test_killed_reader_is_replaced_and_begins_with_everything(store, follow):
    following = follow()
    following.until(lambda: following.batches)
    first = following.pid
    os.kill(first, signal.SIGKILL)
    following.until(lambda: following.problems)
    assert following.problems == ["the feed reader ended with status -9"]
    following.follower.poke(1)  # nobody is there to hear it
    create_account(store, "tenant")
    following.until(lambda: len(following.batches) > 1)
    assert following.batches[1].full
    assert following.batches[1].revision == store.revision()
    assert following.pid != first


def test_database_that_is_not_there_yet_is_not_made(config_file, tmp_path, follow):
    following = follow()
    following.until(lambda: following.problems)
    assert following.problems == [
        f"the store cannot be read: database file {tmp_path}/state/sluice.db is not there; "
        "start the API, which makes it, or mend 'database'"
    ]
    assert not (tmp_path / "state").exists()
    Store.open(load(config_file)).close()
    following.until(lambda: following.batches)
    assert following.batches == [Batch(0, True, ())]
    assert len(following.problems) == 1


def test_empty_database_in_the_clouds_place_says_nothing(store, tmp_path, follow):
    """An empty batch would take every flow away."""
    following = follow()
    create_account(store, "tenant")
    following.until(lambda: following.batches and following.batches[-1].revision == 1)
    file, aside = tmp_path / "state" / "sluice.db", tmp_path / "aside"
    store.close()
    file.parent.rename(aside)  # the write-ahead log lies beside the database
    following.until(lambda: following.problems)
    assert "is not there" in following.problems[0]
    file.parent.mkdir()
    file.touch()
    following.until(lambda: len(following.problems) == 2)
    assert "holds no store yet" in following.problems[1]
    batches = len(following.batches)
    shutil.rmtree(file.parent)
    aside.rename(file.parent)
    following.until(lambda: len(following.batches) > batches)
    assert following.batches[-1].full
    assert following.batches[-1].revision == 1
    assert len(following.batches[-1].changes) > 1


def test_locked_database_is_a_problem_and_then_none(store, tmp_path, follow, monkeypatch):
    create_account(store, "tenant")
    store.close()
    holder = sqlite3.connect(tmp_path / "state" / "sluice.db", isolation_level=None)
    try:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        following = follow()
        following.until(lambda: following.problems)
        assert following.problems == [
            "the store cannot be read: sqlite database does not answer (database is locked); "
            "try again, or see to the database"
        ]
        assert following.batches == []
        # In the middle of the next try it is not waited for.
        another = follow()
        another.until(lambda: another.follower._reader is not None)
        assert another.end() < feed_reader.PATIENCE - 1
    finally:
        holder.close()
    following.until(lambda: following.batches)
    assert following.batches[0].full
    assert replace(following.batches[0], changes=()) == Batch(store.revision(), True, ())


def test_reader_ends_with_the_controller(store, follow):
    following = follow()
    following.until(lambda: following.batches)
    pid = following.pid
    following.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_configuration_that_cannot_be_read_is_a_problem(config_file, follow):
    config_file.write_text("state = ")
    following = follow()
    following.until(lambda: following.problems)
    assert following.problems == ["the feed reader ended with status 1"]
