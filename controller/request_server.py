"""Answers the API and the command line on a unix socket (docs/architecture.md, "Messages")."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import eventlet
from eventlet.green import socket
from eventlet.timeout import Timeout

from channel.frames import FrameError, FrameReader, pack
from controller.composer import Composer

LOG = logging.getLogger(__name__)

_IDLE = 60.0
_LONGEST_WAIT = 60.0
_MAX_REQUESTS = 1024


class SocketTakenError(Exception):
    """Another controller answers on the socket."""


class RequestServer:
    """Serves ``installed`` and ``status``; ``hint`` is told of every revision that somebody asks for."""

    def __init__(self, composer: Composer, path: Path, hint: Callable[[int], None]) -> None:
        self._composer = composer
        self._hint = hint
        self._listener = _listen(path)

    def serve_forever(self) -> None:
        """Accept until the process ends."""
        eventlet.serve(self._listener, self._talk, concurrency=_MAX_REQUESTS)

    def _talk(self, peer: Any, _address: Any) -> None:
        reader = FrameReader()
        try:
            while True:
                with Timeout(_IDLE):
                    data = peer.recv(65536)
                if not data:
                    return
                for message in reader.feed(data):
                    peer.sendall(pack(self._answer(message)))
        except (FrameError, OSError, Timeout) as error:
            LOG.debug("request socket: %s", error)
        finally:
            peer.close()

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        operation = message.get("op")
        if operation == "status":
            return {"ok": True, **self._composer.status()}
        if operation != "installed":
            return {"ok": False, "error": f"unknown request {operation!r}"}
        revision, timeout = message.get("revision"), message.get("timeout")
        if not isinstance(revision, int) or not isinstance(timeout, int | float) or not 0 <= timeout <= _LONGEST_WAIT:
            return {"ok": False, "error": f"revision must be an integer and timeout 0 to {_LONGEST_WAIT:g} seconds"}
        self._hint(revision)
        installed, lagging = self._composer.wait_installed(revision, timeout)
        return {"ok": True, "installed": installed, "lagging": lagging}


def _listen(path: Path) -> Any:
    """A listening unix socket; a file left by a dead controller is replaced, a live one's is not."""
    if path.exists():
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise SocketTakenError(f"another controller answers on {path}: stop it, or set controller.socket")
        finally:
            probe.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = os.umask(0o077)
    try:
        return eventlet.listen(str(path), family=socket.AF_UNIX)
    finally:
        os.umask(mask)
