"""Reading what a WSGI server hands over."""

from __future__ import annotations

import io
from typing import Any

import pytest

from econe_api.errors import Ec2Error
from econe_api.protocol.http import HttpRequest, read


def request(body: bytes = b"", **environ: Any) -> HttpRequest:
    base = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    return read(base | environ, 100)


def refused(body: bytes = b"", **environ: Any) -> tuple[int, str]:
    with pytest.raises(Ec2Error) as caught:
        request(body, **environ)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("length", ["-1", "\u0661", "1e3", "+1", " 1"])
def test_malformed_length(length: str) -> None:
    assert refused(b"x", CONTENT_LENGTH=length) == (400, "InvalidRequest")


@pytest.mark.parametrize("length", ["101", "9" * 18, "9" * 5000])
def test_too_long_is_refused_unread(length: str) -> None:
    assert refused(CONTENT_LENGTH=length, **{"wsgi.input": None})[0] == (413 if len(length) < 19 else 400)


def test_body_bounds() -> None:
    assert request(b"x" * 100).body == b"x" * 100
    assert refused(b"x", CONTENT_LENGTH="2") == (400, "IncompleteBody")
    assert request(b"x", CONTENT_LENGTH="").body == b""
    endless = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert request(b"x" * 100, **endless).body == b"x" * 100
    assert refused(b"x" * 101, **endless) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize("method", ["PUT", "get", "", "DELETE"])
def test_methods(method: str) -> None:
    assert refused(REQUEST_METHOD=method) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"RAW_URI": "/a%2Fb//?x=/y"}, "/a%2Fb//"),
        ({"REQUEST_URI": "/a%2fb"}, "/a%2fb"),
        ({"RAW_URI": "http://host/a", "PATH_INFO": "/a"}, "/a"),
        ({"RAW_URI": "*", "PATH_INFO": "*"}, "*"),
        ({"PATH_INFO": "/a b/\xc3\xa9%", "SCRIPT_NAME": "/s"}, "/s/a%20b/%C3%A9%25"),
        ({"PATH_INFO": ""}, "/"),
    ],
)
def test_paths_stay_as_sent(environ: dict[str, str], path: str) -> None:
    assert request(**environ).path == path


def test_headers() -> None:
    environ = {"HTTP_X_AMZ_DATE": "now", "HTTP_HOST": "h:1", "CONTENT_TYPE": "text/x", "REMOTE_ADDR": "192.0.2.1"}
    read_request = request(b"x", **environ)
    assert read_request.headers == {"x-amz-date": "now", "host": "h:1", "content-type": "text/x", "content-length": "1"}
    assert read_request.source_ip == "192.0.2.1"
