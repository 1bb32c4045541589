"""AWS's own test suite for Signature Version 4: every request of it is accepted, none with another secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from econe_api.auth.authenticator import Authenticator
from econe_api.auth.credential import Credential
from econe_api.errors import Ec2Error
from econe_api.protocol.http import HttpRequest

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
VECTORS = json.loads((Path(__file__).parent / "vectors" / "sigv4.json").read_text())["vectors"]
TOKEN = VECTORS["post-sts-token/post-sts-header-before"]["request"].rpartition("Token:")[2]
SHORT_TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"


def parsed(name: str) -> HttpRequest:
    """Return the request as the server hands it over: bytes as latin-1, repeated and folded headers joined."""
    head, _, body = VECTORS[name]["request"].encode().decode("latin-1").partition("\n\n")
    line, *lines = head.split("\n")
    method, _, target = line.removesuffix(" HTTP/1.1").partition(" ")
    headers: dict[str, str] = {}
    for text in lines:
        key, _, value = text.partition(":")
        if text.startswith(" "):
            last = next(reversed(headers))
            headers[last] += " " + text.strip()
        elif key.lower() in headers:
            headers[key.lower()] += "," + value
        else:
            headers[key.lower()] = value
    headers["authorization"] = VECTORS[name]["authorization"]
    if name == "get-vanilla-with-session-token":  # its file leaves out what its signature has
        headers["x-amz-security-token"] = SHORT_TOKEN
    path, _, query = target.partition("?")
    return HttpRequest(method, path, query, headers, body.encode("latin-1"), "192.0.2.1")


def account(name: str, secret: str) -> str:
    def lookup(key: str, token: str | None) -> Credential:
        assert token in ((TOKEN, SHORT_TOKEN) if "security-token" in VECTORS[name]["authorization"] else (None,))
        return Credential(key, "123456789012", secret, active=True)

    clock = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    return Authenticator(lookup, lambda: clock).authenticate(parsed(name), {}).caller.account_id


def test_they_are_all_there() -> None:
    assert len(VECTORS) == 34


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_vector(name: str) -> None:
    assert account(name, SECRET) == "123456789012"
    with pytest.raises(Ec2Error) as caught:
        account(name, SECRET[:-1] + "Z")
    assert caught.value.code == "AuthFailure"
