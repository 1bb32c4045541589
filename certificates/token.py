"""Join tokens: what a host needs to get its certificate, as one word that survives copying.

``sluice-join-`` and base64url without padding of: SHA-256 of the authority's certificate (32 bytes), the secret (16
bytes), the host's name, and the first 4 bytes of SHA-256 of all that, so that half a word is told from a whole one.
Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from certificates.authority import CertificateError, checked_name

PREFIX = "sluice-join-"
SECRET_BYTES = 16
_FINGERPRINT = 32
_CHECK = 4


class TokenError(Exception):
    """The word is no join token; the text is one line with the mend."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """For which host, by which authority (its fingerprint, 32 bytes), and the secret (16 bytes)."""

    host: str
    fingerprint: bytes
    secret: bytes

    @property
    def digest(self) -> str:
        """What the other side keeps of it: SHA-256 of secret and name, hexadecimal."""
        return digest(self.secret, self.host)


def digest(secret: bytes, host: str) -> str:
    """Return what is kept of a secret for a host."""
    return hashlib.sha256(b"sluice join\0" + secret + host.encode()).hexdigest()


def write(token: JoinToken) -> str:
    """Return the word for a token."""
    content = token.fingerprint + token.secret + token.host.encode()
    return PREFIX + base64.urlsafe_b64encode(content + _sum(content)).rstrip(b"=").decode()


def read(word: str) -> JoinToken:
    """Return the token that a word stands for; raises :class:`TokenError`."""
    text = word.strip()
    mend = "copy the whole word that 'sluice host add' has printed"
    if not text.startswith(PREFIX):
        raise TokenError(f"this is no join token; {mend}")
    body = text.removeprefix(PREFIX)
    try:
        content = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenError(f"the join token has characters that none has; {mend}") from None
    content, check = content[:-_CHECK], content[-_CHECK:]
    if len(content) <= _FINGERPRINT + SECRET_BYTES or check != _sum(content):
        raise TokenError(f"the join token is not whole; {mend}")
    try:
        host = checked_name(content[_FINGERPRINT + SECRET_BYTES :].decode())
    except (UnicodeDecodeError, CertificateError):
        raise TokenError(f"the join token names no host; {mend}") from None
    token = JoinToken(host, content[:_FINGERPRINT], content[_FINGERPRINT : _FINGERPRINT + SECRET_BYTES])
    if write(token) != text:  # base64 leaves bits over, which another word could have otherwise
        raise TokenError(f"the join token is not whole; {mend}")
    return token


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECK]
