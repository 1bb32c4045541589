"""The controller's end of joining: tells newcomers who the authority is, and has certificates issued by a process.

What a newcomer sends is believed as far as its token goes; a token that the store does not list costs nothing more than
the answer.  One certificate is made at a time, and few wait.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import eventlet
from eventlet.green import subprocess
from eventlet.semaphore import Semaphore
from eventlet.timeout import Timeout

from certificates.token import SECRET_BYTES, digest
from channel.frames import FrameError, FrameReader, pack
from controller.admission import Admission

LOG = logging.getLogger(__name__)

_PATIENCE = 20.0
_MOST_WAITING = 16
#: Seconds until the controller itself should know of a certificate that was issued, and between two looks.
_KNOWN_WITHIN = 5.0
_LOOK = 0.02


class Enrolment:
    """``authority`` is its certificate (PEM); ``poke`` has the store looked at up to a revision."""

    def __init__(
        self,
        config: str | None,
        admission: Admission,
        authority: bytes,
        openflow_port: int,
        poke: Callable[[int], None],
    ) -> None:
        self._command = [sys.executable, "-m", "controller.issuer", *(["--config", config] if config else [])]
        self._admission = admission
        self._authority = authority
        self._openflow_port = openflow_port
        self._poke = poke
        self._one_at_a_time = Semaphore(1)
        self._waiting = 0

    def greet(self) -> dict[str, Any]:
        """The answer to a newcomer that asks who the authority is; what it says is held against the token there."""
        return {
            "type": "authority",
            "certificate": self._authority,
            "openflow_port": self._openflow_port,
            "time": time.time(),
        }

    def join(self, message: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Answer ``{"type": "join", "host", "secret", "request"}`` with ``{"type": "joined", ...}``."""
        host, secret, request = message.get("host"), message.get("secret"), message.get("request")
        if not isinstance(host, str) or not isinstance(secret, bytes) or not isinstance(request, bytes):
            return _reply("joined", error="a join names host, secret and request")
        known = digest(secret, host) if len(secret) == SECRET_BYTES else ""
        if not self._admission.invited(host, known):
            self._admission.refusals.note("a join from", where, "its token is not good")
            return _reply("joined", error="the join token is not known here, or was used; see 'sluice host token'")
        return self._issue("joined", {"op": "join", "host": host, "digest": known, "request": request})

    def renew(self, host: str, serial: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``{"type": "renew", "request"}`` of a host that has shown the certificate ``serial``."""
        request = message.get("request")
        if not isinstance(request, bytes):
            return _reply("renewed", error="a renewal names a request")
        return self._issue("renewed", {"op": "renew", "host": host, "serial": serial, "request": request})

    def _issue(self, kind: str, question: Mapping[str, Any]) -> dict[str, Any]:
        if self._waiting >= _MOST_WAITING:
            return _reply(kind, error="too many hosts want certificates at once; try again")
        self._waiting += 1
        try:
            with self._one_at_a_time:
                answer = self._ask(question)
        finally:
            self._waiting -= 1
        error = answer.get("error")
        if error is not None:
            return _reply(kind, error=str(error))
        LOG.info("host %s has certificate %s", question["host"], answer["serial"])
        self._await_known(str(question["host"]), answer)
        return _reply(kind, certificate=answer["certificate"], authority=self._authority)

    def _await_known(self, host: str, answer: Mapping[str, Any]) -> None:
        """Wait until the host would be let in with it, so that its first try is not refused."""
        with Timeout(_KNOWN_WITHIN, False):
            while not self._admission.holds(host, str(answer["serial"])):
                self._poke(int(answer["revision"]))
                eventlet.sleep(_LOOK)

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with Timeout(_PATIENCE):
                said, _ = process.communicate(pack(question))
            messages = FrameReader().feed(said)
        except Timeout:
            return {"error": f"no certificate within {_PATIENCE:g} s; is the database there?"}
        except (FrameError, OSError) as error:
            LOG.warning("the issuer of certificates: %s", error)
            return {"error": "the issuer of certificates does not answer; see the controller's log"}
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return messages[0] if messages else {"error": "the issuer of certificates has failed; see the controller's log"}


def _reply(
    kind: str, certificate: bytes | None = None, authority: bytes | None = None, error: str | None = None
) -> dict[str, Any]:
    return {"type": kind, "certificate": certificate, "authority": authority, "error": error}
