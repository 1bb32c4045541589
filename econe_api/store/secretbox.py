"""Secrets of access keys at rest: AES-256-GCM under a key that lives in a file beside the database, never in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from econe_api.store.errors import StoreError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class SecretBox:
    """Seals and opens secrets.  A sealed secret opens only under the name it was sealed for."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    def derive(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for another ``purpose``; it tells nothing about this one's or others'."""
        return hmac.new(self._key, f"sluice {purpose}".encode(), hashlib.sha256).digest()

    def seal(self, name: str, secret: str) -> bytes:
        """Return nonce and ciphertext of ``secret``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), name.encode())

    def open(self, name: str, sealed: bytes) -> str:
        """Return the secret; StoreError when it was sealed with another key or for another name."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise StoreError(
                f"the secret of {name} does not open with this key file; restore the one that belongs to the database"
            ) from error


def create_key(path: Path) -> None:
    """Write a new random key to ``path``, readable by its owner only; leave it alone when it is there already.

    The file appears whole or not at all, so that two processes that start at once end with the same key.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def load_key(path: Path) -> SecretBox:
    """Read the key at ``path``; StoreError when others could read it too or when it is no key."""
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise StoreError(f"key file {path} is open to others than its owner; run chmod 600 {path}")
        content = file.read()
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StoreError(f"key file {path} holds no key; restore the one that belongs to the database")
    return SecretBox(key)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
