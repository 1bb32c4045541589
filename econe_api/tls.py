"""TLS for the API: the operator's certificate, or one that the API makes for itself, for trials.

Version 1.2 is the oldest that is spoken, as Python's own defaults want it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from econe_api.config import Config

LIFETIME = timedelta(days=397)
"""How long a certificate of our own is good for: what clients take at most."""
_SPARE = timedelta(days=30)
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104


class TlsError(Exception):
    """TLS cannot be had; the text is one line with cause and mend."""


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return what a server needs to speak TLS.  Raises :class:`TlsError`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for file in (self.certificate, self.key):
            try:
                file.open("rb").close()
            except OSError as error:
                raise TlsError(f"{file}: cannot be read ({error.strerror}); mend the file or its rights") from error
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(
                f"{self.certificate} and {self.key} are no certificate and its key ({_reason(error)}); "
                "write PEM, the key without a password"
            ) from error
        return context

    def fingerprint(self) -> str:
        """Return the SHA-256 fingerprint of the certificate, as openssl shows it."""
        der = ssl.PEM_cert_to_DER_cert(_first(self.certificate.read_text(encoding="ascii", errors="replace")))
        return hashlib.sha256(der).digest().hex(":").upper()


def identity(config: Config, host: str) -> Identity | None:
    """Return the certificate of an API that listens at ``host``, None when it speaks plain HTTP.

    A self-made one is kept in the state directory and made anew when it is about to expire or is for other names.
    Raises :class:`TlsError`.
    """
    api = config.api
    if api.tls_certificate is not None and api.tls_key is not None:
        return Identity(api.tls_certificate, api.tls_key)
    if api.tls != "self-signed":
        return None
    own = Identity(config.state / "api-tls.crt", config.state / "api-tls.key")
    names = _names(host)
    if not _serves(own, names):
        _make(own, names)
    return own


def _names(host: str) -> list[str]:
    """Return what clients may call the server that listens at ``host``, the most likely one first."""
    own = socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", own]
    if host in _WILDCARDS:
        names += _addresses(own)
    else:
        names.insert(0, host)
    return list(dict.fromkeys(name for name in names if name))


def _addresses(name: str) -> Iterable[str]:
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found if "%" not in str(entry[4][0])]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _serves(own: Identity, names: Iterable[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(own.certificate.read_bytes())
        own.context()
    except (OSError, ValueError, TlsError):
        return False
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fresh = certificate.not_valid_after_utc > datetime.now(UTC) + _SPARE
    return fresh and all(_general_name(name) in known for name in names)


def _make(own: Identity, names: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sluice API")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(own.key, private)
    _write(own.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    """Write a file that its owner alone reads; it appears whole or not at all."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        raise TlsError(f"{path} cannot be written ({error.strerror}); mend its folder or its rights") from error


def _first(text: str) -> str:
    end = "-----END CERTIFICATE-----"
    begin = text.index("-----BEGIN CERTIFICATE-----")
    return text[begin : text.index(end, begin) + len(end)]


def _no_password() -> str:
    raise ValueError("the key has a password")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
