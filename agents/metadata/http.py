"""As much of HTTP/1.1 (RFC 9112) as a metadata client speaks.  Pure: bytes in, requests out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

LONGEST_HEAD = 8192
"""Bytes of request line and headers."""
LONGEST_BODY = 1024
"""Bytes of a body; nothing that is asked here has one."""
_LINE = re.compile(rb"([A-Z]{1,16}) (\S{1,2048}) HTTP/1\.([01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BadRequestError(Exception):
    """The bytes are no request that is answered; ``status`` says why.  The connection is of no use any more."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower case.  ``keep`` = the client wants to go on using the connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    keep: bool


@dataclass(frozen=True, slots=True)
class Response:
    """One response; ``hops`` is how many hops its packets may make, None = any number."""

    status: HTTPStatus
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = "text/plain"
    hops: int | None = None

    def encode(self, *, keep: bool, head_only: bool = False) -> bytes:
        """The bytes to send."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", "Server: Sluice"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Type: {self.kind}", f"Content-Length: {len(self.body)}"]
        lines += ["Connection: " + ("keep-alive" if keep else "close"), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if head_only else self.body)


def error(status: HTTPStatus, *headers: tuple[str, str]) -> Response:
    """A response that says what is wrong, as EC2 puts it."""
    title = f"{status.value} - {status.phrase}"
    body = f'<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>{title}</title></head>'
    return Response(status, f"{body}<body><h1>{title}</h1></body></html>\n".encode(), headers, "text/html")


def take(buffer: bytearray) -> Request | None:
    """Take the first request out of ``buffer``; None = it has not come whole.  Raises :class:`BadRequestError`."""
    while buffer[:2] == b"\r\n":  # RFC 9112, section 2.2
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if end < 0:
        if len(buffer) >= LONGEST_HEAD:
            raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None
    line, *fields = bytes(buffer[:end]).split(b"\r\n")
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    headers = _headers(fields)
    length = _body_length(headers)
    if len(buffer) < end + 4 + length:
        return None
    del buffer[: end + 4 + length]
    wish = headers.get("connection", "").lower()
    keep = "keep-alive" in wish if found[3] == b"0" else "close" not in wish
    path = found[2].decode("latin-1").partition("?")[0]
    if not path.startswith("/"):
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    return Request(found[1].decode(), path, headers, keep)


def _headers(fields: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        key = name.decode().lower()
        if key in headers:  # two lengths, or two tokens: whoever sends that is up to something
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        headers[key] = value.decode("latin-1").strip()
    return headers


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestError(HTTPStatus.NOT_IMPLEMENTED)
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    if int(text) > LONGEST_BODY:
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(text)
