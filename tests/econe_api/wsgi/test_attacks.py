"""Attacks on authentication and HTTP against the real server: each is refused, in words, and changes nothing."""

from __future__ import annotations

import http.client
import re
import socket
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sqlalchemy import select

from econe_api.store.accounts import create_account, disable_account, enable_account
from econe_api.store.keys import create_key, delete_key, disable_key, enable_key, rotate_key
from econe_api.store.schema import audit, groups
from econe_api.store.store import Store

GROUP = {"Action": "CreateSecurityGroup", "Version": "2016-11-15", "GroupName": "g", "GroupDescription": "d"}
LOOK = {"Action": "DescribeRegions", "Version": "2016-11-15"}
Answer = tuple[int, str]


class Request:
    """A request that can be spoilt after it was signed."""

    def __init__(self, api: Any, fields: dict[str, str], method: str = "POST") -> None:
        self.api = api
        self.method = method
        encoded = urlencode(fields, quote_via=quote)
        self.target = "/" if method == "POST" else f"/?{encoded}"
        self.body = encoded.encode() if method == "POST" else b""
        self.headers = {"Host": f"127.0.0.1:{api.port}", "Content-Type": "application/x-www-form-urlencoded"}
        self.key, self.secret = api.account.access_key_id, api.account.secret

    def sign(self, moment: datetime | None = None, region: str = "us-east-1", service: str = "ec2") -> Request:
        """Sign as botocore does, at ``moment``."""
        url = f"http://{self.headers['Host']}{self.target}"
        request = AWSRequest(self.method, url, data=self.body, headers=self.headers)
        signer = botocore.auth.SigV4Auth(Credentials(self.key, self.secret), service, region)
        stamp = (moment or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        request.context["timestamp"] = stamp
        request.headers["X-Amz-Date"] = stamp
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        signed = signer.signed_headers(signer.headers_to_sign(request))
        scope = f"{self.key}/{signer.credential_scope(request)}"
        self.headers["X-Amz-Date"] = stamp
        self.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
        )
        return self

    def edit(self, old: str, new: str) -> Request:
        """Change the Authorization header."""
        assert old in self.headers["Authorization"]
        self.headers["Authorization"] = self.headers["Authorization"].replace(old, new)
        return self

    def send(self, port: int | None = None) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.api.port, timeout=10)) as connection:
            connection.request(self.method, self.target, self.body, self.headers)
            response = connection.getresponse()
            document = response.read()
        if response.status == 200:
            return 200, ""
        return response.status, ET.fromstring(document).findtext("Errors/Error/Code") or ""


def names(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return sorted(connection.scalars(select(groups.c.name)))


def flip(request: Request) -> Request:
    last = request.headers["Authorization"][-1]
    request.headers["Authorization"] = request.headers["Authorization"][:-1] + ("0" if last != "0" else "1")
    return request


def without(request: Request, name: str) -> Request:
    del request.headers[name]
    return request


def with_header(request: Request, name: str, value: str) -> Request:
    request.headers[name] = value
    return request


def with_target(request: Request, target: str) -> Request:
    request.target = target
    return request


def with_body(request: Request, body: bytes) -> Request:
    request.body += body
    return request


#: What is done to a signed CreateSecurityGroup, and how it is refused.
ATTACKS: dict[str, tuple[Callable[[Request], Request], Answer]] = {
    "bit-flipped signature": (lambda r: flip(r.sign()), (401, "AuthFailure")),
    "another region in the scope": (lambda r: r.sign().edit("us-east-1", "us-east-2"), (401, "AuthFailure")),
    "another service in the scope": (lambda r: r.sign().edit("/ec2/", "/s3/"), (401, "AuthFailure")),
    "another date in the scope": (
        lambda r: r.sign().edit(datetime.now(UTC).strftime("/%Y%m%d/"), "/20200101/"),
        (400, "IncompleteSignature"),
    ),
    "host not signed": (lambda r: r.sign().edit("host;", ""), (400, "IncompleteSignature")),
    "another host": (lambda r: with_header(r.sign(), "Host", "127.0.0.1"), (401, "AuthFailure")),
    "a body that was changed": (lambda r: with_body(r.sign(), b"&DryRun=true"), (401, "AuthFailure")),
    "a query string that was added": (lambda r: with_target(r.sign(), "/?DryRun=true"), (401, "AuthFailure")),
    "another path": (lambda r: with_target(r.sign(), "/other"), (401, "AuthFailure")),
    "another method": (
        lambda r: setattr(r.sign(), "method", "GET") or r,  # type: ignore[func-returns-value]
        (401, "AuthFailure"),
    ),
    "a wrong hash of the body": (
        lambda r: with_header(r, "X-Amz-Content-SHA256", "0" * 64).sign(),
        (401, "AuthFailure"),
    ),
    "an unsigned body": (
        lambda r: with_header(r, "X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD").sign(),
        (401, "AuthFailure"),
    ),
    "a signed header that is absent": (
        lambda r: without(with_header(r, "X-Amz-Meta", "a").sign(), "X-Amz-Meta"),
        (400, "IncompleteSignature"),
    ),
    "an unsigned header of Amazon's": (
        lambda r: with_header(r.sign(), "X-Amz-Target", "a"),
        (400, "IncompleteSignature"),
    ),
    "credentials in header and query": (
        lambda r: with_target(r.sign(), "/?AWSAccessKeyId=x&Signature=y"),
        (400, "InvalidParameterCombination"),
    ),
    "credentials in header and signed URL": (
        lambda r: with_target(r.sign(), "/?X-Amz-Signature=y"),
        (400, "InvalidParameterCombination"),
    ),
    "no date": (lambda r: without(r.sign(), "X-Amz-Date"), (400, "IncompleteSignature")),
    "an old date": (lambda r: r.sign(datetime.now(UTC) - timedelta(minutes=16)), (400, "RequestExpired")),
    "a date in the future": (lambda r: r.sign(datetime.now(UTC) + timedelta(minutes=16)), (400, "RequestExpired")),
    "no signature": (lambda r: r, (400, "MissingParameter")),
    "signature version 0": (
        lambda r: with_body(r, b"&AWSAccessKeyId=x&Signature=y&SignatureMethod=HmacSHA1&SignatureVersion=0"),
        (400, "InvalidParameterValue"),
    ),
    "signature version 1": (
        lambda r: with_body(r, b"&AWSAccessKeyId=x&Signature=y&SignatureMethod=HmacSHA1&SignatureVersion=1"),
        (400, "InvalidParameterValue"),
    ),
    "a parameter twice": (lambda r: with_body(r, b"&GroupName=h").sign(), (400, "MalformedQueryString")),
    "a parameter in query and form": (
        lambda r: with_target(r, "/?GroupName=h").sign(),
        (400, "MalformedQueryString"),
    ),
    "a parameter in another case": (lambda r: with_body(r, b"&groupname=h").sign(), (400, "UnknownParameter")),
    "the action in another case": (
        lambda r: with_body(r, b"&action=AllocateAddress").sign(),
        (400, "UnknownParameter"),
    ),
    "a number written twice": (
        lambda r: with_body(
            r,
            b"&TagSpecification.1.ResourceType=security-group&TagSpecification.01.ResourceType=security-group",
        ).sign(),
        (400, "MalformedQueryString"),
    ),
}


def test_what_is_forged_changes_nothing(api: Any, store: Store) -> None:
    refused = {name: spoil(Request(api, GROUP)).send() for name, (spoil, _) in ATTACKS.items()}
    assert refused == {name: answer for name, (_, answer) in ATTACKS.items()}
    assert names(store) == ["default"]
    assert Request(api, GROUP).sign().send() == (200, "")
    assert names(store) == ["default", "g"]


def test_filter_1_and_filter_01(api: Any) -> None:
    twice = {**LOOK, "Filter.1.Name": "region-name", "Filter.01.Name": "endpoint"}
    assert Request(api, twice).sign().send() == (400, "MalformedQueryString")


def test_length_and_transfer_encoding_together(api: Any, store: Store) -> None:
    """No request is smuggled behind another one: the connection is closed at the first."""
    request = Request(api, GROUP).sign()
    inner = b"GET /?Action=DescribeRegions HTTP/1.1\r\nHost: x\r\n\r\n"
    for headers in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: +5",
    ):
        signed = "\r\n".join(f"{name}: {value}" for name, value in request.headers.items())
        with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as peer:
            peer.sendall(f"POST / HTTP/1.1\r\n{signed}\r\n{headers}\r\n\r\n0\r\n\r\n".encode() + inner)
            peer.shutdown(socket.SHUT_WR)
            answer = b""
            while data := peer.recv(65536):
                answer += data
        assert re.match(rb"HTTP/1\.1 (4\d\d|501) ", answer), (headers, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, (headers, answer)
    assert names(store) == ["default"]
    assert "Traceback" not in api.log.read_text()


class TestReplay:
    """A recorded request is sent again, byte for byte or nearly so."""

    def test_an_sdks_call_counts_once(self, api: Any, store: Store) -> None:
        request = Request(api, {"Action": "AllocateAddress", "Version": "2016-11-15"}).sign()
        request.headers |= {"amz-sdk-invocation-id": "0e1b", "amz-sdk-request": "attempt=1; max=3"}
        assert request.send()[1] == "InsufficientAddressCapacity", "there is no pool"
        self.wait_for_records(store, 1)
        assert request.send() == (400, "RequestExpired")
        group = Request(api, GROUP).sign()
        group.headers |= {"amz-sdk-invocation-id": "0e1c"}
        assert group.send() == (200, "")
        assert group.send() == (400, "RequestExpired")

    def test_the_same_twice_in_a_second_is_no_replay(self, api: Any) -> None:
        """Clients that make a call twice within a second sign both alike."""
        moment = datetime.now(UTC)
        first, second, third = (Request(api, GROUP).sign(moment) for _ in range(3))
        assert first.headers["Authorization"] == second.headers["Authorization"]
        first.headers["amz-sdk-invocation-id"] = "one"
        second.headers["amz-sdk-invocation-id"] = "two"
        assert first.send() == (200, "")
        for again in (second, third):
            assert again.send() == (400, "InvalidGroup.Duplicate"), "it was tried"

    def test_later_it_is_refused(self, api: Any, store: Store) -> None:
        request = Request(api, GROUP).sign()
        assert request.send() == (200, "")
        with store.engine.begin() as connection:
            row = connection.execute(select(audit).where(audit.c.action == "CreateSecurityGroup")).one()
            earlier = row.time - timedelta(seconds=60)
            connection.execute(audit.update().where(audit.c.id == row.id).values(time=earlier))
        assert request.send() == (400, "RequestExpired")
        request.headers["amz-sdk-invocation-id"] = "new"
        assert request.send() == (400, "RequestExpired")
        look = Request(api, LOOK).sign()
        assert [look.send() for _ in range(2)] == [(200, ""), (200, "")], "what only looks may come again"

    def wait_for_records(self, store: Store, count: int) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with store.engine.connect() as connection:
                if len(connection.execute(select(audit.c.id).where(audit.c.code != "")).all()) >= count:
                    return
            time.sleep(0.05)
        pytest.fail("refusals did not come into the log")


@pytest.fixture
def workers(api: Any, second_api: Any) -> tuple[int, int]:
    """Ports of two API processes over one store."""
    return api.port, second_api.port


def test_keys_end_at_once_in_every_worker(api: Any, store: Store, workers: tuple[int, int]) -> None:
    key = create_key(store, api.account.account_id)

    def answer(who: Any, port: int) -> Answer:
        request = Request(api, LOOK)
        request.key, request.secret = who.access_key_id, who.secret
        return request.sign().send(port)

    def answers(who: Any = key) -> set[Answer]:
        return {answer(who, port) for port in workers}

    refused = {(401, "AuthFailure")}
    for end, begin in (
        (lambda: disable_key(store, key.access_key_id), lambda: enable_key(store, key.access_key_id)),
        (lambda: disable_account(store, api.account.account_id), lambda: enable_account(store, api.account.account_id)),
    ):
        assert answers() == {(200, "")}
        end()
        assert answers() == refused
        begin()
    new = rotate_key(store, key.access_key_id)
    assert (answers(), answers(new)) == (refused, {(200, "")})
    delete_key(store, new.access_key_id)
    assert answers(new) == refused


def test_every_call_is_in_the_log_and_no_secret_anywhere(api: Any, store: Store) -> None:
    other = create_account(store, "other")
    assert Request(api, LOOK).sign().send() == (200, "")
    assert Request(api, GROUP).sign().send() == (200, "")
    assert flip(Request(api, GROUP).sign()).send() == (401, "AuthFailure")
    assert Request(api, LOOK).send() == (400, "MissingParameter")
    assert Request(api, {"Action": "Fly"}).sign().send() == (400, "InvalidAction")
    for secret in (api.account.secret, other.secret):
        spoilt = Request(api, {**LOOK, "Colour": secret}).sign()
        assert spoilt.send() == (400, "UnknownParameter")
    api.process.terminate()
    assert api.process.wait(15) == 0, "what waits for the log is written at the end"
    with store.engine.connect() as connection:
        rows = connection.execute(select(audit).where(audit.c.source_ip != "").order_by(audit.c.id)).all()
    key, account = api.account.access_key_id, api.account.account_id
    assert sorted((row.action, row.code, row.account, row.access_key) for row in rows) == sorted(
        [
            ("DescribeRegions", "", account, key),
            ("CreateSecurityGroup", "", account, key),
            ("", "AuthFailure", "", key),
            ("", "MissingParameter", "", ""),
            ("", "InvalidAction", account, key),
            *[("DescribeRegions", "UnknownParameter", account, key)] * 2,
        ]
    )
    assert {row.source_ip for row in rows} == {"127.0.0.1"}
    log = api.log.read_text()
    assert all(row.request_id in log for row in rows), "the request id leads from one to the other"
    files = [path.read_bytes() for path in store.config.state.iterdir() if path.is_file()]
    for secret in (api.account.secret, other.secret):
        assert secret not in log
        assert not any(secret.encode() in content for content in files)


@pytest.mark.parametrize("api_settings", ["signature_v2 = false\nstrict_scope = true"])
def test_the_operator_may_be_strict(api: Any) -> None:
    version_2 = b"&AWSAccessKeyId=x&Signature=y&SignatureMethod=HmacSHA256&SignatureVersion=2"
    version_2 += b"&Timestamp=" + quote(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")).encode()
    assert with_body(Request(api, LOOK), version_2).send() == (401, "AuthFailure")
    assert Request(api, LOOK).sign(region="127", service="0").send() == (401, "AuthFailure")
    assert Request(api, LOOK).sign(region="eu-west-1").send() == (401, "AuthFailure")
    assert Request(api, LOOK).sign().send() == (200, "")
    identity = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    assert Request(api, identity).sign(service="sts").send() == (200, "")
    assert Request(api, identity).sign(service="ec2").send()[0] == 403
