"""Datagrams from inside instances, by one thread that goes from namespace to namespace."""

from __future__ import annotations

import ctypes
import os
import queue
import socket
import threading
from contextlib import suppress
from pathlib import Path

_NEWNET = 0x40000000  # CLONE_NEWNET (linux/sched.h)
_PORT = 9  # discard (RFC 863)
_LIBC = ctypes.CDLL(None, use_errno=True)


class Sender:
    """Sends; a namespace that has gone meanwhile is passed over."""

    def __init__(self) -> None:
        self.sent = 0
        self._queue: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def send(self, namespace: str, address: str) -> None:
        """Have a UDP datagram sent from ``namespace`` to ``address``."""
        self._queue.put((namespace, address))

    def close(self) -> None:
        """End the thread when what was asked for is sent."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (wish := self._queue.get()) is not None:
            with suppress(OSError):
                self._send(*wish)
                self.sent += 1

    def _send(self, namespace: str, address: str) -> None:
        descriptor = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
        try:
            if _LIBC.setns(descriptor, _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"churn", (address, _PORT))
