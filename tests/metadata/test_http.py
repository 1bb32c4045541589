"""Bytes of a request: whole, in pieces, and made to hurt."""

from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.metadata.http import LONGEST_HEAD, BadRequestError, Response, take

PLAIN = b"GET /latest/?a=b HTTP/1.1\r\nHost: 169.254.169.254\r\nX-Any:  thing \r\n\r\n"


@settings(max_examples=50)
@given(st.lists(st.integers(1, 40), max_size=8))
def test_a_request_is_taken_when_it_is_whole(cuts: list[int]) -> None:
    buffer, rest = bytearray(), PLAIN + PLAIN
    seen = []
    for cut in [*cuts, len(rest)]:
        buffer += rest[:cut]
        rest = rest[cut:]
        while (request := take(buffer)) is not None:
            seen.append(request)
    assert [(one.method, one.path, one.headers["x-any"], one.keep) for one in seen] == [
        ("GET", "/latest/", "thing", True)
    ] * 2
    assert not buffer


def test_a_body_is_passed_over() -> None:
    buffer = bytearray(b"PUT /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
    assert take(buffer) is None
    buffer += b"loGET"
    request = take(buffer)
    assert request is not None
    assert (request.method, bytes(buffer)) == ("PUT", b"GET")


@pytest.mark.parametrize(
    ("line", "keep"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_who_goes_on(line: bytes, keep: bool) -> None:
    request = take(bytearray(line))
    assert request is not None
    assert request.keep is keep


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET http://169.254.169.254/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1025\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"GET /" + b"x" * LONGEST_HEAD, 431),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as refused:
        take(bytearray(text))
    assert refused.value.status == status


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    buffer = bytearray(data + b"\r\n\r\n")
    try:
        take(buffer)
    except BadRequestError as error:
        assert error.status >= HTTPStatus.BAD_REQUEST


def test_a_response() -> None:
    response = Response(HTTPStatus.OK, b"body", (("A", "b"),))
    head, _, body = response.encode(keep=False).partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert {b"A: b", b"Content-Length: 4", b"Connection: close"} <= set(head.splitlines())
    assert response.encode(keep=True, head_only=True).endswith(b"keep-alive\r\n\r\n")
