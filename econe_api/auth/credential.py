"""What the authentication needs to know of an access key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from econe_api.call import Role


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key: whose it is, its secret, whether it may be used.  The secret stays out of ``repr``.

    ``user`` names the account's user that has the key, None the account itself.  A temporary key has an ``expires``.
    """

    access_key_id: str
    account_id: str
    secret: str = field(repr=False)
    active: bool
    role: Role = Role.ADMIN
    user: str | None = None
    expires: datetime | None = None
