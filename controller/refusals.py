"""Peers that were put out: one log line each, and a word in the status for a while.

A hostile peer may come back a thousand times a second, so lines are written at most once a second for one address,
and a bounded number of addresses is remembered.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LOG = logging.getLogger(__name__)

#: Seconds that a refusal stays in the status, and seconds between two lines about one address.
_REMEMBERED = 300.0
_BETWEEN_LINES = 1.0
_MOST_ADDRESSES = 64


@dataclass(slots=True)
class _Peer:
    reason: str
    times: int
    last: float
    told: float
    untold: int = 0


class Refusals:
    """Who was refused and why; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    def note(self, what: str, address: str, reason: str) -> None:
        """A connection of kind ``what`` ("OpenFlow") from ``address`` is ended because of ``reason``."""
        self.count += 1
        now = self._clock()
        name = f"{what} connection from {address}"
        peer = self._peers.pop(name, None) or _Peer(reason, 0, now, now - _BETWEEN_LINES)
        peer.reason, peer.times, peer.last = reason, peer.times + 1, now
        self._peers[name] = peer
        if len(self._peers) > _MOST_ADDRESSES:
            self._peers.popitem(last=False)
        if now - peer.told < _BETWEEN_LINES:
            peer.untold += 1
            return
        more = f" ({peer.untold} more since the last line)" if peer.untold else ""
        LOG.warning("%s is closed: %s%s", name, reason, more)
        peer.told, peer.untold = now, 0

    def problems(self) -> list[str]:
        """The latest refusal of each address, in words for the status."""
        since = self._clock() - _REMEMBERED
        return [
            f"{name} was closed: {peer.reason}" + (f" ({peer.times} times)" if peer.times > 1 else "")
            for name, peer in self._peers.items()
            if peer.last >= since
        ]
