"""The API as a plain WSGI callable: authenticate, parse, act in one transaction, tell, record, answer."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol

from econe_api.actions.identity import IDENTITY
from econe_api.auth.authenticator import Authenticator, Policy, Signed, claimed_key
from econe_api.auth.credential import Credential
from econe_api.call import Action, Call, Caller, Role
from econe_api.config import Config
from econe_api.errors import Ec2Error
from econe_api.protocol import answer, form, http
from econe_api.protocol.request import ApiRequest
from econe_api.protocol.services import EC2, Service, service_of
from econe_api.store.audit_batch import AuditBatch
from econe_api.store.audit_log import Entry
from econe_api.store.errors import StoreUnavailableError
from econe_api.store.transaction import Transaction
from telemetry import logs

_log = logging.getLogger(__name__)
_access = logging.getLogger("econe_api.access")

GRACE = timedelta(seconds=30)
"""How long after it first came a signature may come again: clients that do the same twice in a second sign it alike."""

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class StoreLike(Protocol):
    """What the API needs of :class:`econe_api.store.store.Store`."""

    def read(self, call: Call) -> AbstractContextManager[Transaction]:
        """Begin a transaction that reads."""

    def write(self, call: Call) -> AbstractContextManager[Transaction]:
        """Begin a transaction that writes; it commits at the end and rolls back on an exception."""

    def credential(self, access_key_id: str, token: str | None = None) -> Credential | None:
        """Look up an access key, a temporary one by its session token as well."""

    def entry(self, call: Call, code: str) -> Entry:
        """Return what the audit log shall know of a call that has no write transaction."""

    def record(self, entries: Sequence[Entry]) -> None:
        """Add to the audit log."""


class NotifierLike(Protocol):
    """What the API needs of :class:`econe_api.notify.Notifier`."""

    def wake(self, instances: list[str], request: str) -> None:
        """Have the compute worker begin with ``instances``, for the call ``request``."""

    def installed(self, revision: int, request: str = "") -> bool:
        """Wait, bounded, until ``revision``, which the call ``request`` made, is enforced."""

    def can_start(self) -> bool:
        """Tell whether what runs instances is there."""

    def settle(self, instances: list[str]) -> bool:
        """Wait, bounded, until ``instances`` have settled."""


class Meter(Protocol):
    """Hears of every call; what it hears is :class:`econe_api.call_metrics.CallMetrics`'s."""

    def began(self) -> None:
        """A call has come."""

    def enforced(self, action: str, seconds: float, *, everywhere: bool) -> None:
        """The wait for the data plane is over."""

    def answered(self, action: str, code: str, seconds: float) -> None:
        """A call is answered."""


class NoMeter:
    """Counts nothing."""

    def began(self) -> None:
        """Do nothing."""

    def enforced(self, action: str, seconds: float, *, everywhere: bool) -> None:
        """Do nothing."""

    def answered(self, action: str, code: str, seconds: float) -> None:
        """Do nothing."""


@dataclass(slots=True)
class _Trace:
    """What the logs say about a call; filled as it becomes known.  ``recorded``: the audit log has it already."""

    request_id: str
    source: str = ""
    account: str = ""
    access_key: str = ""
    action: str = ""
    code: str = ""
    signature: str | None = None
    invocation: str | None = None
    service: Service = EC2
    recorded: bool = False
    started: float = field(default_factory=time.perf_counter)

    @property
    def call(self) -> Call:
        """As much as is known of the call."""
        caller = Caller(self.account, self.access_key)
        return Call(self.action, {}, caller, self.request_id, self.source, self.signature, self.invocation)


def utc_now() -> datetime:
    """Return the time now, aware."""
    return datetime.now(UTC)


class Application:
    """The EC2 API over a store; safe to call from many threads at once.

    ``actions`` maps action names to what they do.  Every answer is EC2's XML, errors included: nothing that a client
    sends makes this raise.  Every call goes to the audit log, whatever becomes of it.
    """

    def __init__(
        self,
        store: StoreLike,
        actions: Mapping[str, Action],
        config: Config,
        notifier: NotifierLike,
        clock: Callable[[], datetime] = utc_now,
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._meter: Meter = NoMeter() if meter is None else meter
        self._actions = {**IDENTITY, EC2.name: actions}
        self._body_limit = config.api.body_limit
        self._notifier = notifier
        policy = Policy(config.api.signature_v2, config.region if config.api.strict_scope else None)
        self._authenticator = Authenticator(store.credential, clock, policy)
        self._batch = AuditBatch(store.record)

    def flush(self) -> None:
        """Write what the audit log has yet to get, now."""
        self._batch.flush()

    def close(self) -> None:
        """Write what the audit log has yet to get.  Called once, when no call is under way any more."""
        self._batch.close()

    def __call__(self, environ: http.Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        trace = _Trace(str(uuid.uuid4()), source=environ.get("REMOTE_ADDR", ""))
        self._meter.began()
        with logs.belongs_to(trace.request_id):
            return self._serve(environ, start_response, trace)

    def _serve(self, environ: http.Environ, start_response: StartResponse, trace: _Trace) -> Iterable[bytes]:
        status, document = self._respond(environ, trace)
        headers = [
            ("Content-Type", answer.CONTENT_TYPE),
            ("Content-Length", str(len(document))),
            ("x-amzn-RequestId", trace.request_id),
        ]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, POST"))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        if not trace.recorded:
            self._batch.add(self._store.entry(trace.call, trace.code))
        seconds = time.perf_counter() - trace.started
        _log_access(trace, status, seconds)
        self._meter.answered(trace.action, trace.code, seconds)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else document]

    def _respond(self, environ: http.Environ, trace: _Trace) -> tuple[int, bytes]:
        try:
            return 200, self._answer(environ, trace)
        except Ec2Error as error:
            refusal = error
        except StoreUnavailableError as error:
            _log.error("%s: %s", trace.request_id, error)
            refusal = _unavailable()
        except Exception:
            _log.exception("%s: %s failed", trace.request_id, trace.action or "request")
            refusal = Ec2Error("InternalError", f"An internal error has occurred (request {trace.request_id})", 500)
        refusal = trace.service.translated(refusal)
        trace.code = refusal.code
        return refusal.status, trace.service.failure(refusal, trace.request_id)

    def _answer(self, environ: http.Environ, trace: _Trace) -> bytes:
        request = http.read(environ, self._body_limit)
        sources = (request.query.encode("latin-1"), request.body if request.method == "POST" else b"")
        parameters = form.decode(*sources)
        trace.service = service_of(parameters)
        signed = self._authenticate(request, parameters, trace)
        trace.action = trace.service.parse_action(parameters)
        action = self._actions[trace.service.name].get(trace.action)
        if action is None:
            raise Ec2Error("UnsupportedOperation", f"The operation {trace.action} is not supported by this service.")
        if action.mutates:
            trace.signature, trace.invocation = signed.signature, _invocation(request)
            if signed.caller.role is Role.READ_ONLY:
                raise Ec2Error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        parsed = trace.service.parse(parameters)
        return self._act(replace(trace.call, params=parsed.params, caller=signed.caller), action, parsed, trace)

    def _authenticate(self, request: http.HttpRequest, parameters: Mapping[str, str], trace: _Trace) -> Signed:
        try:
            signed = self._authenticator.authenticate(request, parameters, trace.service.scopes)
        except Ec2Error:
            trace.access_key = claimed_key(request, parameters)
            raise
        trace.account, trace.access_key = signed.caller.account_id, signed.caller.access_key_id
        return signed

    def _act(self, call: Call, action: Action, parsed: ApiRequest, trace: _Trace) -> bytes:
        """Prepare, run the handler in one transaction, then wait for what it brought about.

        The answer is rendered before the commit, so that nothing that can fail comes after it.
        """
        if action.starts and not self._notifier.can_start():
            raise _unavailable()
        call = action.prepared(call)
        begin = self._store.write if action.mutates else self._store.read
        with begin(call) as transaction:
            if action.mutates:
                _refuse_replay(call, transaction)
            output = action.handler(call, transaction)
            document = trace.service.success(parsed, call.request_id, output)
            if call.params.get("DryRun"):
                raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        trace.recorded = action.mutates
        awaited = [*transaction.awaited, *(action.settles(output) if action.settles is not None else ())]
        if awaited:
            self._notifier.wake(awaited, call.request_id)
        if transaction.revision is not None:
            everywhere = self._notifier.installed(transaction.revision, call.request_id)
            self._meter.enforced(call.action, time.perf_counter() - trace.started, everywhere=everywhere)
        if awaited:
            self._notifier.settle(awaited)
        return document


def _unavailable() -> Ec2Error:
    return Ec2Error("Unavailable", "The service is unavailable. Please try again shortly.", 503)


def _invocation(request: http.HttpRequest) -> str | None:
    """Return a digest of the name that an SDK gives to each attempt of each call, None when it gave none."""
    name, attempt = (request.headers.get(f"amz-sdk-{part}") for part in ("invocation-id", "request"))
    return None if name is None else hashlib.sha256(f"{name}\n{attempt}".encode("latin-1")).hexdigest()[:32]


def _refuse_replay(call: Call, transaction: Transaction) -> None:
    """Refuse a request that somebody has recorded and sends again (docs/adr/0018-replays.md)."""
    first, alike = transaction.first_signed()
    if first is not None and (alike or transaction.now - first > GRACE):
        raise Ec2Error("RequestExpired", "Request has expired: it has been made before.")


def _log_access(trace: _Trace, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {
        "request": trace.request_id,
        "source": trace.source,
        "account": trace.account,
        "key": trace.access_key,
        "action": trace.action,
        "status": status,
        "code": trace.code,
        "ms": round(seconds * 1000, 1),
    }
    _access.info("%s", json.dumps(fields, separators=(",", ":")), extra=logs.of(**fields))
