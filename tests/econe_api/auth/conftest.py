"""Requests signed by botocore, the reference, and an authenticator that knows one key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from econe_api.auth.authenticator import Authenticator, Policy
from econe_api.auth.credential import Credential
from econe_api.protocol import form
from econe_api.protocol.http import HttpRequest

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ACCOUNT = "123456789012"
PARAMETERS = {"Action": "DescribeTags", "Version": "2016-11-15", "Filter.1.Value.1": "a b+c/~é*"}


class Signer:
    """Signs as a client would, and gives the request as the server receives it."""

    key = KEY
    secret = SECRET
    account = ACCOUNT

    def v4(
        self,
        method: str = "POST",
        url: str = "http://api.example:8773/services/Cloud/",
        secret: str = SECRET,
        key: str = KEY,
        region: str = "us-east-1",
        service: str = "ec2",
        headers: dict[str, str] | None = None,
    ) -> HttpRequest:
        encoded = urlencode(PARAMETERS)
        if method == "GET":
            url = f"{url}?{encoded.replace('+', '%20')}"
        request = AWSRequest(method=method, url=url, data=encoded if method == "POST" else None, headers=headers or {})
        request.headers["Host"] = urlsplit(url).netloc
        botocore.auth.SigV4Auth(Credentials(key, secret), service, region).add_auth(request)
        sent = {name.lower(): value for name, value in request.headers.items()}
        parts = urlsplit(url)
        body = encoded.encode() if method == "POST" else b""
        return HttpRequest(method, parts.path, parts.query, sent, body, "192.0.2.1")

    def v2(self, method: str = "POST", url: str = "http://api.example:8773/", secret: str = SECRET) -> HttpRequest:
        request = AWSRequest(method=method, url=url)
        params = dict(PARAMETERS)
        if method == "POST":
            request.data = params
        else:
            request.params = params
        botocore.auth.SigV2Auth(Credentials(KEY, secret)).add_auth(request)
        encoded = urlencode(params)
        parts = urlsplit(url)
        query, body = ("", encoded.encode()) if method == "POST" else (encoded, b"")
        return HttpRequest(method, parts.path, query, {"host": parts.netloc}, body, "192.0.2.1")


class Gate:
    """The authenticator under a clock that tests set."""

    def __init__(self) -> None:
        self.credentials = {KEY: Credential(KEY, ACCOUNT, SECRET, active=True)}
        self.skew = timedelta(0)
        self.lookups: list[str] = []
        self.tokens: list[str | None] = []
        self.policy = Policy()

    def _lookup(self, key: str, token: str | None) -> Credential | None:
        self.lookups.append(key)
        self.tokens.append(token)
        return self.credentials.get(key)

    def disable(self) -> None:
        self.credentials[KEY] = replace(self.credentials[KEY], active=False)

    def __call__(self, request: HttpRequest) -> str:
        parameters = form.decode(request.query.encode("latin-1"), request.body if request.method == "POST" else b"")
        authenticator = Authenticator(self._lookup, self.clock, self.policy)
        signed = authenticator.authenticate(request, parameters)
        assert signed.caller.access_key_id in self.credentials
        self.signature = signed.signature
        return signed.caller.account_id

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.skew


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def header() -> Callable[[HttpRequest, str, str | None], HttpRequest]:
    """Set a header of a signed request, or take it away (None)."""

    def change(request: HttpRequest, name: str, value: str | None) -> HttpRequest:
        headers = {key: text for key, text in request.headers.items() if key != name}
        return replace(request, headers=headers if value is None else {**headers, name: value})

    return change
