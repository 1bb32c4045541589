"""Accounts that follow OpenNebula's users: one for each outside the administrators' group.

An account is bound to its user by the user's id, so that it stays the same one when the user is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import exists, insert, select, update

from econe_api.opennebula import documents
from econe_api.opennebula.documents import User
from econe_api.opennebula.rpc import Client, Code, NoAnswerError, RefusedError
from econe_api.opennebula.session import Sessions
from econe_api.store.accounts import create_account, disable_account, enable_account
from econe_api.store.administration import administration
from econe_api.store.opennebula_tables import opennebula_users
from econe_api.store.schema import accounts
from econe_api.store.store import Store

_ADMINISTRATORS = 0
_FIRST_USER = 0
_SERVICES = ("server_cipher", "server_x509")


@dataclass(frozen=True, slots=True)
class MadeAccount:
    """A new account with its key pair, shown this once."""

    account_id: str
    name: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done: new accounts, and a line about each that was changed."""

    made: tuple[MadeAccount, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    account: str
    name: str
    enabled: bool


def account_id(user: int) -> str:
    """Return the account id of the user with the id ``user``: always the same."""
    return f"7{user:011d}"


def follow(store: Store, client: Client, sessions: Sessions) -> Followed:
    """Make, rename, disable and enable accounts as OpenNebula's users are.

    An account that has a user's name already becomes that user's.  One is disabled when its user is, or when oned says
    that there is no such user; that a list lacks the user is not enough.  It is enabled again with its user, so that
    what the operator has disabled meanwhile stays so.  Raises StoreError, and OneError when oned does not answer.
    """
    users = documents.users(client.document(sessions.administrator(), "one.userpool.info"))
    if all(user.id != _FIRST_USER for user in users):
        raise NoAnswerError("one.userpool.info: oned's list of users lacks its first one, so that it is not whole")
    known = _known(store)
    tenants = [user for user in users if user.group != _ADMINISTRATORS and user.driver not in _SERVICES]
    made, changes = [], []
    for user in sorted(tenants, key=lambda each: each.id):
        if user.id not in known:
            fresh = _bind(store, user)
            if fresh is not None:
                made.append(fresh)
            else:
                changes.append(f"account {user.name} is the user {user.name}'s now")
            known[user.id] = _known(store)[user.id]
        changes += _renamed(store, known[user.id], user)
        changes += _switched(store, user.id, known[user.id], user.enabled)
    listed = {user.id for user in users}
    for number in sorted(known.keys() - listed):
        if known[number].enabled and _is_absent(client, sessions, number):
            changes += _switched(store, number, known[number], enabled=False)
    return Followed(tuple(made), tuple(changes))


def _known(store: Store) -> dict[int, _Known]:
    joined = select(opennebula_users, accounts.c.name).join(accounts, accounts.c.id == opennebula_users.c.account)
    with store.read(administration("ListAccounts")) as txn:
        rows: Iterable[tuple[int, _Known]] = [
            (row.user, _Known(row.account, row.name, row.enabled)) for row in txn.connection.execute(joined)
        ]
        return dict(rows)


def _bind(store: Store, user: User) -> MadeAccount | None:
    """Give a user its account; returns it when it is a new one."""
    with store.read(administration("ListAccounts")) as txn:
        account = txn.connection.scalar(select(accounts.c.id).where(accounts.c.name == user.name))
    made = None
    if account is None:
        created = create_account(store, user.name, account_id(user.id))
        made = MadeAccount(created.account_id, user.name, created.access_key_id, created.secret)
        account = created.account_id
    with store.write(administration("FollowUser")) as txn:
        txn.connection.execute(insert(opennebula_users).values(account=account, user=user.id, enabled=True))
    return made


def _renamed(store: Store, known: _Known, user: User) -> list[str]:
    if known.name == user.name:
        return []
    with store.write(administration("RenameAccount")) as txn:
        if txn.connection.scalar(select(exists().where(accounts.c.name == user.name))):
            return [f"account {known.name} follows {user.name}, a name that another account has: rename that one"]
        txn.connection.execute(update(accounts).where(accounts.c.id == known.account).values(name=user.name))
    return [f"account {known.name} is called {user.name} now"]


def _switched(store: Store, number: int, known: _Known, enabled: bool) -> list[str]:
    if known.enabled == enabled:
        return []
    (enable_account if enabled else disable_account)(store, known.account)
    with store.write(administration("FollowUser")) as txn:
        changed = update(opennebula_users).where(opennebula_users.c.user == number)
        txn.connection.execute(changed.values(enabled=enabled))
    return [f"account {known.name} is {'enabled' if enabled else 'disabled'} now"]


def _is_absent(client: Client, sessions: Sessions, number: int) -> bool:
    try:
        client.document(sessions.administrator(), "one.user.info", number)
    except RefusedError as error:
        if error.code == Code.NO_EXISTS:
            return True
        raise
    return False
