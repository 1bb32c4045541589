"""What a signed request claims, before anybody has looked at the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from econe_api.errors import Ec2Error

WINDOW = timedelta(minutes=15)
"""How far the clocks of client and server may be apart, in both directions."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says: "I am the holder of ``access_key_id``, and here is my ``signature``."

    It holds from ``earliest`` to ``latest``.  ``token`` comes with temporary keys.  ``scope`` is the region and the
    service that version 4 signs for.  ``reusable`` marks a URL that was signed to be used until it expires.
    ``expected`` gives the signatures that the holder of a secret may have made for this request; more than one where
    the signing rules differ between clients.
    """

    access_key_id: str
    earliest: datetime
    latest: datetime
    signature: str = field(repr=False)
    expected: Callable[[str], tuple[str, ...]] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    scope: tuple[str, str] | None = None
    reusable: bool = False


def shifted(moment: datetime, by: timedelta) -> datetime:
    """Return ``moment + by``, at the ends of the calendar where that is beyond them."""
    try:
        return moment + by
    except OverflowError:
        return (datetime.max if by > timedelta(0) else datetime.min).replace(tzinfo=UTC)


def incomplete(reason: str) -> Ec2Error:
    """Return the refusal of a signature that lacks a part; ``reason`` is a sentence."""
    return Ec2Error("IncompleteSignature", reason)
