"""Request and reply over a unix stream socket: a connection per request, or connections that are kept.

Any number of threads may use either at once.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from channel.frames import FrameError, FrameReader, pack

_CHUNK = 64 * 1024
_KEPT = 8
_Place = tuple[int, int, int]


class ChannelError(Exception):
    """The request got no good answer; the text names the cause in one line."""


def request(socket_path: Path, message: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Send ``message`` to whoever listens at ``socket_path`` and return the reply.

    ``timeout`` bounds the whole call, in seconds.  Raises :class:`ChannelError` when nobody listens there, when no
    answer comes in time, when the bytes that come are no frame, and when the reply says ``ok`` is not true.
    """
    deadline = time.monotonic() + timeout
    with _explained(socket_path, timeout):
        frame = pack(message)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            _connect(peer, socket_path, timeout)
            reply = _exchange(peer, frame, deadline)
    return _checked(socket_path, reply)


class Line:
    """Requests to whoever listens at ``socket_path``, over connections that are kept: at most eight that are idle.

    For requests that do no harm when they come twice: one whose connection turns out to have been closed by the other
    side before the answer goes once more, over a new one.  So a listener that was started again, or that ends idle
    connections, fails no request that a connection of its own would have served.
    """

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._lock = threading.Lock()
        self._idle: list[tuple[socket.socket, _Place]] = []  # the one that was used last is at the end

    def request(self, message: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """As :func:`request`."""
        deadline = time.monotonic() + timeout
        with _explained(self._path, timeout):
            frame = pack(message)
            place = _place(self._path)
            reply = self._over_kept(frame, place, deadline)
            if reply is None:
                peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                with _closed_on_error(peer):
                    _connect(peer, self._path, _remaining(deadline))
                    reply = _exchange(peer, frame, deadline)
                self._keep(peer, place)
        return _checked(self._path, reply)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for peer, _ in idle:
            peer.close()

    def _over_kept(self, frame: bytes, place: _Place, deadline: float) -> dict[str, Any] | None:
        """Return the reply, None when no kept connection brought one and a new one has to be made."""
        while (kept := self._take()) is not None:
            peer, led_to = kept
            if led_to != place or not _is_quiet(peer):
                peer.close()
                continue
            try:
                with _closed_on_error(peer):
                    reply = _exchange(peer, frame, deadline)
            except ConnectionError:
                return None
            self._keep(peer, place)
            return reply
        return None

    def _take(self) -> tuple[socket.socket, _Place] | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, peer: socket.socket, place: _Place) -> None:
        with self._lock:
            self._idle.append((peer, place))
            surplus = self._idle.pop(0)[0] if len(self._idle) > _KEPT else None
        if surplus is not None:
            surplus.close()


@contextmanager
def _explained(socket_path: Path, timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ChannelError(f"no answer from {socket_path} within {timeout:g} s") from error
    except FrameError as error:
        raise ChannelError(f"talking to {socket_path}: {error}") from error
    except OSError as error:
        raise ChannelError(f"connection to {socket_path} broke: {error.strerror or error}") from error


@contextmanager
def _closed_on_error(peer: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        peer.close()  # an answer that comes late must not be taken for that to another request
        raise


def _place(socket_path: Path) -> _Place:
    """Device, inode and time of the socket's file: others when somebody else listens there."""
    try:
        found = os.stat(socket_path)  # noqa: PTH116 - before each request; Path.stat takes longer than the call
    except FileNotFoundError as error:
        raise ChannelError(f"nobody listens at {socket_path}") from error
    except OSError as error:
        raise ChannelError(f"cannot connect to {socket_path}: {error.strerror or error}") from error
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _is_quiet(peer: socket.socket) -> bool:
    """Tell whether an idle connection is still open, with nothing on it that nobody has asked for."""
    peer.setblocking(False)
    try:
        peer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _exchange(peer: socket.socket, frame: bytes, deadline: float) -> dict[str, Any]:
    peer.settimeout(_remaining(deadline))
    peer.sendall(frame)
    return _read_one(peer, deadline)


def _checked(socket_path: Path, reply: dict[str, Any]) -> dict[str, Any]:
    if reply.get("ok") is not True:
        text = reply.get("error")
        raise ChannelError(" ".join(text.split()) if isinstance(text, str) else f"{socket_path} refused the request")
    return reply


def _connect(peer: socket.socket, socket_path: Path, timeout: float) -> None:
    peer.settimeout(max(timeout, 0.001))
    try:
        peer.connect(str(socket_path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ChannelError(f"nobody listens at {socket_path}") from error
    except BlockingIOError as error:
        raise ChannelError(f"{socket_path} takes no more connections") from error
    except OSError as error:
        raise ChannelError(f"cannot connect to {socket_path}: {error.strerror or error}") from error


def _read_one(peer: socket.socket, deadline: float) -> dict[str, Any]:
    reader = FrameReader()
    while True:
        peer.settimeout(_remaining(deadline))
        data = peer.recv(_CHUNK)
        if not data:
            raise ConnectionError("closed without an answer")
        for message in reader.feed(data):
            return message


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
