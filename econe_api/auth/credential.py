"""What the authentication needs to know of an access key."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key: whose it is, its secret, whether it may be used.  The secret stays out of ``repr``."""

    access_key_id: str
    account_id: str
    secret: str = field(repr=False)
    active: bool
