"""Describe actions for what this cloud does not have: the answer is well formed and empty."""

from __future__ import annotations

from typing import Any

from econe_api.call import Call, Handler
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction


def nothing(member: str, ids: str, code: str) -> Handler:
    """Make the handler that answers with an empty list, and ``code`` to whoever asks for one of the ``ids``."""

    def handler(call: Call, txn: Transaction) -> dict[str, Any]:
        """Show what this cloud has none of; an id that is named does not exist."""
        for name in call.params.get(ids) or ():
            raise Ec2Error(code, f"The ID '{name}' does not exist")
        return {member: []}

    return handler
