"""Request and reply over a unix stream socket: one connection per request.

Holds no state between calls, so any number of threads may use it at once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from channel.frames import FrameError, FrameReader, pack

_CHUNK = 64 * 1024


class ChannelError(Exception):
    """The request got no good answer; the text names the cause in one line."""


def request(socket_path: Path, message: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Send ``message`` to whoever listens at ``socket_path`` and return the reply.

    ``timeout`` bounds the whole call, in seconds.  Raises :class:`ChannelError` when nobody listens there, when no
    answer comes in time, when the bytes that come are no frame, and when the reply says ``ok`` is not true.
    """
    deadline = time.monotonic() + timeout
    try:
        frame = pack(message)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            _connect(peer, socket_path, timeout)
            peer.settimeout(_remaining(deadline))
            peer.sendall(frame)
            reply = _read_one(peer, deadline)
    except TimeoutError as error:
        raise ChannelError(f"no answer from {socket_path} within {timeout:g} s") from error
    except FrameError as error:
        raise ChannelError(f"talking to {socket_path}: {error}") from error
    except OSError as error:
        raise ChannelError(f"connection to {socket_path} broke: {error.strerror or error}") from error
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
