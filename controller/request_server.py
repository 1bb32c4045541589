"""Answers the API and the command line on a unix socket (docs/architecture.md, "Messages")."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import eventlet
from eventlet.green import socket
from eventlet.timeout import Timeout
from prometheus_client import Histogram

from channel.frames import FrameError, FrameReader, pack
from controller import doors
from controller.auditor import Auditor
from controller.composer import Composer
from controller.counting import elastic_counts
from controller.doors import DoorError
from controller.tracer import TraceError, trace
from telemetry import logs

LOG = logging.getLogger(__name__)

_IDLE = 60.0
_LONGEST_WAIT = 60.0
_MAX_REQUESTS = 1024
_WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RequestServer:
    """Serves ``installed``, ``status``, ``elastic-counts``, ``audit`` and ``trace``.

    ``hint`` hears of every revision asked for.  Raises :class:`controller.doors.DoorError` when it cannot listen at
    ``path``.
    """

    def __init__(self, composer: Composer, path: Path, hint: Callable[[int], None], auditor: Auditor) -> None:
        self._composer = composer
        self._auditor = auditor
        self._hint = hint
        self._path = path
        self.waited = Histogram(
            "sluice_controller_installed_seconds",
            "From the word of a change until its flows are acknowledged, or the bound of the wait.",
            buckets=_WAITS,
            registry=None,
        )
        self._listener = _listen(path)
        self._inode = path.stat().st_ino

    def serve_forever(self) -> None:
        """Accept until the process ends."""
        eventlet.serve(self._listener, self._talk, concurrency=_MAX_REQUESTS)

    def close(self) -> None:
        """Stop listening; the socket's file goes, unless it has become somebody else's."""
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _talk(self, peer: Any, _address: Any) -> None:
        reader = FrameReader()
        try:
            while True:
                with Timeout(_IDLE):
                    data = peer.recv(65536)
                if not data:
                    return
                try:
                    messages = reader.feed(data)
                except FrameError as error:
                    peer.sendall(pack(_refusal(str(error))))
                    return
                for message in messages:
                    peer.sendall(pack(self._answer(message)))
        except (FrameError, OSError, Timeout) as error:
            LOG.debug("request socket: %s", error)
        finally:
            peer.close()

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        match message:
            case {"op": "status"}:
                return {"ok": True, **self._composer.status()}
            case {"op": "elastic-counts"}:
                return {"ok": True, "hosts": elastic_counts(self._composer.bridges)}
            case {"op": "trace" | "audit"}:
                return self._examine(message)
            case {"op": "installed", "revision": int() as revision, "timeout": int() | float() as timeout}:
                if isinstance(revision, bool) or isinstance(timeout, bool) or not 0 <= timeout <= _LONGEST_WAIT:
                    return _refusal(f"revision must be an integer and timeout 0 to {_LONGEST_WAIT:g} seconds")
                begin = time.monotonic()
                self._hint(revision)
                installed, lagging = self._composer.wait_installed(revision, timeout)
                seconds = time.monotonic() - begin
                self.waited.observe(seconds)
                said = (revision, "installed" if installed else f"lagging on {len(lagging)} hosts", seconds * 1000)
                LOG.info("revision %d: %s after %.1f ms", *said, extra=logs.of(str(message.get("request") or "")))
                return {"ok": True, "installed": installed, "lagging": lagging}
        return _refusal("not a request that the controller knows")

    def _examine(self, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if message.get("op") == "trace":
                return {"ok": True, **trace(self._composer, message)}
            host, wanted = message.get("host"), {name: message.get(name) is True for name in ("repair", "foreign")}
            return self._auditor.audit(None if host is None else str(host), **wanted)
        except (ValueError, TraceError) as error:
            return _refusal(str(error))


def _refusal(text: str) -> dict[str, Any]:
    return {"ok": False, "error": text}


def _listen(path: Path) -> Any:
    """Return a listening unix socket for its owner alone; a file left by a dead controller is replaced."""
    doors.check_folder(path)
    doors.check_socket(path)
    mask = os.umask(0o077)
    try:
        return eventlet.listen(str(path), family=socket.AF_UNIX, backlog=_MAX_REQUESTS)
    except OSError as error:
        raise DoorError(f"cannot listen at {path} ({error.strerror or error}): set controller.socket") from error
    finally:
        os.umask(mask)
