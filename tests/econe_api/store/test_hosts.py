"""Hosts in the store: tokens are good once, certificates hold until they are taken back, and the feed says so."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from econe_api.store import hosts
from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.host_tables import join_tokens
from econe_api.store.records import HostRecord, Kind
from econe_api.store.schema import instances, subnets

END = datetime(2027, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _record(store, name="hv1"):
    found = [one.record for one in Feed(store.engine).snapshot().changes if (one.kind, one.key) == (Kind.HOST, name)]
    return found[0] if found else None


@pytest.fixture
def busy(store, account):
    """An instance on hv1."""
    about = {
        "account": account.account_id,
        "reservation": "r-1",
        "launch_index": 0,
        "image": "ami-1",
        "type": "t2.nano",
    }
    with store.write(administration("Launch")) as txn:
        subnet = txn.connection.execute(select(subnets)).first()
        place = {"host": "hv1", "zone": subnet.zone, "state": "running", "launched": txn.now}
        txn.connection.execute(insert(instances).values(id="i-1", **about, **place))


def test_a_host_s_life(store):
    assert _record(store) is None
    feed = Feed(store.engine)
    before = feed.snapshot().revision
    assert hosts.invite(store, "hv1", "d1", HOUR) == before + 1
    assert _record(store) == HostRecord("hv1", "invited", (), ("d1",))
    hosts.invite(store, "hv1", "d2", HOUR)
    assert _record(store) == HostRecord("hv1", "invited", (), ("d2",)), "the later token replaces the one before"
    hosts.redeem(store, "hv1", "d2", "a1", END)
    assert _record(store) == HostRecord("hv1", "joined", ("a1",), ())
    hosts.renew(store, "hv1", "a1", "a2", END + HOUR)
    assert _record(store) == HostRecord("hv1", "joined", ("a1", "a2"), ())
    assert [(one.name, one.state, one.expires) for one in hosts.list_hosts(store)] == [
        ("hv1", "joined", END + HOUR),
        ("hv2", "known", None),
    ]
    hosts.invite(store, "hv1", "d3", HOUR, again=True)
    assert _record(store).serials == ("a1", "a2"), "an invitation alone takes nothing away"
    hosts.redeem(store, "hv1", "d3", "a3", END)
    assert _record(store) == HostRecord("hv1", "joined", ("a3",), ())
    hosts.invite(store, "hv1", "d4", HOUR, again=True)
    hosts.remove(store, "hv1", force=False)
    assert _record(store) == HostRecord("hv1", "removed", (), ())
    assert [change.key for change in feed.since(before).changes] == ["hv1"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_token_that_is_not_good_changes_nothing(store):
    hosts.invite(store, "hv1", "d1", HOUR)
    with pytest.raises(StoreError, match="not known"):
        hosts.redeem(store, "hv1", "d9", "a1", END)
    with pytest.raises(StoreError, match="not known"):
        hosts.redeem(store, "hv2", "d1", "a1", END)
    hosts.redeem(store, "hv1", "d1", "a1", END)
    with pytest.raises(StoreError, match="has been used"):
        hosts.redeem(store, "hv1", "d1", "a2", END)
    hosts.invite(store, "hv1", "d2", HOUR, again=True)
    with store.write(administration("Test")) as txn:
        late = update(join_tokens).where(join_tokens.c.digest == "d2").values(expires=txn.now)
        txn.connection.execute(late)
    with pytest.raises(StoreError, match="has expired"):
        hosts.redeem(store, "hv1", "d2", "a2", END)
    assert _record(store).serials == ("a1",)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_certificate_that_was_revoked_renews_nothing(store):
    hosts.invite(store, "hv1", "d1", HOUR)
    hosts.redeem(store, "hv1", "d1", "a1", END)
    for name, serial in (("hv1", "a9"), ("hv2", "a1")):
        with pytest.raises(StoreError, match="does not hold"):
            hosts.renew(store, name, serial, "a2", END)
    hosts.remove(store, "hv1", force=False)
    with pytest.raises(StoreError, match="does not hold"):
        hosts.renew(store, "hv1", "a1", "a2", END)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_strangers_and_members(store):
    for call in (
        lambda: hosts.drain(store, "nobody", draining=True),
        lambda: hosts.remove(store, "nobody", force=True),
        lambda: hosts.invite(store, "nobody", "d", HOUR, again=True),
    ):
        with pytest.raises(StoreError, match="there is no host 'nobody'"):
            call()
    hosts.invite(store, "new", "d1", HOUR)
    hosts.redeem(store, "new", "d1", "a1", END)
    with pytest.raises(StoreError, match="sluice host token new"):
        hosts.invite(store, "new", "d2", HOUR)
    assert [one.name for one in hosts.list_hosts(store)] == ["hv1", "hv2", "new"]


def test_a_host_with_instances_goes_only_by_force(store, busy):
    assert hosts.drain(store, "hv1", draining=True) == 1
    with pytest.raises(StoreError, match="1 instances are on host hv1"):
        hosts.remove(store, "hv1", force=False)
    assert hosts.list_hosts(store)[0].draining
    with store.read(administration("Test")) as txn:
        assert hosts.closed_to_new(txn.connection) == {"hv1"}
    hosts.drain(store, "hv1", draining=False)
    with store.read(administration("Test")) as txn:
        assert hosts.closed_to_new(txn.connection) == frozenset()
    hosts.remove(store, "hv1", force=True)
    with store.read(administration("Test")) as txn:
        assert hosts.closed_to_new(txn.connection) == {"hv1"}
    hosts.invite(store, "hv1", "d1", HOUR)
    with store.read(administration("Test")) as txn:
        assert hosts.closed_to_new(txn.connection) == frozenset()
