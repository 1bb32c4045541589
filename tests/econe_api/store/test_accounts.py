"""Accounts, keys and what a new account finds in the cloud."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from econe_api.call import Role
from econe_api.config import Config
from econe_api.store import secretbox, sessions
from econe_api.store.accounts import (
    NewAccount,
    create_account,
    disable_account,
    enable_account,
    find_account,
    list_accounts,
)
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.keys import chosen_key, create_key, delete_key, disable_key, enable_key, rotate_key
from econe_api.store.records import GroupRecord, SubnetRecord, VpcRecord
from econe_api.store.schema import audit, subnets, vpcs
from econe_api.store.store import Store, wall_clock


def test_new_account_has_ids_in_amazon_form(account: NewAccount) -> None:
    assert re.fullmatch(r"[0-9]{12}", account.account_id)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", account.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", account.secret)


def test_new_account_has_a_default_network(store: Store, account: NewAccount) -> None:
    records = [change.record for change in Feed(store.engine).snapshot().changes]
    (vpc,) = [record for record in records if isinstance(record, VpcRecord)]
    assert (vpc.number, vpc.cidr, vpc.vlan) == (1, "172.31.0.0/16", 101)
    nets = sorted((r for r in records if isinstance(r, SubnetRecord)), key=lambda record: record.cidr)
    assert [(net.vpc, net.cidr, net.gateway) for net in nets] == [
        (vpc.id, "172.31.0.0/20", "172.31.0.1"),
        (vpc.id, "172.31.16.0/20", "172.31.16.1"),
    ]
    (group,) = [record for record in records if isinstance(record, GroupRecord)]
    assert (group.number, group.vpc, group.name) == (1, vpc.id, "default")
    assert {
        (rule.egress, rule.protocol, rule.from_port, rule.to_port, rule.cidr, rule.group) for rule in group.rules
    } == {
        (False, -1, None, None, None, group.id),
        (True, -1, None, None, "0.0.0.0/0", None),
    }
    with store.engine.connect() as connection:
        assert connection.scalars(select(subnets.c.zone).order_by(subnets.c.cidr)).all() == ["us-east-1a", "us-east-1b"]
        assert connection.scalars(select(vpcs.c.account)).all() == [account.account_id]
    assert find_account(store, "tenant").account_id == account.account_id
    assert find_account(store, account.account_id).name == "tenant"


def test_accounts_get_networks_of_their_own(store: Store) -> None:
    for name in ("one", "two", "three"):
        create_account(store, name)
    records = [change.record for change in Feed(store.engine).snapshot().changes]
    networks = [record for record in records if isinstance(record, VpcRecord)]
    assert sorted((network.number, network.vlan) for network in networks) == [(1, 101), (2, 102), (3, 103)]
    assert [listed.name for listed in list_accounts(store)] == ["one", "three", "two"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_account_ids_are_neither_the_operators_nor_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0, 7, 7, 0, 8])
    monkeypatch.setattr("econe_api.store.accounts.secrets.randbelow", lambda _limit: next(drawn))
    assert [create_account(store, name).account_id for name in ("one", "two")] == ["000000000007", "000000000008"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refuses_what_is_no_name(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="no account name"):
        create_account(store, name)


def test_refuses_a_name_that_is_taken_and_changes_nothing(store: Store, account: NewAccount) -> None:
    before = Feed(store.engine).snapshot()
    with pytest.raises(StoreError, match="already"):
        create_account(store, "tenant")
    assert Feed(store.engine).snapshot() == before
    assert len(list_accounts(store)) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refuses_more_zones_than_a_network_has_subnets(store: Store) -> None:
    host = store.config.hypervisors[0]
    many = replace(store.config, hypervisors=tuple(replace(host, zone=f"zone{number}") for number in range(17)))
    with pytest.raises(StoreError, match="at most 16 zones"):
        create_account(Store(store.engine, many), "wide")


def test_keys_live_and_die(store: Store, account: NewAccount) -> None:
    second = create_key(store, account.account_id)
    credential = store.credential(second.access_key_id)
    assert credential is not None
    assert (credential.account_id, credential.secret, credential.active) == (account.account_id, second.secret, True)
    disable_key(store, second.access_key_id)
    assert [(key.access_key_id, key.active) for key in list_accounts(store)[0].keys if not key.active] == [
        (second.access_key_id, False)
    ]
    disabled = store.credential(second.access_key_id)
    assert disabled is not None
    assert not disabled.active
    enable_key(store, second.access_key_id)
    enabled = store.credential(second.access_key_id)
    assert enabled is not None
    assert enabled.active
    delete_key(store, second.access_key_id)
    assert store.credential(second.access_key_id) is None
    assert store.credential(account.access_key_id) is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_names_keys_and_accounts_that_are_not_there(store: Store) -> None:
    for command in (enable_key, disable_key, delete_key):
        with pytest.raises(StoreError, match="no access key 'AKIANONE'"):
            command(store, "AKIANONE")
    for look in (create_key, find_account):
        with pytest.raises(StoreError, match="no account '999999999999'"):
            look(store, "999999999999")


def test_administration_is_audited(store: Store, account: NewAccount) -> None:
    key = create_key(store, account.account_id)
    delete_key(store, key.access_key_id)
    with store.engine.connect() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    assert [(row.action, row.account, row.revision) for row in rows] == [
        ("CreateAccount", "000000000000", 1),
        ("CreateAccessKey", "000000000000", None),
        ("DeleteAccessKey", "000000000000", None),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_secrets_are_in_no_file_and_in_no_repr(config: Config, store: Store, account: NewAccount) -> None:
    key = create_key(store, account.account_id)
    credential = store.credential(account.access_key_id)
    shown = repr((account, key, credential, list_accounts(store), vars(store)))
    files = [path.read_bytes() for path in Path(config.state).iterdir() if path.is_file()]
    assert any(account.access_key_id.encode() in content for content in files)
    for secret in (account.secret, key.secret):
        assert secret not in shown
        assert not any(secret.encode() in content for content in files)


class TestChosen:
    """Ids and keys of the operator's choice."""

    def test_they_are_taken(self, store: Store) -> None:
        made = create_account(store, "mine", "000000000012", chosen_key("my-key_1", "s3cr"))
        assert made == NewAccount("000000000012", "my-key_1", "s3cr")
        credential = store.credential("my-key_1")
        assert credential is not None
        assert (credential.account_id, credential.secret) == ("000000000012", "s3cr")
        with pytest.raises(StoreError, match="an account 000000000012 already"):
            create_account(store, "other", "000000000012")
        with pytest.raises(StoreError, match="an access key 'my-key_1' already"):
            create_account(store, "other", None, chosen_key("my-key_1", None))
        assert len(list_accounts(store)) == 1

    @pytest.mark.parametrize("account_id", ["", "1", "0" * 12, "12345678901a", "1234567890123", "\u0661" * 12])
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_ids_have_twelve_digits(self, store: Store, account_id: str) -> None:
        with pytest.raises(StoreError, match="12 digits"):
            create_account(store, "mine", account_id)

    @pytest.mark.parametrize(("key", "secret"), [("ab", None), ("a/b", None), ("x" * 129, None), ("é" * 9, None)])
    def test_keys_are_words(self, key: str, secret: str | None) -> None:
        with pytest.raises(StoreError, match="no access key id"):
            chosen_key(key, secret)

    @pytest.mark.parametrize("secret", ["abc", "a bcd", "x" * 129, "sécret"])
    def test_secrets_are_not_repeated_in_refusals(self, secret: str) -> None:
        with pytest.raises(StoreError, match="no secret key") as caught:
            chosen_key(None, secret)
        assert secret not in str(caught.value)


def test_a_rotated_key_is_another_with_the_same_rights(store: Store, account: NewAccount) -> None:
    old = create_key(store, account.account_id, None, Role.READ_ONLY, "ann")
    new = rotate_key(store, old.access_key_id)
    assert store.credential(old.access_key_id) is None
    credential = store.credential(new.access_key_id)
    assert credential is not None
    assert (credential.role, credential.user, credential.secret) == (Role.READ_ONLY, "ann", new.secret)
    with pytest.raises(StoreError, match="no access key"):
        rotate_key(store, old.access_key_id)


def test_a_disabled_account_has_no_active_key(store: Store, account: NewAccount) -> None:
    disable_account(store, account.account_id)
    credential = store.credential(account.access_key_id)
    assert credential is not None
    assert not credential.active
    assert find_account(store, "tenant").disabled
    enable_account(store, account.account_id)
    credential = store.credential(account.access_key_id)
    assert credential is not None
    assert credential.active


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestKeyFile:
    """The file that the secrets open with."""

    def test_gone(self, config: Config, store: Store, account: NewAccount) -> None:
        config.key_file.unlink()
        with pytest.raises(StoreError, match=r"is gone; restore it"):
            Store.open(config)

    def test_another(self, config: Config, store: Store, account: NewAccount) -> None:
        config.key_file.unlink()
        secretbox.create_key(config.key_file)
        with pytest.raises(StoreError, match=r"does not open with this key file; restore the one") as caught:
            Store.open(config)
        assert "\n" not in str(caught.value)

    def test_open_to_others(self, config: Config, store: Store) -> None:
        assert config.key_file.stat().st_mode & 0o777 == 0o600
        config.key_file.chmod(0o640)
        with pytest.raises(StoreError, match="chmod 600"):
            Store.open(config)

    def test_no_key(self, config: Config, store: Store) -> None:
        config.key_file.write_text("c2hvcnQ=\n")
        with pytest.raises(StoreError, match="holds no key"):
            Store.open(config)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_temporary_keys(store: Store, account: NewAccount) -> None:
    expires = wall_clock() + timedelta(hours=1)
    ticket = sessions.Ticket(account.access_key_id, "temporary secret", expires)
    token = sessions.write(store.secrets, "ASIAEXAMPLE", ticket)
    assert "temporary secret" not in repr(ticket)
    credential = store.credential("ASIAEXAMPLE", token)
    assert credential is not None
    assert (credential.secret, credential.expires, credential.active) == ("temporary secret", expires, True)
    for key, text in (("ASIAOTHER", token), ("ASIAEXAMPLE", token[:-4] + "AAA="), ("ASIAEXAMPLE", "é"), ("A", "")):
        assert store.credential(key, text) is None
    assert store.credential("ASIAEXAMPLE") is None
    assert store.credential(account.access_key_id, token) is None
    disable_key(store, account.access_key_id)
    credential = store.credential("ASIAEXAMPLE", token)
    assert credential is not None
    assert not credential.active
    delete_key(store, account.access_key_id)
    assert store.credential("ASIAEXAMPLE", token) is None
