"""Pools of elastic IPs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from econe_api.store.accounts import NewAccount
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.pools import Pool, create_pool, list_pools
from econe_api.store.records import Change, Kind, PoolRecord
from econe_api.store.schema import addresses
from econe_api.store.store import Store

VALUES = {
    "name": "public",
    "cidr": "203.0.113.0/24",
    "gateway": "203.0.113.1",
    "gateway_mac": "02:00:00:00:00:fe",
    "first": "203.0.113.10",
    "last": "203.0.113.17",
}
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_pool_hands_out_its_range(store: Store, pool: Pool) -> None:
    assert list_pools(store) == (pool,) == (Pool(**VALUES, free=8, used=0),)
    with store.engine.connect() as connection:
        found = connection.scalars(select(addresses.c.public_ip).order_by(addresses.c.sort)).all()
    assert found == [f"203.0.113.{number}" for number in range(10, 18)]
    record = PoolRecord("public", "203.0.113.0/24", "203.0.113.1", "02:00:00:00:00:fe")
    assert Feed(store.engine).since(0).changes == (Change(Kind.POOL, "public", record),)


def test_counts_follow_allocations(store: Store, account: NewAccount, pool: Pool) -> None:
    with store.engine.begin() as connection:
        connection.execute(
            update(addresses)
            .where(addresses.c.public_ip == "203.0.113.10")
            .values(allocation="eipalloc-1", account=account.account_id)
        )
    (listed,) = list_pools(store)
    assert (listed.free, listed.used, listed.first) == (7, 1, "203.0.113.10")
    assert create_pool(store, **VALUES) == listed


def test_the_same_pool_again_changes_nothing(store: Store, pool: Pool) -> None:
    revision = store.revision()
    assert create_pool(store, **{**VALUES, "gateway_mac": "02:00:00:00:00:FE"}) == pool
    assert store.revision() == revision


@SQLITE_ONLY
@pytest.mark.parametrize(
    "change",
    [
        {"last": "203.0.113.18"},
        {"first": "203.0.113.11"},
        {"gateway": "203.0.113.2"},
        {"gateway_mac": "02:00:00:00:00:01"},
    ],
)
def test_another_pool_of_the_same_name_is_refused(store: Store, pool: Pool, change: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="a pool 'public' already"):
        create_pool(store, **{**VALUES, **change})
    assert list_pools(store) == (pool,)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": ""}, "no pool name"),
        ({"name": "a b"}, "no pool name"),
        ({"name": "x" * 65}, "no pool name"),
        ({"cidr": "203.0.113.1/24"}, "host bits"),
        ({"cidr": "10.0.0.1/33"}, "no IPv4 network"),
        ({"cidr": "2001:db8::/64"}, "no IPv4 network"),
        ({"cidr": "172.16.0.0/12"}, "every account's VPC"),
        ({"gateway": "203.0.114.1"}, "gateway 203.0.114.1 is no host's address"),
        ({"gateway": "203.0.113.255"}, "gateway 203.0.113.255 is no host's address"),
        ({"gateway": "router"}, "gateway 'router' is no IPv4 address"),
        ({"gateway": "203.0.113.12"}, "leave it out of the range"),
        ({"first": "203.0.113.0"}, "first 203.0.113.0 is no host's address"),
        ({"last": "203.0.113.9"}, "no range"),
        ({"gateway_mac": "ff:ff:ff:ff:ff:ff"}, "no MAC of a host"),
        ({"gateway_mac": "00:00:00:00:00:00"}, "no MAC of a host"),
        ({"gateway_mac": "02-00-00-00-00-01"}, "no MAC of a host"),
        ({"cidr": "11.0.0.0/8", "gateway": "11.0.0.1", "first": "11.0.0.2", "last": "11.1.0.2"}, "65536 addresses"),
    ],
)
def test_wrong_values_are_named(store: Store, change: dict[str, str], text: str) -> None:
    with pytest.raises(StoreError, match=text) as caught:
        create_pool(store, **{**VALUES, **change})
    assert "\n" not in str(caught.value)
    assert list_pools(store) == ()


@pytest.mark.parametrize("cidr", ["203.0.113.0/24", "203.0.112.0/22", "203.0.113.0/28"])
def test_an_overlapping_network_is_refused(store: Store, pool: Pool, cidr: str) -> None:
    values: dict[str, Any] = {**VALUES, "name": "more", "cidr": cidr, "first": "203.0.113.2", "last": "203.0.113.3"}
    with pytest.raises(StoreError, match=f"network {cidr} overlaps 203.0.113.0/24 of pool 'public'"):
        create_pool(store, **values)
    create_pool(store, "more", "198.51.100.0/31", "198.51.100.0", "02:00:00:00:00:01", "198.51.100.1", "198.51.100.1")
    assert [listed.name for listed in list_pools(store)] == ["more", "public"]
