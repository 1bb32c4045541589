"""Numbers and VLANs of VPCs: in turn, given back, and what happens when none is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from econe_api.store.accounts import create_account, list_accounts
from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.schema import counters, vpcs
from econe_api.store.store import Store
from econe_api.store.vpc_numbers import FIRST_VLAN, LAST_NUMBER, LAST_VLAN
from econe_api.store.vpc_rows import add_vpc, remove_vpc

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _add(store: Store, account: str) -> str:
    with store.write(administration("test")) as txn:
        return add_vpc(txn, account, "10.0.0.0/16", ipv6=False, default=False)


def _numbers(store: Store, vpc: str) -> tuple[int, int | None]:
    with store.engine.connect() as connection:
        number, vlan = connection.execute(select(vpcs.c.number, vpcs.c.vlan).where(vpcs.c.id == vpc)).one()
        return number, vlan


def _fill(store: Store, account: str) -> None:
    """Take every VLAN that is free."""
    with store.engine.begin() as connection:
        taken = set(connection.scalars(select(vpcs.c.vlan)))
        rows = [
            {"id": f"vpc-{vlan:017x}", "number": 10_000 + vlan, "vlan": vlan}
            for vlan in range(FIRST_VLAN, LAST_VLAN + 1)
            if vlan not in taken
        ]
        shared = {"account": account, "cidr": "10.0.0.0/16", "is_default": False, "ipv6_cidr": None}
        connection.execute(insert(vpcs), [row | shared for row in rows])


def test_what_is_given_back_comes_again(store: Store) -> None:
    account = create_account(store, "tenant").account_id
    first = _add(store, account)
    assert _numbers(store, first) == (2, FIRST_VLAN + 1)
    _fill(store, account)
    with pytest.raises(StoreError, match="all 3994 VLANs of the fabric are taken"):
        create_account(store, "one too many")
    assert [listed.name for listed in list_accounts(store)] == ["tenant"]
    with store.write(administration("test")) as txn:
        remove_vpc(txn, first)
    # The tag is the only one that is free; the number is not that of before.
    assert _numbers(store, _add(store, account)) == (3, FIRST_VLAN + 1)


def test_after_the_last_comes_the_first_that_is_free(store: Store) -> None:
    account = create_account(store, "tenant").account_id
    with store.engine.begin() as connection:
        for name, last in (("vpc", LAST_NUMBER - 1), ("vlan", LAST_VLAN - 1)):
            connection.execute(update(counters).where(counters.c.name == name).values(value=last))
    assert _numbers(store, _add(store, account)) == (LAST_NUMBER, LAST_VLAN)
    assert _numbers(store, _add(store, account)) == (2, FIRST_VLAN + 1)


@pytest.mark.parametrize("fabric", ["vxlan", "flat"])
def test_without_vlans_there_is_no_end_of_them(store: Store, fabric: str) -> None:
    account = create_account(store, "tenant").account_id
    _fill(store, account)
    store.config = replace(store.config, fabric=fabric)
    assert _numbers(store, _add(store, account)) == (2, None)
    told = {change.key: change.record for change in Feed(store.engine).snapshot().changes if change.kind == "vpc"}
    assert 0 in {record.vlan for record in told.values()}  # type: ignore[union-attr]
