"""From a signed request to the account that made it, or a refusal."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from econe_api.auth import signature_v2, signature_v4
from econe_api.auth.claim import Claim
from econe_api.auth.credential import Credential
from econe_api.call import Caller
from econe_api.errors import Ec2Error
from econe_api.protocol.faults import missing_parameter
from econe_api.protocol.http import HttpRequest

WINDOW = timedelta(minutes=15)
"""How far the clocks of client and server may be apart, in both directions."""
_NO_SECRET = "-" * 40  # checked against when there is no such key, so that both refusals take as long


class Authenticator:
    """Checks signatures; holds no state of its own, so any number of threads may use it.

    ``lookup`` returns the credential of an access key id, ``clock`` the time as an aware datetime.
    """

    def __init__(self, lookup: Callable[[str], Credential | None], clock: Callable[[], datetime]) -> None:
        self._lookup = lookup
        self._clock = clock

    def authenticate(self, request: HttpRequest, parameters: Mapping[str, str]) -> Caller:
        """Return who signed ``request``; ``parameters`` are those of its query string and form.

        Raises :class:`Ec2Error`: MissingParameter (unsigned), IncompleteSignature, RequestExpired, and one and the same
        AuthFailure for an unknown key, a key that may not be used and a wrong signature.
        """
        claim = _claim(request, parameters)
        self._check_time(claim)
        credential = self._lookup(claim.access_key_id) if claim.access_key_id.isprintable() else None
        expected = claim.expected(_NO_SECRET if credential is None else credential.secret)
        sent = claim.signature.encode()
        matches = [hmac.compare_digest(signature.encode(), sent) for signature in expected]
        if credential is None or not credential.active or not any(matches):
            raise Ec2Error("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        return Caller(account_id=credential.account_id, access_key_id=credential.access_key_id)

    def _check_time(self, claim: Claim) -> None:
        now = self._clock()
        if claim.signed_at is not None and abs(now - claim.signed_at) > WINDOW:
            raise Ec2Error("RequestExpired", "Request has expired.")
        if claim.expires_at is not None and not now <= claim.expires_at <= now + WINDOW:
            raise Ec2Error("RequestExpired", "Request has expired.")


def _claim(request: HttpRequest, parameters: Mapping[str, str]) -> Claim:
    in_header = "authorization" in request.headers
    in_parameters = "AWSAccessKeyId" in parameters
    if in_header and (in_parameters or "Signature" in parameters):
        raise Ec2Error(
            "InvalidParameterCombination", "A request may be signed in the header or in the parameters, not in both"
        )
    if in_header:
        return signature_v4.claim(request)
    if in_parameters:
        return signature_v2.claim(request, parameters)
    raise missing_parameter("AWSAccessKeyId")
