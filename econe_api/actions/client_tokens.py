"""ClientTokens of calls that make one resource: the same call again answers with the resource of the first."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from sqlalchemy import delete, insert, select

from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.schema import client_tokens
from econe_api.store.transaction import Transaction

#: How long a token is remembered; EC2 promises a day.
LIFE = timedelta(hours=48)
_LONGEST = 64


def earlier(call: Call, txn: Transaction) -> str | None:
    """What the first call with this token made; None when it is the first, or has no token.

    Raises:
        Ec2Error: InvalidParameterValue, IdempotentParameterMismatch.

    """
    token = call.params.get("ClientToken")
    if not token:
        return None
    if len(token) > _LONGEST or not token.isascii():
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({token}) for parameter clientToken is invalid. Up to {_LONGEST} ASCII characters are valid",
        )
    txn.connection.execute(delete(client_tokens).where(client_tokens.c.created < txn.now - LIFE))
    mine = select(client_tokens).where(client_tokens.c.account == txn.account, client_tokens.c.token == token)
    row = txn.connection.execute(mine).first()
    if row is None:
        return None
    if row.fingerprint != _fingerprint(call):
        raise Ec2Error(
            "IdempotentParameterMismatch",
            "The client token you have provided is associated with a resource that has different parameters.",
        )
    return str(row.result)


def remember(call: Call, txn: Transaction, resource: str) -> None:
    """Note what a call has made, if it has a token."""
    token = call.params.get("ClientToken")
    if token:
        row = {"account": txn.account, "token": token, "fingerprint": _fingerprint(call), "result": resource}
        txn.connection.execute(insert(client_tokens).values(**row, created=txn.now))


def _fingerprint(call: Call) -> str:
    asked = {name: value for name, value in call.params.items() if name not in {"ClientToken", "DryRun"}}
    return hashlib.sha256(json.dumps([call.action, asked], sort_keys=True, default=str).encode()).hexdigest()
