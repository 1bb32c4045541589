"""Temporary keys, as STS gives them out: nothing is stored, the session token is the sealed record.

The token opens under the temporary key's id alone and holds its secret, the end of its time and the id of the key that
asked for it.  That key is looked up with every call, so that disabling or deleting it ends its temporary keys at once.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from econe_api.store.errors import StoreError
from econe_api.store.secretbox import SecretBox

_LONGEST = 2048
_NAME = "session "


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a session token holds; ``parent`` is the id of the key that asked for it."""

    parent: str
    secret: str = field(repr=False)
    expires: datetime


def write(box: SecretBox, access_key_id: str, ticket: Ticket) -> str:
    """Return the session token of the temporary key ``access_key_id``."""
    content = json.dumps([ticket.parent, ticket.secret, int(ticket.expires.timestamp())])
    return base64.b64encode(box.seal(_NAME + access_key_id, content)).decode()


def read(box: SecretBox, access_key_id: str, token: str) -> Ticket | None:
    """Return what ``token`` holds, None when it is no token of ours for that key."""
    if not token.isascii() or len(token) > _LONGEST:
        return None
    try:
        parent, secret, expires = json.loads(box.open(_NAME + access_key_id, base64.b64decode(token, validate=True)))
    except (StoreError, binascii.Error):
        return None
    return Ticket(parent, secret, datetime.fromtimestamp(expires, UTC))
