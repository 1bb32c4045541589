"""Signed URLs, session tokens, and what the operator may switch: scopes and version 2."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from econe_api.auth.authenticator import Policy
from econe_api.errors import Ec2Error
from econe_api.protocol.http import HttpRequest

PARAMETERS = {"Action": "DescribeTags", "Version": "2016-11-15", "Filter.1.Value.1": "a b+c/~é*"}


def presigned(
    signer: Any, expires: int = 60, token: str | None = None, form: str = "", secret: str = "", **headers: str
) -> HttpRequest:
    """A URL that botocore signed, as the server receives it."""
    query = urlencode(PARAMETERS, quote_via=quote)
    request = AWSRequest("GET", f"http://api.example:8773/services/?{query}", headers=headers)
    request.headers["Host"] = "api.example:8773"
    credentials = Credentials(signer.key, secret or signer.secret, token)
    botocore.auth.SigV4QueryAuth(credentials, "ec2", "us-east-1", expires=expires).add_auth(request)
    parts = urlsplit(request.url)
    sent = {name.lower(): value for name, value in request.headers.items()}
    return HttpRequest("GET", parts.path, parts.query, sent, form.encode(), "192.0.2.1")


def changed(request: HttpRequest, **changes: str | None) -> HttpRequest:
    names = {name.lower(): value for name, value in changes.items()}
    kept = []
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        new = names.get(name.removeprefix("X-Amz-").lower().replace("-", "_"), value)
        if new is not None:
            kept.append((name, new))
    return replace(request, query=urlencode(kept, quote_via=quote))


def refused(gate: Any, request: HttpRequest) -> tuple[str, int]:
    with pytest.raises(Ec2Error) as caught:
        gate(request)
    return caught.value.code, caught.value.status


def test_a_signed_url_is_good_until_it_expires(gate: Any, signer: Any) -> None:
    request = presigned(signer, expires=3600)
    for minutes in (0, 59, -14):
        gate.skew = timedelta(minutes=minutes)
        assert gate(request) == signer.account
        assert gate.signature is None, "a signed URL may be used again"
    for minutes in (61, -16):
        gate.skew = timedelta(minutes=minutes)
        assert refused(gate, request) == ("RequestExpired", 400)


def test_a_week_is_the_longest(gate: Any, signer: Any) -> None:
    assert gate(presigned(signer, expires=604800)) == signer.account
    for expires in (604801, 0, -1, 10**9):
        assert refused(gate, presigned(signer, expires=expires)) == ("IncompleteSignature", 400)


@pytest.mark.parametrize("value", ["1e3", "", "\u0661", "60.0", "+60", "6" * 5000])
def test_a_lifetime_is_a_number(gate: Any, signer: Any, value: str) -> None:
    assert refused(gate, changed(presigned(signer), expires=value)) == ("IncompleteSignature", 400)


@pytest.mark.parametrize("name", ["algorithm", "credential", "date", "expires", "signedheaders", "signature"])
def test_every_part_is_needed(gate: Any, signer: Any, name: str) -> None:
    assert refused(gate, changed(presigned(signer), **{name: None})) == ("IncompleteSignature", 400)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"algorithm": "AWS4-ECDSA-P256-SHA256"}, "IncompleteSignature"),
        ({"credential": "AKIAIOSFODNN7EXAMPLE/20200101/us-east-1/ec2/aws4_request"}, "IncompleteSignature"),
        ({"credential": "é/20200101/us-east-1/ec2/aws4_request"}, "IncompleteSignature"),
        ({"date": "soon"}, "IncompleteSignature"),
        ({"signedheaders": "x-amz-date"}, "IncompleteSignature"),
        ({"signedheaders": "host;host"}, "IncompleteSignature"),
        ({"expires": "61"}, "AuthFailure"),
        ({"signature": "0" * 64}, "AuthFailure"),
        ({"signature": "é"}, "AuthFailure"),
        ({"action": "TerminateInstances"}, "AuthFailure"),
    ],
)
def test_what_is_changed_is_refused(gate: Any, signer: Any, changes: dict[str, str], code: str) -> None:
    assert refused(gate, changed(presigned(signer), **changes))[0] == code


def test_nothing_may_be_added(gate: Any, signer: Any) -> None:
    request = presigned(signer)
    assert refused(gate, replace(request, query=request.query + "&DryRun=true")) == ("AuthFailure", 401)
    assert refused(gate, replace(request, body=b"DryRun=true")) == ("AuthFailure", 401)
    assert refused(gate, replace(request, method="POST")) == ("AuthFailure", 401)
    assert refused(gate, replace(request, headers={**request.headers, "host": "api.example"})) == ("AuthFailure", 401)
    for name in ("x-amz-date", "x-amz-security-token", "x-amz-target"):
        more = replace(request, headers={**request.headers, name: "x"})
        assert refused(gate, more) == ("IncompleteSignature", 400)


def test_a_body_is_never_unsigned(gate: Any, signer: Any) -> None:
    request = presigned(signer, **{"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert refused(gate, replace(request, method="POST", body=b"Action=X"))[1] in (400, 401)


def test_only_the_query_string_carries_such_a_signature(gate: Any, signer: Any) -> None:
    request = presigned(signer)
    moved = replace(request, method="POST", query="", body=request.query.encode())
    assert refused(gate, moved) == ("IncompleteSignature", 400)


def test_one_signature_only(gate: Any, signer: Any) -> None:
    request = presigned(signer)
    both = replace(request, headers={**request.headers, **signer.v4("GET").headers})
    assert refused(gate, both) == ("InvalidParameterCombination", 400)
    two = replace(request, query=request.query + "&AWSAccessKeyId=x&Signature=y")
    assert refused(gate, two) == ("InvalidParameterCombination", 400)


def test_session_tokens_are_handed_on_and_covered(gate: Any, signer: Any) -> None:
    request = presigned(signer, token="t/o+k=n")
    assert gate(request) == signer.account
    assert gate.tokens == ["t/o+k=n"]
    assert refused(gate, changed(request, security_token="other")) == ("AuthFailure", 401)
    assert refused(gate, changed(request, security_token=None)) == ("AuthFailure", 401)
    in_header = signer.v4(headers={"X-Amz-Security-Token": "t"})
    assert gate(in_header) == signer.account
    assert gate.tokens[-1] == "t"
    plain = signer.v4()
    unsigned = replace(plain, headers={**plain.headers, "x-amz-security-token": "t"})
    assert refused(gate, unsigned) == ("IncompleteSignature", 400)


class TestPolicy:
    """What the operator may switch."""

    def test_version_2_off(self, gate: Any, signer: Any) -> None:
        gate.policy = Policy(version_2=False)
        for method in ("GET", "POST"):
            assert refused(gate, signer.v2(method)) == ("AuthFailure", 401)
            assert gate(signer.v4(method)) == signer.account
        assert gate(presigned(signer)) == signer.account

    @pytest.mark.parametrize(
        ("region", "service", "accepted"),
        [
            ("us-east-1", "ec2", True),
            ("us-east-2", "ec2", False),
            ("us-east-1", "s3", False),
            ("127", "0", False),
            ("us-east-1", "EC2", False),
        ],
    )
    def test_strict_scope(self, gate: Any, signer: Any, region: str, service: str, accepted: bool) -> None:
        gate.policy = Policy(region="us-east-1")
        request = signer.v4(region=region, service=service)
        if accepted:
            assert gate(request) == signer.account
        else:
            assert refused(gate, request) == ("AuthFailure", 401)
            assert gate.lookups == []
        assert gate(signer.v2()) == signer.account, "version 2 has no scope"

    def test_a_signature_names_a_request_once(self, gate: Any, signer: Any) -> None:
        request = signer.v4()
        gate(request)
        name = gate.signature
        gate(request)
        assert gate.signature == name
        gate(signer.v4(region="us-east-2"))
        assert gate.signature != name
