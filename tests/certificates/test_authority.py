"""The authority: what it issues is what was asked for and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import authority as ca
from certificates.authority import CertificateError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = st.from_regex(ca.HOST_NAME, fullmatch=True).filter(lambda name: name != ca.CONTROLLER_NAME)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2049, 1, 1)).map(lambda when: when.replace(tzinfo=UTC))


@pytest.fixture(scope="module")
def authority() -> ca.Pair:
    return ca.new_authority(ca.new_key(), NOW)


@given(name=NAMES, now=MOMENTS, days=st.integers(1, 400))
@settings(max_examples=50)
def test_a_host_s_certificate_says_its_name_and_nothing_else(authority, name, now, days):
    key = ca.new_key()
    made = ca.issue(authority, name, ca.request(key, name), now, timedelta(days=days))
    found = x509.load_pem_x509_certificate(made)
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    holder = ca.holder(made)
    assert (holder.name, holder.serial) == (name, f"{found.serial_number:x}")
    assert holder == ca.holder(found.public_bytes(serialization.Encoding.DER))
    assert holder.since <= now < holder.until == now.replace(microsecond=0) + timedelta(days=days)
    assert now < ca.due(holder, now) < holder.until
    assert ca.fits(made, key)
    assert not ca.fits(made, authority.key)
    extensions = found.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        name
    ]


def test_the_controller_s_certificate_is_a_server_s(authority):
    made = ca.new_controller(authority, ca.new_key(), NOW)
    found = x509.load_pem_x509_certificate(made.certificate)
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert ca.holder(made.certificate).name == ca.CONTROLLER_NAME


@given(st.text(max_size=80).filter(lambda name: not ca.HOST_NAME.fullmatch(name)))
def test_no_host_is_called_so(name):
    with pytest.raises(CertificateError):
        ca.checked_name(name)


def test_no_host_takes_the_controller_s_name(authority):
    with pytest.raises(CertificateError):
        ca.issue(authority, ca.CONTROLLER_NAME, b"", NOW)


def test_a_request_for_another_name_is_refused(authority):
    with pytest.raises(CertificateError, match="another name than h1"):
        ca.issue(authority, "h1", ca.request(ca.new_key(), "h2"), NOW)


def test_what_is_no_request_is_refused(authority):
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "h1")]))
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    good = ca.request(ca.new_key(), "h1")
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    for asked in (b"", b"nonsense", good[:-40], b"x" * 10_000, signed, forged):
        with pytest.raises(CertificateError):
            ca.issue(authority, "h1", asked, NOW)


@given(st.binary(max_size=400))
def test_nonsense_is_no_certificate(data):
    with pytest.raises(CertificateError):
        ca.holder(data)


def test_a_certificate_is_due_when_the_clock_went_back(authority):
    key = ca.new_key()
    holder = ca.holder(ca.issue(authority, "h1", ca.request(key, "h1"), NOW))
    past = NOW - timedelta(days=2)
    assert ca.due(holder, past) == past


def test_keys_are_on_p_256():
    key = serialization.load_pem_private_key(ca.new_key(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
