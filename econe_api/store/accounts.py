"""Accounts, as the operator makes them, with the network that each begins with."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import exists, insert, select, update

from econe_api.call import Role
from econe_api.store.administration import OPERATOR, administration
from econe_api.store.errors import StoreError
from econe_api.store.keys import AccessKey, NewKey, add_key, random_key
from econe_api.store.schema import access_keys, accounts
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction
from econe_api.store.vpc_rows import add_default_vpc

_LONGEST_NAME = 255
_account_id = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as it was made: the only time, with :class:`econe_api.store.keys.NewKey`, that a secret is shown."""

    account_id: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its keys, oldest first; ``created`` is in UTC."""

    account_id: str
    name: str
    created: datetime
    disabled: bool
    keys: tuple[AccessKey, ...]


def create_account(store: Store, name: str, account_id: str | None = None, key: NewKey | None = None) -> NewAccount:
    """Make an account with a key pair, a default VPC with one subnet per zone, and its default security group.

    Id and key pair are random where they are None.  Raises :class:`StoreError` when the name, the id or the key is
    taken or none that there can be, and when there is no VLAN left for the VPC.
    """
    made = random_key() if key is None else key
    if account_id is not None and (not _account_id.fullmatch(account_id) or account_id == OPERATOR.account_id):
        raise StoreError(f"{account_id!r} is no account id; write 12 digits, not all of them 0")
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise StoreError(f"{name!r} is no account name; write 1 to {_LONGEST_NAME} printable characters")
    with store.write(administration("CreateAccount")) as txn:
        if txn.connection.scalar(select(exists().where(accounts.c.name == name))):
            raise StoreError(f"there is an account named {name!r} already; see 'sluice account list'")
        account = _new_account_id(txn) if account_id is None else account_id
        if txn.connection.scalar(select(exists().where(accounts.c.id == account))):
            raise StoreError(f"there is an account {account} already; see 'sluice account list'")
        txn.connection.execute(insert(accounts).values(id=account, name=name, created=txn.now))
        add_default_vpc(txn, account)
        add_key(txn, account, made)
    return NewAccount(account_id=account, access_key_id=made.access_key_id, secret=made.secret)


def enable_account(store: Store, account_id: str) -> None:
    """Take the account's keys again; :class:`StoreError` when there is no such account."""
    _set_disabled(store, account_id, "EnableAccount", {"disabled": False})


def disable_account(store: Store, account_id: str) -> None:
    """Refuse all the account's keys from the next call on; what it has stays as it is."""
    _set_disabled(store, account_id, "DisableAccount", {"disabled": True})


def _set_disabled(store: Store, account_id: str, action: str, values: dict[str, bool]) -> None:
    with store.write(administration(action)) as txn:
        changed = txn.connection.execute(update(accounts).where(accounts.c.id == account_id).values(values))
        if changed.rowcount == 0:
            raise StoreError(f"there is no account {account_id!r}; see 'sluice account list'")


def list_accounts(store: Store) -> tuple[Account, ...]:
    """Return all accounts with their keys, by name."""
    with store.read(administration("ListAccounts")) as txn:
        keys: dict[str, list[AccessKey]] = {}
        order = (access_keys.c.created, access_keys.c.id)
        for row in txn.connection.execute(select(access_keys).order_by(*order)):
            key = AccessKey(row.id, row.account, row.active, row.created, Role(row.role), row.user)
            keys.setdefault(row.account, []).append(key)
        return tuple(
            Account(row.id, row.name, row.created, row.disabled, tuple(keys.get(row.id, ())))
            for row in txn.connection.execute(select(accounts).order_by(accounts.c.name))
        )


def find_account(store: Store, account: str) -> Account:
    """Return the account with that id or, failing that, that name; :class:`StoreError` when there is none."""
    known = list_accounts(store)
    for candidate in (*(a for a in known if a.account_id == account), *(a for a in known if a.name == account)):
        return candidate
    raise StoreError(f"there is no account {account!r}; see 'sluice account list'")


def _new_account_id(txn: Transaction) -> str:
    while True:
        candidate = f"{secrets.randbelow(10**12):012}"
        taken = txn.connection.scalar(select(exists().where(accounts.c.id == candidate)))
        if candidate != OPERATOR.account_id and not taken:
            return candidate
