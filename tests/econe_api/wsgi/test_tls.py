"""The API over TLS: with a certificate of its own making and with the operator's."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import SSLError
from cryptography import x509

from econe_api import tls
from econe_api.__main__ import main
from econe_api.config import Config
from econe_api.tls import Identity, TlsError, identity


@pytest.fixture
def own(config: Config, store: Any) -> Identity:
    """A self-made certificate for 127.0.0.1."""
    made = identity(replace(config, api=replace(config.api, tls="self-signed")), "127.0.0.1")
    assert made is not None
    return made


@pytest.fixture
def api_settings(request: pytest.FixtureRequest) -> str:
    """TLS is on: one line of the file."""
    return getattr(request, "param", 'tls = "self-signed"')


@pytest.fixture
def operators(own: Identity, tmp_path: Path) -> Identity:
    """The certificate and key of somebody else's making, beside the configuration."""
    return Identity(own.certificate.rename(tmp_path / "own.crt"), own.key.rename(tmp_path / "own.key"))


def ec2(api: Any, verify: Any, **options: Any) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=options.get("url", api.url),
        region_name="us-east-1",
        aws_access_key_id=api.account.access_key_id,
        aws_secret_access_key=api.account.secret,
        verify=verify,
        config=ClientConfig(retries={"total_max_attempts": 1}),
    )


def test_boto3_trusts_the_certificate_it_is_shown(api: Any, config: Config) -> None:
    assert api.url.startswith("https://127.0.0.1:")
    certificate = config.state / "api-tls.crt"
    for url in (api.url, api.url.replace("127.0.0.1", "localhost")):
        with closing(ec2(api, str(certificate), url=url)) as client:
            for _ in range(2):
                assert client.describe_regions()["Regions"]
            assert client.create_security_group(GroupName=url.partition("//")[2], Description="d" * 255)["GroupId"]
    with closing(ec2(api, verify=True)) as client, pytest.raises(SSLError):
        client.describe_regions()
    own = Identity(certificate, config.state / "api-tls.key")
    for file in (own.certificate, own.key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"SHA-256 fingerprint {own.fingerprint()}" in api.log.read_text()
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", own.fingerprint())


@pytest.mark.parametrize("api_settings", ['tls_certificate = "own.crt"\ntls_key = "own.key"'], indirect=True)
def test_the_operators_certificate_is_the_one_that_is_shown(operators: Identity, api: Any, config: Config) -> None:
    with closing(ec2(api, str(operators.certificate))) as client:
        assert client.describe_regions()["Regions"]
    trusting = ssl.create_default_context(cafile=str(operators.certificate))
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as raw:
        shown = trusting.wrap_socket(raw, server_hostname="127.0.0.1").getpeercert(binary_form=True)
    assert shown and ssl.DER_cert_to_PEM_cert(shown) == operators.certificate.read_text()
    assert not (config.state / "api-tls.crt").exists(), "none is made beside it"


def test_what_is_no_tls_leaves_no_trace_in_the_log(api: Any, config: Config) -> None:
    """Plain HTTP, noise, silence after half a handshake, an old version: shown the door, and others are served."""
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 600):
        with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as peer, pytest.raises(OSError):
        old.wrap_socket(peer)
    with closing(ec2(api, str(config.state / "api-tls.crt"))) as client:
        assert client.describe_regions()["Regions"]
    assert "Traceback" not in api.log.read_text()


@pytest.mark.parametrize("request_deadline", [1.0])
def test_slow_handshakes_are_shown_the_door(api: Any, config: Config) -> None:
    """More of them than there are threads."""
    slow = [socket.create_connection(("127.0.0.1", api.port), timeout=20) for _ in range(20)]
    context = ssl.create_default_context(cafile=str(config.state / "api-tls.crt"))
    try:
        for peer in slow:
            peer.sendall(b"\x16\x03\x01\x02\x00\x01")
        with socket.create_connection(("127.0.0.1", api.port), timeout=20) as raw:
            trickle = context.wrap_socket(raw, server_hostname="127.0.0.1")
            trickle.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nA")
            assert trickle.recv(65536)[:12] in (b"", b"HTTP/1.1 400"), "over TLS, not in plain text"
        with closing(ec2(api, str(config.state / "api-tls.crt"))) as client:
            assert client.describe_regions()["Regions"]
        for peer in slow:
            while peer.recv(65536):
                pass
    finally:
        for peer in slow:
            peer.close()
    assert "Traceback" not in api.log.read_text()


def test_connections_stay_open(api: Any, config: Config) -> None:
    context = ssl.create_default_context(cafile=str(config.state / "api-tls.crt"))
    with closing(http.client.HTTPSConnection("127.0.0.1", api.port, timeout=10, context=context)) as connection:
        connection.connect()
        port = connection.sock.getsockname()[1]
        for size in (10, 20_000, 200_000):
            connection.request("POST", "/", "Action=DescribeRegions&A=" + "x" * size)
            response = connection.getresponse()
            assert (response.status, b"MissingParameter" in response.read()) == (400, True)
            assert connection.sock.getsockname()[1] == port
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")


class TestCertificate:
    """The one that the API makes."""

    def test_its_names(self, own: Identity) -> None:
        certificate = x509.load_pem_x509_certificate(own.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
        assert {"127.0.0.1", "::1"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
        assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=398)

    def test_it_is_kept_while_it_serves(self, config: Config, own: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
        trial = replace(config, api=replace(config.api, tls="self-signed"))
        before = own.fingerprint()
        assert identity(trial, "127.0.0.1") == own
        assert own.fingerprint() == before
        identity(trial, "api.example")
        for_another_name = own.fingerprint()
        assert for_another_name != before
        monkeypatch.setattr(tls, "_SPARE", timedelta(days=398))
        identity(trial, "api.example")
        assert own.fingerprint() != for_another_name
        monkeypatch.undo()
        own.key.write_text("no key")
        identity(trial, "0.0.0.0")
        assert own.context()

    def test_without_tls_there_is_none(self, config: Config, store: Any) -> None:
        assert identity(config, "127.0.0.1") is None


def test_files_that_do_not_serve_are_named(config: Config, own: Identity, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    with pytest.raises(TlsError, match=r"other\.pem: cannot be read \(No such file"):
        Identity(own.certificate, other).context()
    other.write_text("nothing")
    with pytest.raises(TlsError, match="are no certificate and its key"):
        Identity(own.certificate, other).context()
    with pytest.raises(TlsError, match="are no certificate and its key"):
        Identity(other, own.key).context()


def test_the_server_does_not_start_without_its_certificate(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text(f'state = "{config.state}"\n[api]\ntls_certificate = "c.pem"\ntls_key = "k.pem"\n')
    assert main(["--config", str(file), "--bind", "127.0.0.1:0"]) == 1
    line = capsys.readouterr().err
    assert line == f"econe_api: {tmp_path / 'c.pem'}: cannot be read (No such file or directory); " + (
        "mend the file or its rights\n"
    )
