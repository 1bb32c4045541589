"""What a request of an instance is answered: IMDSv1 and IMDSv2 ("Use the Instance Metadata Service").  Pure."""

from __future__ import annotations

from http import HTTPStatus

from agents.metadata.http import Request, Response, error
from agents.metadata.tokens import LONGEST_LIFE, Tokens
from agents.metadata.tree import VERSIONS, Facts, look_up

_TOKEN = "x-aws-ec2-metadata-token"  # noqa: S105 - the name of a header
_LIFE = "x-aws-ec2-metadata-token-ttl-seconds"


def answer(request: Request, facts: Facts, tokens: Tokens, now: float) -> Response:
    """Answer ``request`` of the instance with these ``facts``."""
    if not facts["endpoint"]:
        return error(HTTPStatus.FORBIDDEN)
    if request.method == "PUT":
        return _new_token(request, facts, tokens, now)
    if request.method not in ("GET", "HEAD"):
        return error(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD, PUT"))
    token = request.headers.get(_TOKEN)
    good = facts["tokens"] != "required" if token is None else tokens.good(token, facts["instance"], now)
    return _content(request, facts) if good else error(HTTPStatus.UNAUTHORIZED)


def _content(request: Request, facts: Facts) -> Response:
    if _is_token_path(request.path):
        return error(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "PUT"))
    content = look_up(facts, request.path)
    if content is None:
        return error(HTTPStatus.NOT_FOUND)
    is_user_data = request.path.rstrip("/").endswith("/user-data")
    return Response(HTTPStatus.OK, content, kind="application/octet-stream" if is_user_data else "text/plain")


def _new_token(request: Request, facts: Facts, tokens: Tokens, now: float) -> Response:
    if not _is_token_path(request.path):
        return error(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
    if "x-forwarded-for" in request.headers:  # a proxy that was talked into it
        return error(HTTPStatus.FORBIDDEN)
    text = request.headers.get(_LIFE, "")
    life = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= life <= LONGEST_LIFE:
        return error(HTTPStatus.BAD_REQUEST)
    token = tokens.make(facts["instance"], life, now)
    told = ((_LIFE.title(), str(life)),)
    return Response(HTTPStatus.OK, token.encode(), told, hops=facts["hop_limit"])


def _is_token_path(path: str) -> bool:
    parts = [part for part in path.split("/") if part]
    return len(parts) == 3 and parts[0] in VERSIONS and parts[1:] == ["api", "token"]
