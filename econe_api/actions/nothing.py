"""Describe actions for what this cloud does not have: the answer is well formed and empty."""

from __future__ import annotations

from typing import Any

from econe_api.call import Call, Handler
from econe_api.store.transaction import Transaction

NOTE = "Show what this cloud has none of: the answer is always empty."


def nothing(*members: str) -> Handler:
    """Make the handler that answers with empty lists."""

    def handler(call: Call, txn: Transaction) -> dict[str, Any]:
        return {member: [] for member in members}

    handler.__doc__ = NOTE
    return handler
