"""A certificate authority as values: what goes in is what decides, clocks and keys included.

Keys are ECDSA on P-256.  A host's certificate says one thing, its name (common name and DNS name), and may be used as a
client's alone; the controller's may be used as a server's alone.  So nobody who has a host's key can play the
controller: OpenSSL, which Open vSwitch uses as well, looks at the extended key usage (RFC 5280, 4.2.1.12).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

AUTHORITY_LIFETIME = timedelta(days=3650)
CONTROLLER_LIFETIME = timedelta(days=397)
HOST_LIFETIME = timedelta(days=90)
CONTROLLER_NAME = "controller.sluice.internal"
"""What the controller's certificate says, wherever it listens."""
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
"""Names that hosts may have: a common name has 64 characters at most (RFC 5280, A.1)."""
_AUTHORITY_NAME = "Sluice host authority"
_CLOCKS_DIFFER = timedelta(hours=1)
_LONGEST_REQUEST = 8192


class CertificateError(Exception):
    """A certificate or a request for one is of no use; the text is one line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificate it is: the name, the serial number in hexadecimal, and how long it is good."""

    name: str
    serial: str
    since: datetime
    until: datetime


def new_key() -> bytes:
    """Return a new private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(key: bytes, now: datetime) -> Pair:
    """Return a new authority around ``key``."""
    private, name = _private(key), _name(_AUTHORITY_NAME)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    certificate = (
        _builder(name, name, private.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(private, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), key)


def new_controller(authority: Pair, key: bytes, now: datetime) -> Pair:
    """Return the certificate of the controller for ``key``."""
    public = _private(key).public_key()
    return Pair(_issue(authority, CONTROLLER_NAME, public, (now, CONTROLLER_LIFETIME), _SERVER), key)


def request(key: bytes, name: str) -> bytes:
    """Return a request for a host's certificate (PKCS #10, RFC 2986), PEM.

    Raises :class:`CertificateError` when no host may have that name.
    """
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(checked_name(name)))
        .sign(_private(key), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def issue(authority: Pair, name: str, asked: bytes, now: datetime, lifetime: timedelta = HOST_LIFETIME) -> bytes:
    """Return the certificate of host ``name`` for the key of the request ``asked``, PEM.

    Of the request only the key counts, and that who asks has it.  Raises :class:`CertificateError` when it asks for
    another name, is none, or is for another kind of key.
    """
    try:
        if len(asked) > _LONGEST_REQUEST:
            raise ValueError("too long")
        found = x509.load_pem_x509_csr(asked)
        public = found.public_key()
        signed = found.is_signature_valid
    except (ValueError, TypeError, InvalidSignature) as error:
        raise CertificateError(f"the request for a certificate cannot be read ({_line(error)})") from error
    if not signed:
        raise CertificateError("the request for a certificate is not signed with the key it names")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise CertificateError("the request for a certificate is for another kind of key than ECDSA on P-256")
    if _common_name(found.subject) != checked_name(name):
        raise CertificateError(f"the request is for another name than {name}")
    return _issue(authority, name, public, (now, lifetime), _CLIENT)


def holder(certificate: bytes) -> Holder:
    """Return whose certificate it is, from PEM or DER; its signature is for TLS to check.

    Raises :class:`CertificateError`.
    """
    try:
        pem = certificate.lstrip().startswith(b"-----")
        found = x509.load_pem_x509_certificate(certificate) if pem else x509.load_der_x509_certificate(certificate)
        name, serial = _common_name(found.subject), f"{found.serial_number:x}"
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the certificate cannot be read ({_line(error)})") from error
    if name is None:
        raise CertificateError("the certificate names nobody")
    return Holder(name, serial, found.not_valid_before_utc, found.not_valid_after_utc)


def fits(certificate: bytes, key: bytes) -> bool:
    """Is it the certificate (PEM) of that key?"""
    try:
        found = x509.load_pem_x509_certificate(certificate).public_key()
    except (ValueError, TypeError):
        return False
    return found == _private(key).public_key()


def due(one: Holder, now: datetime) -> datetime:
    """Return when a certificate is to be renewed: after two thirds of its time; ``now`` when the clock went back."""
    return one.since + (one.until - one.since) * 2 / 3 if one.since <= now else now


def fingerprint(certificate: bytes) -> bytes:
    """Return SHA-256 of a certificate (PEM), 32 bytes; raises :class:`CertificateError`."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise CertificateError(f"the certificate cannot be read ({_line(error)})") from error
    return hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).digest()


def checked_name(name: str) -> str:
    """Return ``name``; raises :class:`CertificateError` when no host may have it."""
    if not HOST_NAME.fullmatch(name) or name == CONTROLLER_NAME:
        raise CertificateError(f"{name[:80]!r} is no host's name (1 to 64 letters, digits, dots, dashes)")
    return name


_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def _issue(
    authority: Pair,
    name: str,
    public: ec.EllipticCurvePublicKey,
    time: tuple[datetime, timedelta],
    purpose: ObjectIdentifier,
) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(_name(name), issuer.subject, public, *time)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(_private(authority.key), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        found = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the private key cannot be read ({_line(error)})") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise CertificateError("the private key is of another kind than ECDSA")
    return found


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _common_name(subject: x509.Name) -> str | None:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
