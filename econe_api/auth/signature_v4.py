"""AWS Signature Version 4: what is signed, and the Authorization header that carries it.

Source: "Create a signed AWS API request" in the AWS IAM user guide.  The scope of the credential (region, service) is
taken as sent: clients that were pointed at another endpoint derive odd ones from its host name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes

from econe_api.auth.claim import WINDOW, Claim, incomplete, shifted
from econe_api.errors import Ec2Error
from econe_api.protocol.http import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
STAMP = "%Y%m%dT%H%M%SZ"
_stamp = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_PARTS = ("Credential", "SignedHeaders", "Signature")


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a version 4 signature says of itself, wherever it stands."""

    access_key_id: str
    scope: tuple[str, str, str, str]  # date, region, service, "aws4_request"
    signed_headers: tuple[str, ...]
    signature: str


def claim(request: HttpRequest) -> Claim:
    """Return what the Authorization header of ``request`` claims.

    Raises :class:`Ec2Error` when a part is missing, when a header that must be signed is not, or when
    ``x-amz-content-sha256`` is not the hash of the body.
    """
    authorization = _parse(request.headers["authorization"])
    check_coverage(authorization.signed_headers, request.headers)
    moment = _moment(request.headers)
    return Claim(
        authorization.access_key_id,
        shifted(moment, -WINDOW),
        shifted(moment, WINDOW),
        authorization.signature,
        signer(request, authorization, moment, request.query),
        token=request.headers.get("x-amz-security-token"),
        scope=authorization.scope[1:3],
    )


def signer(
    request: HttpRequest, authorization: Authorization, moment: datetime, query: str
) -> Callable[[str], tuple[str, ...]]:
    """Return what makes the signature of ``request`` with a secret; ``query`` is as much of it as is signed.

    Raises :class:`Ec2Error` when the date of the scope is another one than ``moment``'s and when
    ``x-amz-content-sha256`` is not the hash of the body: there are no unsigned bodies here.
    """
    stamp = moment.strftime(STAMP)
    if authorization.scope[0] != stamp[:8]:
        raise incomplete("The date of the credential scope is not the date of the request.")
    digest = hashlib.sha256(request.body).hexdigest()
    if request.headers.get("x-amz-content-sha256", digest) != digest:
        raise Ec2Error("AuthFailure", "The header x-amz-content-sha256 is not the hash of the body.", 401)
    canonical = _canonical_request(request, query, authorization.signed_headers, digest)
    to_sign = "\n".join(
        (ALGORITHM, stamp, "/".join(authorization.scope), hashlib.sha256(canonical.encode("latin-1")).hexdigest())
    )

    def expected(secret: str) -> tuple[str, ...]:
        key = f"AWS4{secret}".encode()
        for part in authorization.scope:
            key = _sign(key, part)
        return (_sign(key, to_sign).hex(),)

    return expected


def _parse(header: str) -> Authorization:
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise incomplete(f"The Authorization header must begin with {ALGORITHM}.")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        if name in parts:
            raise incomplete(f"The Authorization header has more than one {name}.")
        parts[name] = value
    for name in _PARTS:
        if not parts.get(name):
            raise incomplete(f"Authorization header requires '{name}' parameter.")
    return authorization_of(parts["Credential"], parts["SignedHeaders"], parts["Signature"])


def authorization_of(credential: str, signed_headers: str, signature: str) -> Authorization:
    """Take the three parts of a signature apart; :class:`Ec2Error` when the credential has no scope."""
    access_key_id, *scope = credential.split("/")
    if len(scope) != 4 or scope[3] != "aws4_request" or not access_key_id:
        raise incomplete("Credential must be of the form KEY/DATE/REGION/SERVICE/aws4_request.")
    return Authorization(
        access_key_id, (scope[0], scope[1], scope[2], scope[3]), tuple(signed_headers.split(";")), signature
    )


def check_coverage(signed: tuple[str, ...], present: Mapping[str, str]) -> None:
    """See that ``signed`` names the host, every x-amz- header that is ``present``, each once and nothing else."""
    if "host" not in signed:
        raise incomplete("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if len(set(signed)) != len(signed):
        raise incomplete("A header is in SignedHeaders more than once.")
    for name in signed:
        if name not in present:
            raise incomplete("A header of SignedHeaders is not in the request.")
    for name in present:
        if name.startswith("x-amz-") and name not in signed:
            raise incomplete(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _moment(headers: Mapping[str, str]) -> datetime:
    text = headers.get("x-amz-date") or headers.get("date")
    if text is None:
        raise incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    try:
        if _stamp.fullmatch(text):
            return stamped(text)
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise incomplete("The date of the request must be of the form YYYYMMDDTHHMMSSZ.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def stamped(text: str) -> datetime:
    """Return the moment of a text such as ``20150830T123600Z``; ValueError when it is no such text."""
    if not _stamp.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _canonical_request(request: HttpRequest, query: str, signed: tuple[str, ...], digest: str) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed)
    lines = (
        request.method,
        canonical_path(request.path),
        canonical_query(query),
        headers,
        ";".join(signed),
        digest,
    )
    return "\n".join(lines)


def canonical_path(path: str) -> str:
    """Return ``path`` (as sent) without empty and dot segments, encoded once more, as the rules want."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    normal = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(normal.encode("latin-1"), safe="/~")


def canonical_query(query: str) -> str:
    """Return ``query`` (as sent) with every name and value encoded alike, sorted."""
    fields = (field.partition("=") for field in query.split("&") if field)
    pairs = sorted((_encode(name), _encode(value)) for name, _, value in fields)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="-_.~")


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("latin-1"), "sha256")
