"""What a signed request claims, before anybody has looked at the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from econe_api.errors import Ec2Error


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says: "I am the holder of ``access_key_id``, I signed at ``signed_at``, here is my ``signature``."

    Exactly one of ``signed_at`` and ``expires_at`` is set.  ``expected`` gives the signatures that the holder of a
    secret may have made for this request; more than one where the signing rules differ between clients.
    """

    access_key_id: str
    signed_at: datetime | None
    expires_at: datetime | None
    signature: str = field(repr=False)
    expected: Callable[[str], tuple[str, ...]] = field(repr=False)


def incomplete(reason: str) -> Ec2Error:
    """Return the refusal of a signature that lacks a part; ``reason`` is a sentence."""
    return Ec2Error("IncompleteSignature", reason)
