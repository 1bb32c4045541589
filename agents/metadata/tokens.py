"""Session tokens of IMDSv2: a time and a seal that binds it to one instance.  None is stored, so none can pile up."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

LONGEST_LIFE = 21600
"""Seconds that a token may live ("PUT /latest/api/token", Amazon EC2 User Guide); the shortest is 1."""
#: Bytes of the time and of the seal: a multiple of three together, so that base64 has one spelling for them.
_UNTIL = 7
_SEAL = 32


class Tokens:
    """Makes and checks tokens with a secret ``key`` that ends with the process."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, instance: str, life: int, now: float) -> str:
        """A token for ``instance`` that lives ``life`` seconds from ``now``, on any clock as long as it is the same."""
        until = int((now + life) * 1000).to_bytes(_UNTIL, "big")
        return base64.urlsafe_b64encode(until + self._seal(instance, until)).decode()

    def good(self, token: str, instance: str, now: float) -> bool:
        """Is it a token of ours, for this instance, that still lives?"""
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return False
        if base64.urlsafe_b64encode(raw).decode() != token:  # the decoder also takes "+" and "/" for "-" and "_"
            return False
        until, seal = raw[:_UNTIL], raw[_UNTIL:]
        if len(seal) != _SEAL or not hmac.compare_digest(seal, self._seal(instance, until)):
            return False
        return now * 1000 < int.from_bytes(until, "big")

    def _seal(self, instance: str, until: bytes) -> bytes:
        return hmac.new(self._key, until + instance.encode(), hashlib.sha256).digest()
