"""Who a call to oned is made by: a user with a password, or a service account in the name of another user.

A service account has the authentication driver ``server_cipher``; its session is ``service:user:token``, the token
being ``BASE64(AES-256-CBC("service:user:expiry"))``.  oned then treats the call as the user's, with the user's
permissions and quotas.
Key and IV are the first 32 and the first 16 characters of the SHA-256 of the account's secret, in hexadecimal digits
(``server_cipher_auth.rb`` of OpenNebula).
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from econe_api.config_table import ConfigError

_LIFETIME = 1800
_BLOCK_BITS = 128


class Sessions(Protocol):
    """Gives sessions to make calls with."""

    def administrator(self) -> str:
        """Return a session that sees and manages everything."""

    def user(self, name: str) -> str:
        """Return a session of the user ``name``."""


def digest(secret: str) -> str:
    """Return what oned keeps of a service account's secret, and what its tokens are encrypted with."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token(service: str, digits: str, user: str, expiry: int) -> str:
    """Return the token by which ``service`` speaks for ``user`` until ``expiry`` (seconds since the epoch).

    ``digits`` is the :func:`digest` of its secret.
    """
    padder = PKCS7(_BLOCK_BITS).padder()
    plain = padder.update(f"{service}:{user}:{expiry}".encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(digits[:32].encode()), modes.CBC(digits[:16].encode())).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


@dataclass(frozen=True, slots=True)
class ServerCipher:
    """Sessions of the service account ``service``, which is one of oned's administrators.

    ``administrator_name`` is the user that administrative calls are made as; ``clock`` gives seconds since the epoch.
    """

    service: str
    secret: str = field(repr=False)
    administrator_name: str = "oneadmin"
    clock: Callable[[], float] = time.time

    def administrator(self) -> str:
        """Return a session of the administrator."""
        return self.user(self.administrator_name)

    def user(self, name: str) -> str:
        """Return a session of the user ``name`` that lasts half an hour."""
        expiry = int(self.clock()) + _LIFETIME
        return f"{self.service}:{name}:{token(self.service, digest(self.secret), name, expiry)}"


def service_account(file: Path, administrator: str) -> ServerCipher:
    """Return the sessions of the account whose ``name:secret`` is in ``file``; ConfigError when it is not there."""
    key = "opennebula.secret_file"
    try:
        name, colon, secret = file.read_text(encoding="utf-8").strip().partition(":")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise ConfigError(f"{key}: {file}: {why}; write the service account's name:secret there", key) from error
    if not (name and colon and secret) or "\n" in secret:
        raise ConfigError(f"{key}: {file} has no name:secret on one line; write the service account's there", key)
    return ServerCipher(name, secret, administrator)
