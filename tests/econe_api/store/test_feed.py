"""The change feed: whoever applies its batches is where the store is, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, event, func, insert, select, update

from econe_api.call import Call, Caller
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.errors import StoreUnavailableError
from econe_api.store.feed import Feed
from econe_api.store.pools import Pool
from econe_api.store.prefix_list_tables import prefix_list_entries, prefix_lists
from econe_api.store.records import AddressRecord, Batch, Change, InterfaceRecord, Kind, Record
from econe_api.store.schema import (
    accounts,
    addresses,
    changes,
    counters,
    groups,
    instances,
    interface_groups,
    interfaces,
    pools,
    rules,
    secondary_addresses,
    subnets,
    vpcs,
)
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

CALL = Call("Anything", {}, Caller("123456789012", "AKIAEXAMPLE"), "r-1")
State = dict[tuple[Kind, str], Record]


def apply(state: State, batch: Batch) -> State:
    """What a follower does."""
    new: State = {} if batch.full else dict(state)
    for change in batch.changes:
        if change.record is None:
            new.pop((change.kind, change.key), None)
        else:
            new[change.kind, change.key] = change.record
    return new


class Tenant:
    """Does to the store what actions will do, in any order, and touches what it changes.

    Eight groups, interfaces and addresses at most, so that steps of a random walk meet each other.
    """

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn
        self.db: Connection = txn.connection
        self.account = self.db.scalars(select(accounts.c.id)).one()
        self.vpc = self.db.scalars(select(vpcs.c.id)).one()
        self.subnet = self.db.scalars(select(subnets.c.id).order_by(subnets.c.cidr)).first()

    def vpc_retag(self, slot: int, variant: int) -> None:
        self.db.execute(update(vpcs).values(vlan=200 + variant))
        self.txn.touch(Kind.VPC, self.vpc)

    def subnet_add(self, slot: int, variant: int) -> None:
        key = self.txn.new_id("subnet")
        row = {"vpc": self.vpc, "cidr": f"172.31.{slot * 16 + 32}.0/20", "zone": "z", "is_default": False}
        self.db.execute(insert(subnets).values(id=key, **row))
        self.txn.touch(Kind.SUBNET, key)

    def pool_change(self, slot: int, variant: int) -> None:
        self.db.execute(update(pools).values(gateway_mac=f"02:00:00:00:00:{variant:02x}"))
        self.txn.touch(Kind.POOL, "public")

    def prefix_list_put(self, slot: int, variant: int) -> None:
        key, entry = f"pl-{slot}", prefix_list_entries.c
        if self.db.scalar(select(prefix_lists.c.id).where(prefix_lists.c.id == key)) is None:
            row = {"id": key, "account": self.account, "name": key, "family": "IPv4", "max_entries": 9}
            number = self.txn.next_number("prefix-list")
            self.db.execute(insert(prefix_lists).values(number=number, version=1, state="create-complete", **row))
        version = 1 + (self.db.scalar(select(func.max(entry.since)).where(entry.prefix_list == key)) or 0)
        gone = update(prefix_list_entries).where(entry.prefix_list == key, entry.until.is_(None))
        self.db.execute(gone.values(until=version))
        for n in range(variant % 4):
            row = {"prefix_list": key, "cidr": f"10.{n}.{variant}.0/24"}
            self.db.execute(insert(prefix_list_entries).values(since=version, **row))
        self.txn.touch(Kind.PREFIX_LIST, key)

    def prefix_list_delete(self, slot: int, variant: int) -> None:
        key = f"pl-{slot}"
        self.db.execute(delete(prefix_list_entries).where(prefix_list_entries.c.prefix_list == key))
        self.db.execute(delete(prefix_lists).where(prefix_lists.c.id == key))
        self.txn.touch(Kind.PREFIX_LIST, key)

    def group_put(self, slot: int, variant: int) -> None:
        key = f"sg-{slot}"
        if self.db.scalar(select(groups.c.id).where(groups.c.id == key)) is None:
            row = {"id": key, "account": self.account, "vpc": self.vpc, "name": key, "description": ""}
            self.db.execute(insert(groups).values(number=self.txn.next_number("group"), **row))
        self.db.execute(delete(rules).where(rules.c.group == key))
        for n in range(variant % 4):
            row = {"id": f"sgr-{slot}-{n}", "group": key, "egress": bool(n & 1), "protocol": 6, "from_port": variant}
            self.db.execute(insert(rules).values(to_port=variant, cidr=None, referenced_group=key, **row))
        self.txn.touch(Kind.GROUP, key)

    def group_delete(self, slot: int, variant: int) -> None:
        key = f"sg-{slot}"
        for interface in self.db.scalars(select(interface_groups.c.interface).where(interface_groups.c.group == key)):
            self.txn.touch(Kind.INTERFACE, interface)
        self.db.execute(delete(interface_groups).where(interface_groups.c.group == key))
        self.db.execute(delete(rules).where(rules.c.group == key))
        self.db.execute(delete(groups).where(groups.c.id == key))
        self.txn.touch(Kind.GROUP, key)

    def interface_put(self, slot: int, variant: int) -> None:
        key = f"eni-{slot}"
        if self.db.scalar(select(interfaces.c.id).where(interfaces.c.id == key)) is None:
            place = {"vpc": self.vpc, "subnet": self.subnet, "private_ip": f"172.31.0.{slot + 10}"}
            row = {"id": key, "account": self.account, "mac": f"02:00:00:00:01:{slot:02x}"}
            row |= {"instance": self._instance(), "device_index": slot, "attachment_state": "attached"}
            self.db.execute(insert(interfaces).values(created=self.txn.now, **row, **place))
        self.db.execute(delete(interface_groups).where(interface_groups.c.interface == key))
        known = self.db.scalars(select(groups.c.id).where(groups.c.name != "default").order_by(groups.c.id)).all()
        for n, group in enumerate(known):
            if variant >> n & 1:
                self.db.execute(insert(interface_groups).values(interface=key, group=group))
        self.txn.touch(Kind.INTERFACE, key)

    def interface_move(self, slot: int, variant: int) -> None:
        """It is attached, or is being attached or detached, or is attached to nothing."""
        state = (None, "attaching", "attached", "detaching")[variant % 4]
        instance = None if state is None else self._instance()
        row = update(interfaces).where(interfaces.c.id == f"eni-{slot}")
        self.db.execute(row.values(attachment_state=state, instance=instance))
        self.txn.touch(Kind.INTERFACE, f"eni-{slot}")

    def secondary_address(self, slot: int, variant: int) -> None:
        key, address = f"eni-{slot}", f"172.31.1.{variant}"
        self.db.execute(delete(secondary_addresses).where(secondary_addresses.c.interface == key))
        taken = select(secondary_addresses.c.address).where(secondary_addresses.c.address == address)
        there = select(interfaces.c.id).where(interfaces.c.id == key)
        if self.db.scalar(there) and not self.db.scalar(taken):
            row = {"vpc": self.vpc, "address": address, "interface": key, "sort": variant}
            self.db.execute(insert(secondary_addresses).values(**row))
        self.txn.touch(Kind.INTERFACE, key)

    def _instance(self) -> str:
        key = "i-1"
        if self.db.scalar(select(instances.c.id)) is None:
            row = {"id": key, "account": self.account, "reservation": "r-1", "launch_index": 0, "image": "ami-1"}
            place = {"type": "t2.micro", "host": "hv1", "zone": "z", "state": "running", "launched": self.txn.now}
            self.db.execute(insert(instances).values(**row, **place))
        return key

    def interface_delete(self, slot: int, variant: int) -> None:
        key = f"eni-{slot}"
        for public in self.db.scalars(select(addresses.c.public_ip).where(addresses.c.interface == key)).all():
            self._free(public)
        self.db.execute(delete(interface_groups).where(interface_groups.c.interface == key))
        self.db.execute(delete(interfaces).where(interfaces.c.id == key))
        self.txn.touch(Kind.INTERFACE, key)

    def associate(self, slot: int, variant: int) -> None:
        key = f"eni-{variant % 8}"
        private = self.db.scalar(select(interfaces.c.private_ip).where(interfaces.c.id == key))
        if private is not None:
            for public in self.db.scalars(select(addresses.c.public_ip).where(addresses.c.interface == key)).all():
                self._free(public)
            public = f"203.0.113.{10 + slot}"
            row = update(addresses).where(addresses.c.public_ip == public)
            self.db.execute(row.values(interface=key, private_ip=private))
            self.txn.touch(Kind.ADDRESS, public)

    def disassociate(self, slot: int, variant: int) -> None:
        self._free(f"203.0.113.{10 + slot}")

    def _free(self, public: str) -> None:
        row = update(addresses).where(addresses.c.public_ip == public)
        self.db.execute(row.values(interface=None, private_ip=None))
        self.txn.touch(Kind.ADDRESS, public)


STEPS = [name for name in vars(Tenant) if not name.startswith("_")]
Step = tuple[str, int, int]
steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 7), st.integers(0, 63))
transactions = st.lists(st.lists(steps, max_size=6), max_size=12)


def take(store: Store, transaction: list[Step]) -> None:
    with store.write(CALL) as txn:
        tenant = Tenant(txn)
        for name, slot, variant in transaction:
            getattr(tenant, name)(slot, variant)


@pytest.fixture
def feed(store: Store, account: NewAccount, pool: Pool) -> Feed:
    return Feed(store.engine)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=transactions, polls=st.lists(st.booleans(), min_size=12, max_size=12))
def test_batches_one_after_another_give_the_snapshot(
    store: Store, feed: Feed, walk: list[list[Step]], polls: list[bool]
) -> None:
    start = feed.snapshot()
    eager = lazy = apply({}, start)
    revision = start.revision
    for transaction, poll in zip(walk, polls, strict=False):
        take(store, transaction)
        if poll:
            batch = feed.since(revision)
            assert not batch.full
            eager, revision = apply(eager, batch), batch.revision
    eager = apply(eager, feed.since(revision))
    lazy = apply(lazy, feed.since(start.revision))
    end = feed.snapshot()
    assert eager == lazy == apply({}, end)
    assert apply(eager, feed.since(start.revision)) == eager, "a batch twice does no harm"
    assert end.revision == store.revision()


def test_records_say_what_the_rows_say(store: Store, feed: Feed) -> None:
    seen = store.revision()
    take(store, [("group_put", 1, 3), ("group_put", 2, 0), ("interface_put", 4, 0b11), ("associate", 5, 4)])
    batch = feed.since(seen)
    assert (batch.revision, batch.full) == (seen + 1, False)
    with store.engine.connect() as connection:
        subnet = connection.execute(select(subnets).where(subnets.c.cidr == "172.31.0.0/20")).one()
    interface, address = batch.changes[-2:]
    assert isinstance(interface.record, InterfaceRecord)
    assert interface.record.groups == ("sg-1", "sg-2")
    assert (interface.record.vpc, interface.record.subnet, interface.record.instance) == (subnet.vpc, subnet.id, "i-1")
    assert (interface.record.mac, interface.record.addresses) == ("02:00:00:00:01:04", ("172.31.0.14",))
    assert address == Change(
        Kind.ADDRESS, "203.0.113.15", AddressRecord("203.0.113.15", "public", "eni-4", "172.31.0.14")
    )
    group = batch.changes[0].record
    assert [rule.id for rule in group.rules] == ["sgr-1-0", "sgr-1-1", "sgr-1-2"]
    assert [(rule.egress, rule.from_port, rule.group, rule.cidr) for rule in group.rules[:2]] == [
        (False, 3, "sg-1", None),
        (True, 3, "sg-1", None),
    ]
    take(store, [("disassociate", 5, 0), ("interface_delete", 4, 0)])
    assert feed.since(seen + 1).changes == (
        Change(Kind.INTERFACE, "eni-4", None),
        Change(Kind.ADDRESS, "203.0.113.15", None),
    )


def test_only_attached_interfaces_are_told_and_the_primary_address_comes_first(store: Store, feed: Feed) -> None:
    take(store, [("interface_put", 4, 0), ("secondary_address", 4, 7), ("associate", 5, 4)])
    seen = store.revision()
    for state, told in ((3, False), (1, True), (0, False), (2, True)):
        take(store, [("interface_move", 4, state)])
        (change,) = feed.since(store.revision() - 1).changes
        assert (change.key, change.record is not None) == ("eni-4", told)
    assert change.record.addresses == ("172.31.0.14", "172.31.1.7")
    assert [held.key for held in feed.snapshot().changes if held.kind is Kind.ADDRESS] == ["203.0.113.15"]
    assert feed.since(seen).changes == (change,)


def test_nothing_new_is_an_empty_batch(store: Store, feed: Feed) -> None:
    assert feed.since(store.revision()) == Batch(revision=store.revision(), full=False, changes=())


def test_a_follower_from_the_future_starts_again(store: Store, feed: Feed) -> None:
    assert feed.since(store.revision() + 1) == feed.snapshot()
    assert feed.since(-1) == feed.snapshot()
    assert feed.snapshot().full


def test_a_follower_behind_the_trimmed_starts_again(store: Store, feed: Feed) -> None:
    for slot in range(6):
        take(store, [("group_put", slot, 1)])
    last = store.revision()
    feed.trim(keep=3)
    feed.trim(keep=5)
    with store.engine.connect() as connection:
        assert connection.scalars(select(changes.c.revision).distinct().order_by(changes.c.revision)).all() == [
            last - 2,
            last - 1,
            last,
        ]
    assert [change.key for change in feed.since(last - 3).changes] == ["sg-3", "sg-4", "sg-5"]
    assert not feed.since(last - 3).full
    assert feed.since(last - 4) == feed.snapshot()
    feed.trim(keep=0)
    assert not feed.since(last).full
    assert feed.since(last - 1).full
    take(store, [("group_put", 7, 1)])
    assert [change.key for change in feed.since(last).changes] == ["sg-7"]


def test_old_changes_are_forgotten_by_and_by(store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("econe_api.store.transaction.KEEP_REVISIONS", 2)
    with store.engine.begin() as connection:
        connection.execute(update(counters).where(counters.c.name == "revision").values(value=997))
    for slot in range(4):
        take(store, [("group_put", slot, 1)])
    with store.engine.connect() as connection:
        assert connection.scalars(select(changes.c.revision).order_by(changes.c.revision)).all() == [999, 1000, 1001]
    assert feed.since(997).full
    assert not feed.since(998).full


@contextmanager
def statements(engine: Engine, also: Callable[[str], None] | None = None) -> Iterator[list[str]]:
    """Note the statements that are sent, and do something ``also`` before each."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)
        if also is not None:
            also(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_the_number_of_statements_is_constant(store: Store, feed: Feed) -> None:
    counts = []
    for size in (1, 400):
        seen = store.revision()
        with store.write(CALL) as txn:
            tenant = Tenant(txn)
            for slot in range(100 * size, 101 * size):
                tenant.group_put(slot, 3)
        with statements(store.engine) as sent:
            batch = feed.since(seen)
        assert len(batch.changes) == size
        with statements(store.engine) as whole:
            feed.snapshot()
        counts.append((len(sent), len(whole)))
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 18


@pytest.mark.parametrize("full", [True, False])
def test_a_batch_is_one_moment(store: Store, feed: Feed, full: bool) -> None:
    seen = store.revision()
    take(store, [("group_put", 1, 1), ("interface_put", 1, 1)])
    expected = feed.snapshot() if full else feed.since(seen)
    written = []

    def interfere(statement: str) -> None:
        if "FROM groups" in statement and not written:
            written.append(statement)
            take(store, [("group_put", 1, 3), ("interface_delete", 1, 0), ("vpc_retag", 0, 9)])

    with statements(store.engine, interfere):
        batch = feed.snapshot() if full else feed.since(seen)
    assert written
    assert batch == expected
    assert feed.since(batch.revision).revision == batch.revision + 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broken_database_is_unavailable(store: Store) -> None:
    create_account(store, "tenant")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE changes")
    with pytest.raises(StoreUnavailableError, match="sqlite database does not answer"):
        Feed(store.engine).since(0)
