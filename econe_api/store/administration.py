"""Who acts when the operator does: administrative commands go through the same transactions as API calls."""

from __future__ import annotations

import uuid

from econe_api.call import Call, Caller

OPERATOR = Caller(account_id="000000000000", access_key_id="operator")
"""Stands in the audit for the command line; no account ever gets this id."""


def administration(action: str) -> Call:
    """Return the call that stands for the operator doing ``action``."""
    return Call(action=action, params={}, caller=OPERATOR, request_id=str(uuid.uuid4()))
