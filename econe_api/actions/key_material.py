"""Keys as text, and their fingerprints as EC2 shows them.  Pure, but for the randomness of a new key.

Fingerprints ("Verify the fingerprint of your key pair" in the EC2 user guide): SHA-1 of the PKCS #8 private key for an
RSA key that the cloud made, MD5 of the DER public key for one that was imported, SHA-256 of the OpenSSH key for an
ED25519 key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
)

_RSA_BITS = 2048
_RSA_SIZES = (1024, 2048, 4096)
_EXPONENT = 65537
_SSH2 = re.compile(r"---- BEGIN SSH2 PUBLIC KEY ----\s*\n(.*?)---- END SSH2 PUBLIC KEY ----", re.DOTALL)

PublicKey = RSAPublicKey | Ed25519PublicKey


class KeyFormatError(Exception):
    """A text is no public key of a kind that can be used."""


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key's ``type`` ("rsa", "ed25519"), its public half in OpenSSH's format, its fingerprint."""

    type: str
    public_key: str
    fingerprint: str


def create(kind: str, comment: str) -> tuple[KeyText, str]:
    """Make a key of ``kind`` "rsa" or "ed25519"; gives it and its private half (PEM)."""
    if kind == "rsa":
        rsa = generate_private_key(_EXPONENT, _RSA_BITS)
        der = rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        print_ = _colons(hashlib.sha1(der, usedforsecurity=False).digest())
        return KeyText(kind, _openssh(rsa.public_key(), comment), print_), _pem(rsa, PrivateFormat.TraditionalOpenSSL)
    ed25519 = Ed25519PrivateKey.generate()
    public = ed25519.public_key()
    return KeyText(kind, _openssh(public, comment), _fingerprint(public)), _pem(ed25519, PrivateFormat.OpenSSH)


def read(material: bytes, comment: str) -> KeyText:
    """Read a public key: a line of OpenSSH, PEM, RFC 4716, or the base64 of DER.

    Raises:
        KeyFormatError: it is none of them, or no RSA key of 1024, 2048 or 4096 bits and no ED25519 key.

    """
    key = _load(material)
    if isinstance(key, RSAPublicKey):
        if key.key_size not in _RSA_SIZES:
            raise KeyFormatError(f"an RSA key of {key.key_size} bits")
        return KeyText("rsa", _openssh(key, comment), _fingerprint(key))
    return KeyText("ed25519", _openssh(key, comment), _fingerprint(key))


def _load(material: bytes) -> PublicKey:
    text = material.decode("ascii", errors="replace").strip()
    ssh2 = _SSH2.search(text + "\n")
    try:
        if ssh2 is not None:
            lines = [line for line in ssh2[1].splitlines() if ":" not in line]
            blob = base64.b64decode("".join(lines), validate=True)
            length = int.from_bytes(blob[:4], "big")
            name = blob[4 : 4 + length].decode("ascii")
            key: object = load_ssh_public_key(f"{name} {base64.b64encode(blob).decode()}".encode())
        elif text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
        elif text.startswith(("ssh-", "ecdsa-", "sk-")):
            key = load_ssh_public_key(text.splitlines()[0].encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise KeyFormatError(str(error)) from error
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        raise KeyFormatError(f"a key of the kind {type(key).__name__}")
    return key


def _openssh(key: PublicKey, comment: str) -> str:
    return f"{key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} {comment}"


def _fingerprint(key: PublicKey) -> str:
    if isinstance(key, RSAPublicKey):
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _colons(hashlib.md5(der, usedforsecurity=False).digest())
    blob = base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    return base64.b64encode(hashlib.sha256(blob).digest()).decode()


def _colons(digest: bytes) -> str:
    return digest.hex(":")


def _pem(key: RSAPrivateKey | Ed25519PrivateKey, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
