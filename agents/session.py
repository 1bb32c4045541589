"""One connection's conversation with the controller, and the waits between connections.

Pure: the caller has the clock, and times are seconds of a monotonic one.

Rules.  After ``hello`` at most one snapshot is unacknowledged; what changes meanwhile waits, and only the newest state
is sent next, so a slow controller gets fewer snapshots, never a queue of stale ones.  Sequence numbers start at 1 on
every connection.  Silence is probed with ``ping``.  A peer that owes an answer for too long, or speaks nonsense, is
given up with :class:`PeerError`; the caller then reconnects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from agents.ports import Snapshot

VERSION = 1
"""Version of the messages, sent in ``hello``."""

Message = dict[str, Any]
_MOST_GATEWAYS = 256
_MOST_PEERS = 4096


class PeerError(Exception):
    """The controller on this connection is of no use any more; the text is one line."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Bounds in seconds: for an answer, for silence before a ping, for connecting, for the wait between tries."""

    answer: float = 10.0
    silence: float = 5.0
    connect: float = 5.0
    shortest_wait: float = 0.2
    longest_wait: float = 5.0


class Backoff:
    """Waits between tries: doubling, bounded, each shortened at random by up to half so that agents do not march."""

    def __init__(self, timing: Timing, draw: Callable[[], float]) -> None:
        """``draw`` returns a random number in [0, 1)."""
        self._timing = timing
        self._draw = draw
        self._next = timing.shortest_wait

    def wait(self) -> float:
        """Return the seconds to wait before the next try."""
        bound = self._next
        self._next = min(bound * 2, self._timing.longest_wait)
        return bound * (1 - self._draw() / 2)

    def reset(self) -> None:
        """Start over: the last connection was good."""
        self._next = self._timing.shortest_wait


class Session:
    """The state of one connection, from hello on.  Every method returns the messages to send."""

    def __init__(self, host: str, timing: Timing, now: float) -> None:
        self._host = host
        self._timing = timing
        self._heard = now
        self._asked: float | None = None
        self._seq = 0
        self._sent: Snapshot | None = None
        self._latest: Snapshot | None = None
        self._acked = 0
        self.gateways: tuple[str, ...] | None = None
        """Gateways whose MACs the controller wants to know; None until it has said so."""
        self.peers: tuple[str, ...] | None = None
        """Where other hosts take tunnel packets; None until the controller has said so."""

    def start(self) -> list[Message]:
        """Introduce this host; to be sent before anything else."""
        return [{"type": "hello", "version": VERSION, "host": self._host}]

    def offer(self, latest: Snapshot, now: float) -> list[Message]:
        """Make ``latest`` the state to be told."""
        self._latest = latest
        return self._tell(now)

    def receive(self, message: Mapping[str, Any], now: float) -> list[Message]:
        """Take a message from the controller; types this version does not know are passed over."""
        self._heard = now
        kind = message.get("type")
        if "gateways" in message:
            self.gateways = _addresses("gateways", message["gateways"], _MOST_GATEWAYS)
        if "peers" in message:
            self.peers = _addresses("peers", message["peers"], _MOST_PEERS)
        if kind == "ping":
            return [{"type": "pong"}]
        if kind == "pong" and self._acked == self._seq:
            self._asked = None
        if kind == "ack":
            return self._acknowledge(message.get("seq"), now)
        return []

    def tick(self, now: float) -> list[Message]:
        """Let time pass: a ping when it is quiet; :class:`PeerError` when an answer is overdue."""
        if self._asked is not None:
            if now - self._asked >= self._timing.answer:
                raise PeerError(f"no answer within {self._timing.answer:g} s")
            return []
        if now - self._heard >= self._timing.silence:
            self._asked = now
            return [{"type": "ping"}]
        return []

    @property
    def deadline(self) -> float:
        """When :meth:`tick` is due."""
        if self._asked is not None:
            return self._asked + self._timing.answer
        return self._heard + self._timing.silence

    def _tell(self, now: float) -> list[Message]:
        if self._latest is None or self._latest == self._sent or self._acked != self._seq:
            return []
        self._seq += 1
        self._sent = self._latest
        self._asked = now
        return [self._latest.message(self._seq)]

    def _acknowledge(self, seq: object, now: float) -> list[Message]:
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 < seq <= self._seq:
            raise PeerError(f"acknowledged snapshot {str(seq)[:40]!r}, but {self._seq} is the last one sent")
        if seq == self._seq and self._acked != seq:
            self._acked = seq
            self._asked = None
        return self._tell(now)


def _addresses(what: str, said: object, most: int) -> tuple[str, ...]:
    """Return the IPv4 addresses of a list; :class:`PeerError` when it is none."""
    try:
        if not isinstance(said, list) or len(said) > most:
            raise ValueError
        return tuple(sorted({str(IPv4Address(str(address))) for address in said}))
    except ValueError:
        raise PeerError(f"{what} {str(said)[:40]!r} are no list of IPv4 addresses") from None
