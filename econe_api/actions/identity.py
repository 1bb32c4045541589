"""Who am I: the few actions of STS and IAM that EC2's clients call at EC2's address.

A key that is an account's own speaks for its root; one that a user has, for that user.  What an admin may do beyond a
user is to see who else has keys of the account.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row, func, select

from econe_api.call import Action, Call, Role
from econe_api.errors import Ec2Error
from econe_api.store import sessions
from econe_api.store.keys import random_key
from econe_api.store.schema import access_keys, accounts
from econe_api.store.transaction import Transaction

_alias = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_SESSION = 43200
_ROOT_SESSION = 3600
_PAGE = 100
_DIGITS = 9


def get_caller_identity(call: Call, txn: Transaction) -> dict[str, Any]:
    """Tell the account and the name of who signed."""
    caller = call.caller
    return {"UserId": _user_id(txn.account, caller.user), "Account": txn.account, "Arn": caller.arn}


def get_session_token(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a temporary key with the rights of the key that signed; the account's own for an hour at most."""
    caller, params = call.caller, call.params
    if caller.temporary:
        raise Ec2Error("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
    if params.get("SerialNumber") or params.get("TokenCode"):
        raise Ec2Error("AccessDenied", "MultiFactorAuthentication failed: there is no MFA device.", 403)
    seconds = params.get("DurationSeconds", _SESSION)
    expires = txn.now + timedelta(seconds=seconds if caller.user else min(seconds, _ROOT_SESSION))
    key = random_key("ASIA")
    ticket = sessions.Ticket(caller.access_key_id, key.secret, expires)
    return {
        "Credentials": {
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret,
            "SessionToken": sessions.write(txn.secrets, key.access_key_id, ticket),
            "Expiration": expires,
        }
    }


def assume_role(call: Call, _txn: Transaction) -> dict[str, Any]:
    """Refuse: there are no roles to assume."""
    what = f"sts:AssumeRole on resource: {call.params['RoleArn']}"
    raise Ec2Error("AccessDenied", f"User: {call.caller.arn} is not authorized to perform: {what}", 403)


def list_account_aliases(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give the account's name where it could be an alias."""
    name = txn.connection.scalar(select(accounts.c.name).where(accounts.c.id == txn.account)) or ""
    return _page(call, "AccountAliases", [name] if _alias.fullmatch(name) else [])


def get_user(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the user that has the key, the account itself where none has, or for an admin any user of the account."""
    name = call.params.get("UserName", call.caller.user)
    if name is None:
        row = txn.connection.execute(select(accounts).where(accounts.c.id == txn.account)).one()
        root = {"UserName": row.name, "UserId": row.id, "Arn": f"arn:aws:iam::{row.id}:root"}
        return {"User": {"Path": "/", **root, "CreateDate": row.created}}
    _see(call, "GetUser", name)
    for user in _users(txn):
        if user["UserName"] == name:
            return {"User": user}
    raise _no_user(name)


def list_users(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the users of the account, to admins."""
    _see(call, "ListUsers", None)
    everybody = "/".startswith(call.params.get("PathPrefix", "/"))  # whose path is "/", each
    return _page(call, "Users", _users(txn) if everybody else [])


def list_access_keys(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the keys of the user that calls, or for an admin of any user; never their secrets."""
    name = call.params.get("UserName", call.caller.user)
    if name is not None:
        _see(call, "ListAccessKeys", name)
    mine = (
        access_keys.c.account == txn.account,
        access_keys.c.user.is_(None) if name is None else access_keys.c.user == name,
    )
    rows = txn.connection.execute(select(access_keys).where(*mine).order_by(access_keys.c.created, access_keys.c.id))
    keys = [_key(row) for row in rows]
    if name is not None and not keys:
        raise _no_user(name)
    return _page(call, "AccessKeyMetadata", keys)


def _page(call: Call, member: str, items: Sequence[Any]) -> dict[str, Any]:
    """Return as many of ``items`` as are asked for, from the marker on, which is a position."""
    marker, most = call.params.get("Marker", "0"), call.params.get("MaxItems", _PAGE)
    if not (marker.isascii() and marker.isdigit() and len(marker) < _DIGITS):
        raise Ec2Error("ValidationError", "The marker is not one that was given out.")
    end = int(marker) + most
    more = end < len(items)
    return {member: items[int(marker) : end], "IsTruncated": more} | ({"Marker": str(end)} if more else {})


def _key(row: Row[Any]) -> dict[str, Any]:
    status = "Active" if row.active else "Inactive"
    shown = {"UserName": row.user, "AccessKeyId": row.id, "Status": status, "CreateDate": row.created}
    return {name: value for name, value in shown.items() if value is not None}


def _see(call: Call, action: str, name: str | None) -> None:
    """Refuse to show another user than the one who calls, unless an admin asks."""
    caller = call.caller
    if caller.role is not Role.ADMIN and (name is None or name != caller.user):
        resource = f"arn:aws:iam::{caller.account_id}:user/{name or ''}"
        words = f"User: {caller.arn} is not authorized to perform: iam:{action} on resource: {resource}"
        raise Ec2Error("AccessDenied", words, 403)


def _users(txn: Transaction) -> list[dict[str, Any]]:
    query = (
        select(access_keys.c.user, func.min(access_keys.c.created).label("created"))
        .where(access_keys.c.account == txn.account, access_keys.c.user.is_not(None))
        .group_by(access_keys.c.user)
        .order_by(access_keys.c.user)
    )
    return [_user(txn.account, row.user, row.created) for row in txn.connection.execute(query)]


def _user(account: str, name: str, created: datetime) -> dict[str, Any]:
    arn = f"arn:aws:iam::{account}:user/{name}"
    return {"Path": "/", "UserName": name, "UserId": _user_id(account, name), "Arn": arn, "CreateDate": created}


def _user_id(account: str, user: str | None) -> str:
    if user is None:
        return account
    digest = hashlib.sha256(f"{account}/{user}".encode()).digest()
    return "AIDA" + base64.b32encode(digest).decode()[:17]


def _no_user(name: str) -> Ec2Error:
    return Ec2Error("NoSuchEntity", f"The user with name {name} cannot be found.", 404)


def _reads(handler: Any) -> Action:
    return Action(handler, mutates=False)


#: The actions by service and name.
IDENTITY: Mapping[str, Mapping[str, Action]] = MappingProxyType(
    {
        "sts": {
            "AssumeRole": _reads(assume_role),
            "GetCallerIdentity": _reads(get_caller_identity),
            "GetSessionToken": _reads(get_session_token),
        },
        "iam": {
            "GetUser": _reads(get_user),
            "ListAccessKeys": _reads(list_access_keys),
            "ListAccountAliases": _reads(list_account_aliases),
            "ListUsers": _reads(list_users),
        },
    }
)
