"""Access keys, as the operator makes them, disables them and takes them away."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update

from econe_api.call import Role
from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.schema import access_keys, accounts
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

_KEY_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+/"
_key_id = re.compile(r"[A-Za-z0-9_-]{3,128}")
_secret = re.compile(r"[!-~]{4,128}")
_user = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key pair."""

    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair without its secret; ``created`` is in UTC, ``user`` is None when it is the account's own."""

    access_key_id: str
    account_id: str
    active: bool
    created: datetime
    role: Role
    user: str | None


def random_key(prefix: str = "AKIA") -> NewKey:
    """Return a key pair that nobody can guess, in Amazon's form."""
    return NewKey(
        access_key_id=prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16)),
        secret="".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40)),
    )


def chosen_key(access_key_id: str | None, secret: str | None) -> NewKey:
    """Return a key pair of the operator's choice, what he leaves open at random.  Raises :class:`StoreError`."""
    fresh = random_key()
    key = NewKey(
        fresh.access_key_id if access_key_id is None else access_key_id, fresh.secret if secret is None else secret
    )
    if not _key_id.fullmatch(key.access_key_id):
        raise StoreError(f"{key.access_key_id!r} is no access key id; write 3 to 128 letters, digits, _ and -")
    if not _secret.fullmatch(key.secret):
        raise StoreError("that is no secret key; write 4 to 128 characters of ASCII without blanks")
    return key


def add_key(txn: Transaction, account: str, key: NewKey, role: Role = Role.ADMIN, user: str | None = None) -> None:
    """Write a key pair of ``account``; :class:`StoreError` when its id is taken."""
    if txn.connection.scalar(select(exists().where(access_keys.c.id == key.access_key_id))):
        raise StoreError(f"there is an access key {key.access_key_id!r} already; see 'sluice key list'")
    txn.connection.execute(
        insert(access_keys).values(
            id=key.access_key_id,
            account=account,
            secret=txn.secrets.seal(key.access_key_id, key.secret),
            active=True,
            created=txn.now,
            role=role.value,
            user=user,
        )
    )


def create_key(
    store: Store, account_id: str, key: NewKey | None = None, role: Role = Role.ADMIN, user: str | None = None
) -> NewKey:
    """Give the account one more key pair, a random one where ``key`` is None.

    Raises :class:`StoreError` when there is no such account, the id is taken or the user's name is none.
    """
    if user is not None and not _user.fullmatch(user):
        raise StoreError(f"{user!r} is no user name; write 1 to 64 letters, digits and any of +=,.@_-")
    made = random_key() if key is None else key
    with store.write(administration("CreateAccessKey")) as txn:
        if not txn.connection.scalar(select(exists().where(accounts.c.id == account_id))):
            raise StoreError(f"there is no account {account_id!r}; see 'sluice account list'")
        add_key(txn, account_id, made, role, user)
    return made


def rotate_key(store: Store, access_key_id: str) -> NewKey:
    """Put a new key pair, of the same account, role and user, in the place of a key that is refused from now on."""
    made = random_key()
    with store.write(administration("RotateAccessKey")) as txn:
        row = txn.connection.execute(select(access_keys).where(access_keys.c.id == access_key_id)).one_or_none()
        if row is None:
            raise no_key(access_key_id)
        txn.connection.execute(delete(access_keys).where(access_keys.c.id == access_key_id))
        add_key(txn, row.account, made, Role(row.role), row.user)
    return made


def enable_key(store: Store, access_key_id: str) -> None:
    """Let the key be used again; :class:`StoreError` when there is no such key."""
    _change(store, access_key_id, "EnableAccessKey", {"active": True})


def disable_key(store: Store, access_key_id: str) -> None:
    """Refuse the key from the next call on; :class:`StoreError` when there is no such key."""
    _change(store, access_key_id, "DisableAccessKey", {"active": False})


def delete_key(store: Store, access_key_id: str) -> None:
    """Forget the key for good; :class:`StoreError` when there is no such key."""
    with store.write(administration("DeleteAccessKey")) as txn:
        gone = txn.connection.execute(delete(access_keys).where(access_keys.c.id == access_key_id))
        if gone.rowcount == 0:
            raise no_key(access_key_id)


def no_key(access_key_id: str) -> StoreError:
    """Return the refusal of a key that is not there."""
    return StoreError(f"there is no access key {access_key_id!r}; see 'sluice key list'")


def _change(store: Store, access_key_id: str, action: str, values: dict[str, Any]) -> None:
    with store.write(administration(action)) as txn:
        changed = txn.connection.execute(update(access_keys).where(access_keys.c.id == access_key_id).values(values))
        if changed.rowcount == 0:
            raise no_key(access_key_id)
