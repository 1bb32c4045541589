"""Connections that are nobody's yet, from the accepted socket to the end of the last handshake: how long, and how many.

A peer has :data:`PATIENCE` seconds for all of it, TLS and what is said after it; of more than :data:`MOST_WAITING`
peers the one that came first has to go, so that a real switch or agent, which needs milliseconds, always gets in.
Each listener has bounds of its own.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import eventlet

from controller.refusals import Refusals

#: Seconds from the accepted connection to the end of its handshakes, and how many connections may be in them.
PATIENCE = 10.0
MOST_WAITING = 2048


class Handshakes:
    """``what`` tells the connections of this listener in refusals.  Nothing here blocks its caller."""

    def __init__(self, what: str, refusals: Refusals) -> None:
        self._what = what
        self._refusals = refusals
        self._waiting: dict[Any, tuple[str, Any]] = {}  # connection -> its address and its timer, oldest first

    def begin(self, connection: Any, address: str) -> None:
        """A peer has connected; whoever reads of a ``connection`` that is put out finds its end."""
        timer = eventlet.spawn_after(PATIENCE, self._too_slow, connection)
        self._waiting[connection] = address, timer
        if len(self._waiting) > MOST_WAITING:
            oldest = next(iter(self._waiting))
            self._put_out(oldest, f"more than {MOST_WAITING} connections are in their handshake")

    def end(self, connection: Any) -> bool:
        """The handshakes are over, well or not; False when the connection had been put out (or ended) before."""
        _, timer = self._waiting.pop(connection, (None, None))
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _too_slow(self, connection: Any) -> None:
        self._put_out(connection, f"it did not finish the handshake within {PATIENCE:g} s")

    def _put_out(self, connection: Any, reason: str) -> None:
        address, timer = self._waiting.pop(connection)
        timer.cancel()
        self._refusals.note(self._what, address, reason)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
