"""The API as a plain WSGI callable: authenticate, parse, act in one transaction, tell, answer."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from econe_api.auth.authenticator import Authenticator
from econe_api.auth.credential import Credential
from econe_api.call import Action, Call
from econe_api.config import Config
from econe_api.errors import Ec2Error
from econe_api.protocol import answer, form, http
from econe_api.protocol.request import parse, parse_action
from econe_api.store.errors import StoreUnavailableError
from econe_api.store.transaction import Transaction

_log = logging.getLogger(__name__)
_access = logging.getLogger("econe_api.access")

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class StoreLike(Protocol):
    """What the API needs of :class:`econe_api.store.store.Store`."""

    def read(self, call: Call) -> AbstractContextManager[Transaction]:
        """Begin a transaction that reads."""

    def write(self, call: Call) -> AbstractContextManager[Transaction]:
        """Begin a transaction that writes; it commits at the end and rolls back on an exception."""

    def credential(self, access_key_id: str) -> Credential | None:
        """Look up an access key."""


class NotifierLike(Protocol):
    """What the API needs of :class:`econe_api.notify.Notifier`."""

    def installed(self, revision: int) -> bool:
        """Wait, bounded, until ``revision`` is enforced."""

    def settle(self, instances: list[str]) -> bool:
        """Wait, bounded, until ``instances`` have settled."""


@dataclass(slots=True)
class _Trace:
    """What the access log says about a call; filled as it becomes known."""

    request_id: str
    source: str = ""
    account: str = ""
    action: str = ""
    code: str = ""


def utc_now() -> datetime:
    """Return the time now, aware."""
    return datetime.now(UTC)


class Application:
    """The EC2 API over a store; safe to call from many threads at once.

    ``actions`` maps action names to what they do.  Every answer is EC2's XML, errors included: nothing that a client
    sends makes this raise.
    """

    def __init__(
        self,
        store: StoreLike,
        actions: Mapping[str, Action],
        config: Config,
        notifier: NotifierLike,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._actions = actions
        self._body_limit = config.api.body_limit
        self._notifier = notifier
        self._authenticator = Authenticator(store.credential, clock)

    def __call__(self, environ: http.Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        started = time.perf_counter()
        trace = _Trace(str(uuid.uuid4()), source=environ.get("REMOTE_ADDR", ""))
        status, document = self._respond(environ, trace)
        headers = [
            ("Content-Type", answer.CONTENT_TYPE),
            ("Content-Length", str(len(document))),
            ("x-amzn-RequestId", trace.request_id),
        ]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, POST"))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        _log_access(trace, status, time.perf_counter() - started)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else document]

    def _respond(self, environ: http.Environ, trace: _Trace) -> tuple[int, bytes]:
        try:
            return 200, self._answer(environ, trace)
        except Ec2Error as error:
            refusal = error
        except StoreUnavailableError as error:
            _log.error("%s: %s", trace.request_id, error)
            refusal = Ec2Error("Unavailable", "The service is unavailable. Please try again shortly.", 503)
        except Exception:
            _log.exception("%s: %s failed", trace.request_id, trace.action or "request")
            refusal = Ec2Error("InternalError", f"An internal error has occurred (request {trace.request_id})", 500)
        trace.code = refusal.code
        return refusal.status, answer.failure(refusal.code, refusal.message, trace.request_id)

    def _answer(self, environ: http.Environ, trace: _Trace) -> bytes:
        request = http.read(environ, self._body_limit)
        sources = (request.query.encode("latin-1"), request.body if request.method == "POST" else b"")
        parameters = form.decode(*sources)
        caller = self._authenticator.authenticate(request, parameters)
        trace.account = caller.account_id
        trace.action = parse_action(parameters)
        action = self._actions.get(trace.action)
        if action is None:
            raise Ec2Error("UnsupportedOperation", f"The operation {trace.action} is not supported by this service.")
        parsed = parse(parameters)
        call = Call(parsed.action, parsed.params, caller, trace.request_id, request.source_ip)
        return self._act(call, action, parsed.version)

    def _act(self, call: Call, action: Action, version: str) -> bytes:
        """Prepare, run the handler in one transaction, then wait for what it brought about.

        The answer is rendered before the commit, so that nothing that can fail comes after it.
        """
        call = action.prepared(call)
        begin = self._store.write if action.mutates else self._store.read
        with begin(call) as transaction:
            output = action.handler(call, transaction)
            document = answer.success(call.action, version, call.request_id, output)
            if call.params.get("DryRun"):
                raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        if transaction.revision is not None:
            self._notifier.installed(transaction.revision)
        awaited = [*transaction.awaited, *(action.settles(output) if action.settles is not None else ())]
        if awaited:
            self._notifier.settle(awaited)
        return document


def _log_access(trace: _Trace, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {
        "request": trace.request_id,
        "source": trace.source,
        "account": trace.account,
        "action": trace.action,
        "status": status,
        "code": trace.code,
        "ms": round(seconds * 1000, 1),
    }
    _access.info("%s", json.dumps(fields, separators=(",", ":")))
