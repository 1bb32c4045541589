"""Signatures by botocore are accepted; nothing that differs in a bit is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from econe_api.auth import signature_v4
from econe_api.errors import Ec2Error
from econe_api.protocol.http import HttpRequest


def refusal(gate: Any, request: HttpRequest) -> Ec2Error:
    with pytest.raises(Ec2Error) as caught:
        gate(request)
    return caught.value


def is_auth_failure(error: Ec2Error) -> bool:
    words = "AWS was not able to validate the provided access credentials"
    return (error.code, error.message, error.status) == ("AuthFailure", words, 401)


def with_form(request: HttpRequest, **changes: str | None) -> HttpRequest:
    source = request.body.decode() if request.method == "POST" else request.query
    fields: dict[str, str | None] = {**dict(parse_qsl(source)), **changes}
    encoded = urlencode({name: value for name, value in fields.items() if value is not None})
    return replace(request, body=encoded.encode()) if request.method == "POST" else replace(request, query=encoded)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("version", ["v2", "v4"])
@pytest.mark.parametrize("path", ["/", "", "/services/Cloud/", "/a//b/./c/../%7Eé%20d".replace("é", "%C3%A9")])
def test_signed_by_botocore(gate: Any, signer: Any, version: str, method: str, path: str) -> None:
    request = getattr(signer, version)(method, f"http://api.example:8773{path}")
    assert gate(replace(request, path=request.path or "/")) == signer.account
    assert is_auth_failure(refusal(gate, replace(request, path="/other")))


@pytest.mark.parametrize(("region", "service"), [("127", "0"), ("undefined-8773", "ec2"), ("", ""), ("é", "ec2")])
def test_an_odd_scope_is_taken_as_sent(gate: Any, signer: Any, region: str, service: str) -> None:
    if region == "é":  # botocore cannot send it; a header that carries it must not crash the server
        request = signer.v4()
        changed = request.headers["authorization"].replace("us-east-1", "é")
        assert is_auth_failure(refusal(gate, replace(request, headers={**request.headers, "authorization": changed})))
    else:
        assert gate(signer.v4(region=region, service=service)) == signer.account


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_wrong_secret_unknown_key_and_disabled_key_are_alike(gate: Any, signer: Any, version: str) -> None:
    wrong = refusal(gate, getattr(signer, version)(secret="other"))
    request = getattr(signer, version)()
    gate.credentials, known = {}, gate.credentials
    unknown = refusal(gate, request)
    gate.credentials = known
    gate.disable()
    disabled = refusal(gate, request)
    assert all(is_auth_failure(error) for error in (wrong, unknown, disabled))


@pytest.mark.parametrize("version", ["v2", "v4"])
@pytest.mark.parametrize(("minutes", "accepted"), [(14, True), (-14, True), (16, False), (-16, False)])
def test_the_window_is_fifteen_minutes_both_ways(
    gate: Any, signer: Any, version: str, minutes: int, accepted: bool
) -> None:
    gate.skew = timedelta(minutes=minutes)
    request = getattr(signer, version)()
    if accepted:
        assert gate(request) == signer.account
    else:
        error = refusal(gate, request)
        assert (error.code, error.status) == ("RequestExpired", 400)
        assert gate.lookups == []


def test_unsigned(gate: Any) -> None:
    request = HttpRequest("POST", "/", "", {"host": "api"}, b"Action=DescribeTags", "192.0.2.1")
    error = refusal(gate, request)
    assert (error.code, error.message, error.status) == (
        "MissingParameter",
        "The request must contain the parameter AWSAccessKeyId",
        400,
    )


def test_two_signatures_at_once(gate: Any, signer: Any) -> None:
    v2, v4 = signer.v2(), signer.v4()
    both = replace(v4, body=v2.body)
    assert refusal(gate, both).code == "InvalidParameterCombination"
    assert refusal(gate, replace(v4, query="Signature=x")).code == "InvalidParameterCombination"


class TestVersion4:
    """Authorization header."""

    def test_body_and_query_are_covered(self, gate: Any, signer: Any) -> None:
        request = signer.v4()
        assert is_auth_failure(refusal(gate, replace(request, body=request.body + b"&DryRun=true")))
        assert is_auth_failure(refusal(gate, replace(request, query="DryRun=true")))
        request = signer.v4("GET")
        assert is_auth_failure(refusal(gate, replace(request, query=request.query + "&DryRun=true")))

    def test_plus_and_order_of_the_query(self, gate: Any, signer: Any) -> None:
        request = signer.v4("GET")
        fields = request.query.replace("%20", "+").split("&")
        assert gate(replace(request, query="&".join(sorted(fields, reverse=True)))) == signer.account

    def test_host_and_port_are_covered(self, gate: Any, signer: Any, header: Any) -> None:
        assert is_auth_failure(refusal(gate, header(signer.v4(), "host", "api.example")))

    def test_blanks_in_headers_are_folded(self, gate: Any, signer: Any, header: Any) -> None:
        request = signer.v4(headers={"X-Amz-Meta": "a b"})
        assert gate(header(request, "x-amz-meta", "  a    b ")) == signer.account

    def test_a_signed_header_is_absent(self, gate: Any, signer: Any, header: Any) -> None:
        request = signer.v4(headers={"X-Amz-Meta": "a"})
        assert refusal(gate, header(request, "x-amz-meta", None)).code == "IncompleteSignature"

    def test_an_unsigned_amazon_header_is_present(self, gate: Any, signer: Any, header: Any) -> None:
        assert refusal(gate, header(signer.v4(), "x-amz-target", "x")).code == "IncompleteSignature"

    def test_host_must_be_signed(self, gate: Any, signer: Any, header: Any) -> None:
        request = signer.v4()
        changed = request.headers["authorization"].replace("host;", "")
        assert refusal(gate, header(request, "authorization", changed)).code == "IncompleteSignature"

    def test_the_hash_of_the_body_is_computed(self, gate: Any, signer: Any, header: Any) -> None:
        request = signer.v4(headers={"X-Amz-Content-SHA256": "0" * 64})
        assert refusal(gate, request).status == 401
        unsigned = signer.v4(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        assert refusal(gate, unsigned).status == 401

    def test_the_date_header_serves_too(self, gate: Any, signer: Any, header: Any) -> None:
        assert gate(signer.v4(headers={"Date": "now"})) == signer.account
        assert refusal(gate, header(signer.v4(), "x-amz-date", None)).code == "IncompleteSignature"

    def test_the_date_of_the_scope_must_be_the_requests(self, gate: Any, signer: Any, header: Any) -> None:
        request = signer.v4()
        today = datetime.now(UTC).strftime("%Y%m%d")
        changed = request.headers["authorization"].replace(f"/{today}/", "/20200101/")
        assert refusal(gate, header(request, "authorization", changed)).code == "IncompleteSignature"

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Basic dXNlcjpwYXNz",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=/b/c/d/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host;nothere, Signature=00",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=0, Signature=1",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
        ],
    )
    def test_malformed(self, gate: Any, signer: Any, header: Any, value: str) -> None:
        error = refusal(gate, header(signer.v4(), "authorization", value))
        assert (error.code, error.status) == ("IncompleteSignature", 400)

    @pytest.mark.parametrize("value", ["yesterday", "20209999T999999Z", "Fri, 99 Jan 2020", "²"])
    def test_malformed_date(self, gate: Any, signer: Any, header: Any, value: str) -> None:
        assert refusal(gate, header(signer.v4(), "x-amz-date", value)).code == "IncompleteSignature"

    def test_paths(self) -> None:
        assert signature_v4.canonical_path("/a/../../b//./c/") == "/b/c/"
        assert signature_v4.canonical_path("/..") == "/"
        assert signature_v4.canonical_path("/a%20b~") == "/a%2520b~"


class TestVersion2:
    """Signature in the parameters; boto 2 itself speaks in the tests of the server."""

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"Signature": None}, "MissingParameter"),
            ({"SignatureVersion": None}, "MissingParameter"),
            ({"SignatureMethod": None}, "MissingParameter"),
            ({"SignatureVersion": "0"}, "InvalidParameterValue"),
            ({"SignatureVersion": "1"}, "InvalidParameterValue"),
            ({"SignatureMethod": "HmacMD5"}, "InvalidParameterValue"),
            ({"Timestamp": None}, "InvalidParameterCombination"),
            ({"Expires": "2030-01-01T00:00:00Z"}, "InvalidParameterCombination"),
            ({"Timestamp": "soon"}, "InvalidParameterValue"),
            ({"Timestamp": None, "Expires": "2030-01-01T00:00:00Z"}, "RequestExpired"),
            ({"Timestamp": None, "Expires": "2020-01-01T00:00:00Z"}, "RequestExpired"),
            ({"Timestamp": "0001-01-01T00:00:00+23:00"}, "InvalidParameterValue"),
            ({"SignatureMethod": "HmacSHA1"}, "AuthFailure"),
            ({"DryRun": "true"}, "AuthFailure"),
            ({"Signature": "é"}, "AuthFailure"),
            ({"Signature": "AAAA"}, "AuthFailure"),
            ({"AWSAccessKeyId": "\u202ekey"}, "AuthFailure"),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_refusals(self, gate: Any, signer: Any, method: str, changes: dict[str, str | None], code: str) -> None:
        assert refusal(gate, with_form(signer.v2(method), **changes)).code == code

    def test_expires_within_the_window(self, gate: Any, signer: Any) -> None:
        soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        error = refusal(gate, with_form(signer.v2(), Timestamp=None, Expires=soon))
        assert is_auth_failure(error), "the date passes, the signature does not"

    def test_the_host_in_any_case_and_without_its_port(self, gate: Any, signer: Any, header: Any) -> None:
        assert gate(header(signer.v2(), "host", "API.example:8773")) == signer.account
        assert gate(header(signer.v2(url="http://api.example/"), "host", "api.example:8773")) == signer.account
        assert is_auth_failure(refusal(gate, header(signer.v2(), "host", "api.example:8774")))
        assert refusal(gate, header(signer.v2(), "host", None)).code == "IncompleteSignature"


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data(), version=st.sampled_from(["v2", "v4"]))
def test_no_bit_may_differ(gate: Any, signer: Any, data: st.DataObject, version: str) -> None:
    """A flipped bit of the signature is refused, wherever it is."""
    request: HttpRequest = getattr(signer, version)()
    authorization = request.headers.get("authorization", "")
    if version == "v4":
        signature = authorization.rpartition("=")[2]
    else:
        signature = dict(parse_qsl(request.body.decode()))["Signature"]
    position = data.draw(st.integers(0, len(signature) - 1))
    changed = chr(ord(signature[position]) ^ 1 << data.draw(st.integers(0, 6)))
    changed = signature[:position] + changed + signature[position + 1 :]
    if version == "v4":
        headers = {**request.headers, "authorization": authorization.replace(signature, changed)}
        forged = replace(request, headers=headers)
    else:
        forged = with_form(request, Signature=changed)
    assert refusal(gate, forged).status in (400, 401)


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    authorization=st.text(st.characters(max_codepoint=255), max_size=80)
    | st.text("AWS4-HMACSHA256 Credential=/,;SignedHeaders=hostSignature\xff\x00").map("AWS4-HMAC-SHA256 {}".format),
    date=st.text(st.characters(max_codepoint=255), max_size=20),
)
def test_any_header_is_refused_politely(gate: Any, authorization: str, date: str) -> None:
    headers = {"host": "api", "authorization": authorization, "x-amz-date": date}
    assert refusal(gate, HttpRequest("POST", "/", "", headers, b"", "192.0.2.1")).status in (400, 401)
