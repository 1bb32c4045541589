"""AWS Signature Version 2 in the parameters of a GET or a POST, as clients before 2012 sign.

Source: "Signature Version 2 signing process" in the AWS general reference.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from econe_api.auth.claim import WINDOW, Claim, incomplete, shifted
from econe_api.errors import Ec2Error
from econe_api.protocol.faults import invalid_value, missing_parameter
from econe_api.protocol.http import HttpRequest

_DIGESTS = {"HmacSHA256": hashlib.sha256, "HmacSHA1": hashlib.sha1}


def claim(request: HttpRequest, parameters: Mapping[str, str]) -> Claim:
    """Return what the ``parameters`` (query string and form together) of ``request`` claim.

    Raises :class:`Ec2Error` when a part of the signature is missing or unknown.
    """
    for name in ("Signature", "SignatureVersion", "SignatureMethod"):
        if not parameters.get(name):
            raise missing_parameter(name)
    if parameters["SignatureVersion"] != "2":
        raise invalid_value("SignatureVersion", parameters["SignatureVersion"], "Expecting 2.")
    digest = _DIGESTS.get(parameters["SignatureMethod"])
    if digest is None:
        raise invalid_value("SignatureMethod", parameters["SignatureMethod"], "Expecting HmacSHA256 or HmacSHA1.")
    if ("Timestamp" in parameters) == ("Expires" in parameters):
        raise Ec2Error("InvalidParameterCombination", "The request must contain exactly one of: Timestamp, Expires")
    path = request.path
    query = _canonical(parameters)

    def expected(secret: str) -> tuple[str, ...]:
        key = secret.encode()
        texts = (f"{request.method}\n{host}\n{path}\n{query}".encode() for host in _hosts(request))
        return tuple(base64.b64encode(hmac.new(key, text, digest).digest()).decode() for text in texts)

    name = "Timestamp" if "Timestamp" in parameters else "Expires"
    moment = _moment(name, parameters[name])
    return Claim(
        access_key_id=parameters["AWSAccessKeyId"],
        earliest=shifted(moment, -WINDOW),
        latest=shifted(moment, WINDOW if name == "Timestamp" else timedelta(0)),
        signature=parameters["Signature"],
        expected=expected,
        token=parameters.get("SecurityToken"),
    )


def _hosts(request: HttpRequest) -> tuple[str, ...]:
    """Return what clients take for the host: all sign it in lower case, boto 2 signs it without the port."""
    host = request.headers.get("host", "").lower()
    if not host:
        raise incomplete("The request must contain the header Host.")
    name, colon, port = host.rpartition(":")
    return (host, name) if colon and port.isdigit() else (host,)


def _canonical(parameters: Mapping[str, str]) -> str:
    names = sorted((name for name in parameters if name != "Signature"), key=str.encode)
    return "&".join(f"{quote(name, safe='-_.~')}={quote(parameters[name], safe='-_.~')}" for name in names)


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid_value(name, text, "Expecting a date such as 2012-10-16T20:00:13Z.") from error
