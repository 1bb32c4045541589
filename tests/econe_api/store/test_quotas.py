"""Quotas: AWS's defaults, overridden per account."""

from __future__ import annotations

import pytest

from econe_api.call import Call, Caller
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.errors import StoreError
from econe_api.store.quotas import DEFAULTS, ELASTIC_IPS, INBOUND_RULES, list_quotas, set_quota
from econe_api.store.store import Store


def seen_by(store: Store, account: str, name: str) -> int:
    with store.read(Call("DescribeAddresses", {}, Caller(account, "AKIAEXAMPLE"), "r-1")) as txn:
        return txn.quota(name)


def test_an_override_holds_for_its_account_alone(store: Store, account: NewAccount) -> None:
    other = create_account(store, "other")
    set_quota(store, account.account_id, ELASTIC_IPS, 7)
    set_quota(store, account.account_id, ELASTIC_IPS, 0)
    assert seen_by(store, account.account_id, ELASTIC_IPS) == 0
    assert seen_by(store, account.account_id, INBOUND_RULES) == 60
    assert seen_by(store, other.account_id, ELASTIC_IPS) == 5
    assert list_quotas(store, account.account_id) == {**DEFAULTS, ELASTIC_IPS: 0}
    set_quota(store, account.account_id, ELASTIC_IPS, None)
    assert list_quotas(store, account.account_id) == DEFAULTS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_makes_no_sense_is_refused(store: Store, account: NewAccount) -> None:
    for name, value, text in (
        ("wishes", 3, "known: elastic-ips"),
        (ELASTIC_IPS, -1, "no quota"),
        (ELASTIC_IPS, 10**7, "no quota"),
        (INBOUND_RULES, 1001, "from 0 to 1000"),
    ):
        with pytest.raises(StoreError, match=text):
            set_quota(store, account.account_id, name, value)
    with pytest.raises(StoreError, match="no account"):
        set_quota(store, "999999999999", ELASTIC_IPS, 3)
    with pytest.raises(StoreError, match="no account"):
        list_quotas(store, "999999999999")
    with pytest.raises(KeyError):
        seen_by(store, account.account_id, "wishes")
