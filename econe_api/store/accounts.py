"""Accounts and their access keys, as the operator makes them."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, exists, insert, select, update

from econe_api.store.administration import OPERATOR, administration
from econe_api.store.errors import StoreError
from econe_api.store.schema import access_keys, accounts
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction
from econe_api.store.vpc_rows import add_default_vpc

_KEY_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+/"
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as it was made: the only time, with :class:`NewKey`, that a secret is shown."""

    account_id: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key pair."""

    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair without its secret; ``created`` is in UTC."""

    access_key_id: str
    account_id: str
    active: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its keys, oldest first; ``created`` is in UTC."""

    account_id: str
    name: str
    created: datetime
    keys: tuple[AccessKey, ...]


def create_account(store: Store, name: str) -> NewAccount:
    """Make an account with a key pair, a default VPC with one subnet per zone, and its default security group.

    Raises :class:`StoreError` when the name is taken or no name, and when there is no VLAN left for the VPC.
    """
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise StoreError(f"{name!r} is no account name; write 1 to {_LONGEST_NAME} printable characters")
    with store.write(administration("CreateAccount")) as txn:
        if txn.connection.scalar(select(exists().where(accounts.c.name == name))):
            raise StoreError(f"there is an account named {name!r} already; see 'sluice account list'")
        account = _new_account_id(txn)
        txn.connection.execute(insert(accounts).values(id=account, name=name, created=txn.now))
        add_default_vpc(txn, account)
        key = _add_key(txn, store, account)
    return NewAccount(account_id=account, access_key_id=key.access_key_id, secret=key.secret)


def list_accounts(store: Store) -> tuple[Account, ...]:
    """Return all accounts with their keys, by name."""
    with store.read(administration("ListAccounts")) as txn:
        keys: dict[str, list[AccessKey]] = {}
        order = (access_keys.c.created, access_keys.c.id)
        for row in txn.connection.execute(select(access_keys).order_by(*order)):
            keys.setdefault(row.account, []).append(AccessKey(row.id, row.account, row.active, row.created))
        return tuple(
            Account(row.id, row.name, row.created, tuple(keys.get(row.id, ())))
            for row in txn.connection.execute(select(accounts).order_by(accounts.c.name))
        )


def find_account(store: Store, account: str) -> Account:
    """Return the account with that id or, failing that, that name; :class:`StoreError` when there is none."""
    known = list_accounts(store)
    for candidate in (*(a for a in known if a.account_id == account), *(a for a in known if a.name == account)):
        return candidate
    raise StoreError(f"there is no account {account!r}; see 'sluice account list'")


def create_key(store: Store, account_id: str) -> NewKey:
    """Give the account one more key pair; :class:`StoreError` when there is no such account."""
    with store.write(administration("CreateAccessKey")) as txn:
        if not txn.connection.scalar(select(exists().where(accounts.c.id == account_id))):
            raise StoreError(f"there is no account {account_id!r}; see 'sluice account list'")
        return _add_key(txn, store, account_id)


def enable_key(store: Store, access_key_id: str) -> None:
    """Let the key be used again; :class:`StoreError` when there is no such key."""
    _set_active(store, access_key_id, "EnableAccessKey", {"active": True})


def disable_key(store: Store, access_key_id: str) -> None:
    """Refuse the key from the next call on; :class:`StoreError` when there is no such key."""
    _set_active(store, access_key_id, "DisableAccessKey", {"active": False})


def delete_key(store: Store, access_key_id: str) -> None:
    """Forget the key for good; :class:`StoreError` when there is no such key."""
    with store.write(administration("DeleteAccessKey")) as txn:
        gone = txn.connection.execute(delete(access_keys).where(access_keys.c.id == access_key_id))
        if gone.rowcount == 0:
            raise _no_key(access_key_id)


def _set_active(store: Store, access_key_id: str, action: str, values: dict[str, bool]) -> None:
    with store.write(administration(action)) as txn:
        changed = txn.connection.execute(update(access_keys).where(access_keys.c.id == access_key_id).values(values))
        if changed.rowcount == 0:
            raise _no_key(access_key_id)


def _no_key(access_key_id: str) -> StoreError:
    return StoreError(f"there is no access key {access_key_id!r}; see 'sluice key list'")


def _new_account_id(txn: Transaction) -> str:
    while True:
        candidate = f"{secrets.randbelow(10**12):012}"
        taken = txn.connection.scalar(select(exists().where(accounts.c.id == candidate)))
        if candidate != OPERATOR.account_id and not taken:
            return candidate


def _add_key(txn: Transaction, store: Store, account: str) -> NewKey:
    key = NewKey(
        access_key_id="AKIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16)),
        secret="".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40)),
    )
    sealed = store.secrets.seal(key.access_key_id, key.secret)
    txn.connection.execute(
        insert(access_keys).values(id=key.access_key_id, account=account, secret=sealed, active=True, created=txn.now)
    )
    return key
