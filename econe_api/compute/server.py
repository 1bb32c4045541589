"""Answers the API on the worker's unix socket: one thread per connection, one frame in, one frame out."""

from __future__ import annotations

import fcntl
import os
import socketserver
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from channel.frames import FrameError, FrameReader, pack
from econe_api.compute.worker import Worker
from econe_api.store.errors import StoreError
from econe_api.vnm import desk

_CHUNK = 64 * 1024
_LONGEST_REQUEST = 1024 * 1024
_LONGEST_WAIT = 60.0
_IDLE = 30.0
_MOST_INSTANCES = 1000


class ServerError(Exception):
    """The worker cannot listen; the text is one line."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on ``path``.

    A file lock beside the socket tells a worker that runs from a socket that a killed one left, which is replaced.
    Raises :class:`ServerError` when another worker runs there.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path, worker: Worker) -> None:
        self.worker = worker
        self._path = path
        try:
            self._lock = _lock(path)
            path.unlink(missing_ok=True)
            super().__init__(str(path), _Connection)
            path.chmod(0o600)
        except OSError as error:
            raise ServerError(f"cannot listen at {path} ({error.strerror or error}); mend compute.socket") from error

    def server_close(self) -> None:
        """Stop listening; the socket file goes."""
        super().server_close()
        self._path.unlink(missing_ok=True)
        self._lock.close()


def _lock(path: Path) -> IO[str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = path.with_name(f"{path.name}.lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise ServerError(f"another compute worker listens at {path}: end it, or set compute.socket") from None
    os.fchmod(held.fileno(), 0o600)
    return held


class _Connection(socketserver.BaseRequestHandler):
    """Answers the requests of one connection until it closes, falls silent or sends what is no frame."""

    server: Server

    def handle(self) -> None:
        """Serve the connection."""
        reader = FrameReader(_LONGEST_REQUEST)
        self.request.settimeout(_IDLE)
        try:
            while data := self.request.recv(_CHUNK):
                for message in reader.feed(data):
                    self.request.sendall(pack(answer(self.server.worker, message)))
        except FrameError as error:
            self._say_last({"ok": False, "error": str(error)})
        except OSError:
            return

    def _say_last(self, message: Mapping[str, Any]) -> None:
        try:
            self.request.sendall(pack(message))
        except OSError:
            return


def answer(worker: Worker, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to ``message`` (docs/architecture.md)."""
    match message:
        case {"op": "settle" | "observed" as wish, "instances": list(ids)}:
            if len(ids) > _MOST_INSTANCES or not all(isinstance(name, str) for name in ids):
                return _refusal(f"instances has to be a list of up to {_MOST_INSTANCES} ids")
            request = str(message.get("request") or "")
            return (
                _observed(worker, ids) if wish == "observed" else _settle(worker, ids, message.get("timeout"), request)
            )
        case {"op": "console", "instance": str(name)}:
            return _console(worker, name)
        case {"op": "opennebula", "host": str(host), "question": dict(question)}:
            return desk.answer(worker.store, host, question)
        case {"op": "status"}:
            return {"ok": True, **worker.status()}
    return _refusal("not a request that the compute worker knows")


def _settle(worker: Worker, ids: list[str], timeout: object, request: str) -> dict[str, Any]:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= _LONGEST_WAIT:
        return _refusal(f"timeout has to be 0 to {_LONGEST_WAIT:g} seconds")
    try:
        return {"ok": True, "settled": worker.settle(ids, timeout, request)}
    except StoreError as error:
        return _refusal(str(error))


def _console(worker: Worker, name: str) -> dict[str, Any]:
    console = worker.console(name)
    return {"ok": True, **({"output": None, "time": None} if console is None else asdict(console))}


def _observed(worker: Worker, ids: list[str]) -> dict[str, Any]:
    seen = worker.observed(ids)
    return _refusal("how the instances are is not known now") if seen is None else {"ok": True, "observed": seen}


def _refusal(text: str) -> dict[str, Any]:
    return {"ok": False, "error": text}
