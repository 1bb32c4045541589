"""An instance is noted elsewhere: its followers hear of it once."""

import pytest
from sqlalchemy import insert, select

from econe_api.store.accounts import NewAccount
from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.moves import move_instance
from econe_api.store.records import Kind
from econe_api.store.schema import instances, interfaces, subnets
from econe_api.store.store import Store


@pytest.fixture
def instance(store: Store, account: NewAccount) -> str:
    """An instance on hv1 with one interface."""
    about = {
        "account": account.account_id,
        "reservation": "r-1",
        "launch_index": 0,
        "image": "ami-1",
        "type": "t2.nano",
    }
    with store.write(administration("Launch")) as txn:
        subnet = txn.connection.execute(select(subnets)).first()
        assert subnet is not None
        place = {"host": "hv1", "zone": subnet.zone, "state": "running", "launched": txn.now}
        txn.connection.execute(insert(instances).values(id="i-1", **about, **place))
        link = {"instance": "i-1", "device_index": 0, "vpc": subnet.vpc, "subnet": subnet.id, "created": txn.now}
        address = {"mac": "02:00:00:00:00:01", "private_ip": "172.31.0.4", "account": account.account_id}
        txn.connection.execute(insert(interfaces).values(id="eni-1", **link, **address))
        txn.touch(Kind.INTERFACE, "eni-1")
    return "i-1"


def test_a_move_reaches_the_followers_once(store: Store, instance: str) -> None:
    feed = Feed(store.engine)
    before = feed.snapshot().revision
    assert move_instance(store, instance, "hv2")
    (change,) = feed.since(before).changes
    assert (change.kind, change.key, change.record.host) == (Kind.INTERFACE, "eni-1", "hv2")  # type: ignore[union-attr]
    after = feed.snapshot().revision
    assert not move_instance(store, instance, "hv2")
    assert feed.snapshot().revision == after


def test_who_and_where_must_be_known(store: Store, instance: str) -> None:
    with pytest.raises(StoreError, match="no hypervisor 'hv9'"):
        move_instance(store, instance, "hv9")
    with pytest.raises(StoreError, match="no instance 'i-9'"):
        move_instance(store, "i-9", "hv2")
