"""From a signed request to the account that made it, or a refusal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from econe_api.auth import presigned, signature_v2, signature_v4
from econe_api.auth.claim import Claim
from econe_api.auth.credential import Credential
from econe_api.call import Caller
from econe_api.errors import Ec2Error
from econe_api.protocol.faults import missing_parameter
from econe_api.protocol.http import HttpRequest

_NO_SECRET = "-" * 40  # checked against when there is no such key, so that both refusals take as long
_LONGEST_KEY = 128
_VERSION_2 = ("AWSAccessKeyId", "Signature")
_GLOBAL_REGION = "us-east-1"
_GLOBAL_SERVICES = frozenset({"iam", "sts"})


@dataclass(frozen=True, slots=True)
class Policy:
    """Which signatures are taken: those of version 2, and those whose scope names another region or service.

    ``region`` is the one that a strict scope must name; None takes any scope.
    """

    version_2: bool = True
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed a request.  ``signature`` is a digest that names the signature; None when it may be used again."""

    caller: Caller
    signature: str | None


class Authenticator:
    """Checks signatures; holds no state of its own, so any number of threads may use it.

    ``lookup`` returns the credential of an access key id and its session token (None: it came without), ``clock`` the
    time as an aware datetime.
    """

    def __init__(
        self,
        lookup: Callable[[str, str | None], Credential | None],
        clock: Callable[[], datetime],
        policy: Policy = Policy(),
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._policy = policy

    def authenticate(
        self, request: HttpRequest, parameters: Mapping[str, str], services: Collection[str] = ("ec2",)
    ) -> Signed:
        """Return who signed ``request``; ``parameters`` are those of its query string and form.

        ``services`` are the names that a strict scope may give the service.  Raises :class:`Ec2Error`:
        MissingParameter (unsigned), IncompleteSignature, RequestExpired, and one and the same AuthFailure for an
        unknown key, a key that may not be used and a wrong signature.
        """
        claim = _claim(request, parameters)
        if claim.scope is None and not self._policy.version_2:
            raise Ec2Error("AuthFailure", "Signature Version 2 is switched off; sign with Version 4.", 401)
        now = self._clock()
        if not claim.earliest <= now <= claim.latest:
            raise _expired()
        self._check_scope(claim, services)
        credential = self._lookup(claim.access_key_id, claim.token) if _plausible(claim.access_key_id) else None
        expected = claim.expected(_NO_SECRET if credential is None else credential.secret)
        sent = claim.signature.encode()
        matches = [hmac.compare_digest(signature.encode(), sent) for signature in expected]
        if credential is None or not credential.active or not any(matches):
            raise Ec2Error("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        if credential.expires is not None and now > credential.expires:
            raise _expired()
        caller = Caller(
            credential.account_id,
            credential.access_key_id,
            credential.role,
            credential.user,
            temporary=credential.expires is not None,
        )
        return Signed(caller, None if claim.reusable else hashlib.sha256(sent).hexdigest()[:32])

    def _check_scope(self, claim: Claim, services: Collection[str]) -> None:
        if self._policy.region is None or claim.scope is None:
            return
        region, service = claim.scope
        if service not in services:
            wanted = " or ".join(f"'{name}'" for name in sorted(services))
            raise Ec2Error("AuthFailure", f"Credential should be scoped to correct service: {wanted}.", 401)
        everywhere = service in _GLOBAL_SERVICES and region == _GLOBAL_REGION
        if region != self._policy.region and not everywhere:
            raise Ec2Error("AuthFailure", f"Credential should be scoped to region '{self._policy.region}'.", 401)


def claimed_key(request: HttpRequest, parameters: Mapping[str, str]) -> str:
    """Return the access key id that a request names, proven or not; "" when it names none that there could be."""
    try:
        key = _claim(request, parameters).access_key_id
    except Ec2Error:
        return ""
    return key if _plausible(key) else ""


def _plausible(key: str) -> bool:
    return key.isascii() and key.isprintable() and len(key) <= _LONGEST_KEY


def _expired() -> Ec2Error:
    return Ec2Error("RequestExpired", "Request has expired.")


def _claim(request: HttpRequest, parameters: Mapping[str, str]) -> Claim:
    in_header = "authorization" in request.headers
    in_query = presigned.used(parameters)
    in_parameters = any(name in parameters for name in _VERSION_2)
    if in_header + in_query + in_parameters > 1:
        raise Ec2Error(
            "InvalidParameterCombination", "A request may be signed in the header or in the parameters, not in both"
        )
    if in_header:
        return signature_v4.claim(request)
    if in_query:
        return presigned.claim(request)
    if parameters.get("AWSAccessKeyId"):
        return signature_v2.claim(request, parameters)
    raise missing_parameter("AWSAccessKeyId")
