"""AWS Signature Version 4 in the query string: URLs that somebody signed for somebody else to use.

Source: "Add authentication information to the query string" in the AWS IAM user guide.  The signature stands in the
query string only, all of which it covers but itself; a form body is covered by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from econe_api.auth.claim import WINDOW, Claim, incomplete, shifted
from econe_api.auth.signature_v4 import ALGORITHM, authorization_of, check_coverage, signer, stamped
from econe_api.protocol import form
from econe_api.protocol.http import HttpRequest

LONGEST = 7 * 24 * 3600
"""Seconds that a signed URL may be good for: AWS's limit."""
PREFIX = "X-Amz-"
TOKEN = f"{PREFIX}Security-Token"
_SIGNATURE = f"{PREFIX}Signature"
_NEEDED = tuple(f"{PREFIX}{name}" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders"))
PARAMETERS = frozenset({*_NEEDED, _SIGNATURE, TOKEN})
"""Every parameter that belongs to the signature."""


def used(parameters: Mapping[str, str]) -> bool:
    """Tell whether the request carries any part of a signature of this kind."""
    return not PARAMETERS.isdisjoint(parameters)


def claim(request: HttpRequest) -> Claim:
    """Return what the query string of ``request`` claims.

    Raises :class:`Ec2Error` when a part is missing or wrong, when a header that must be signed is not, and when the
    lifetime is not one to 604,800 seconds.
    """
    parameters = form.decode(request.query.encode("latin-1"))
    for name in (*_NEEDED, _SIGNATURE):
        if not parameters.get(name):
            raise incomplete(f"The query string requires the parameter '{name}'.")
    if parameters[f"{PREFIX}Algorithm"] != ALGORITHM:
        raise incomplete(f"{PREFIX}Algorithm must be {ALGORITHM}.")
    text = {name: parameters[f"{PREFIX}{name}"] for name in ("Credential", "SignedHeaders")}
    if not all(value.isascii() for value in text.values()):
        raise incomplete("The signature names a key or headers that there cannot be.")
    authorization = authorization_of(text["Credential"], text["SignedHeaders"], parameters[_SIGNATURE])
    check_coverage(authorization.signed_headers, request.headers)
    try:
        moment = stamped(parameters[f"{PREFIX}Date"])
    except ValueError as error:
        raise incomplete(f"{PREFIX}Date must be of the form YYYYMMDDTHHMMSSZ.") from error
    signed = "&".join(field for field in request.query.split("&") if field.partition("=")[0] != _SIGNATURE)
    return Claim(
        authorization.access_key_id,
        shifted(moment, -WINDOW),
        shifted(moment, timedelta(seconds=_lifetime(parameters[f"{PREFIX}Expires"]))),
        authorization.signature,
        signer(request, authorization, moment, signed),
        token=parameters.get(TOKEN),
        scope=authorization.scope[1:3],
        reusable=True,
    )


def _lifetime(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST)) else 0
    if not 1 <= seconds <= LONGEST:
        raise incomplete(f"{PREFIX}Expires must be a number of seconds from 1 to {LONGEST}.")
    return seconds
