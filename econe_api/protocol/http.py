"""HTTP requests as WSGI servers hand them over (PEP 3333), read once and within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from econe_api.errors import Ec2Error

#: What the server gives to a WSGI application.
Environ = Mapping[str, Any]
_UNPREFIXED = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}
_SAFE_PATH = "/!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it was sent.

    ``path`` and ``query`` keep their percent-encoding, ``headers`` have lower-case names; repeated ones are joined
    with commas.  Text of headers is latin-1.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str


def read(environ: Environ, body_limit: int) -> HttpRequest:
    """Read the whole request.

    Raises :class:`Ec2Error` for methods other than GET and POST (405), for a body over ``body_limit`` bytes (413) and
    for one that ends early (400).
    """
    method = environ["REQUEST_METHOD"]
    if method not in ("GET", "POST"):
        raise Ec2Error("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
    return HttpRequest(
        method=method,
        path=_raw_path(environ),
        query=environ.get("QUERY_STRING", ""),
        headers=dict(_headers(environ)),
        body=_body(environ, body_limit),
        source_ip=environ.get("REMOTE_ADDR", ""),
    )


def _headers(environ: Environ) -> Iterable[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].lower().replace("_", "-"), value
        elif key in _UNPREFIXED and value:
            yield _UNPREFIXED[key], value


def _raw_path(environ: Environ) -> str:
    """Return the path as sent where the server keeps it (gunicorn: ``RAW_URI``), else encoded anew."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
    if raw.startswith("/"):
        return raw.partition("?")[0]
    decoded = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return quote(decoded.encode("latin-1"), safe=_SAFE_PATH) or "/"


def _body(environ: Environ, limit: int) -> bytes:
    declared = environ.get("CONTENT_LENGTH") or None
    if declared is None and not environ.get("wsgi.input_terminated"):
        return b""  # nobody says where the body ends, so there is none
    length = limit + 1 if declared is None else _length(declared)
    if declared is not None and length > limit:
        raise _too_large(limit)
    body = _read(environ, length)
    if declared is None and len(body) > limit:
        raise _too_large(limit)
    if declared is not None and len(body) != length:
        raise Ec2Error("IncompleteBody", "The body is shorter than the Content-Length header says.")
    return body


def _read(environ: Environ, length: int) -> bytes:
    try:
        return bytes(environ["wsgi.input"].read(length))
    except Exception as error:  # every server has errors of its own for what breaks off or is wrongly chunked
        raise Ec2Error("IncompleteBody", "The body could not be read to its end.") from error


def _length(declared: str) -> int:
    if not (declared.isascii() and declared.isdigit() and len(declared) < 19):
        raise Ec2Error("InvalidRequest", "The Content-Length header is not a number.")
    return int(declared)


def _too_large(limit: int) -> Ec2Error:
    return Ec2Error("RequestEntityTooLarge", f"The request has more than {limit} bytes.", 413)
