"""How much of the service each instance may use: a bucket of requests that fills again.  Pure."""

from __future__ import annotations

BURST = 200.0
"""Requests at once: more than a boot takes."""
RATE = 20.0
"""Requests a second in the long run."""


class Shares:
    """Buckets by client; one that is full again is forgotten."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, int], tuple[float, float]] = {}  # what was left, when

    def spend(self, client: tuple[int, int], now: float) -> bool:
        """Take one request from the client's share; False = it is used up."""
        left = self._left(client, now)
        if left < 1:
            return False
        self._buckets[client] = (left - 1, now)
        return True

    def forget(self, now: float) -> None:
        """Drop the buckets that are full again."""
        self._buckets = {client: kept for client, kept in self._buckets.items() if self._left(client, now) < BURST}

    def _left(self, client: tuple[int, int], now: float) -> float:
        left, when = self._buckets.get(client, (BURST, now))
        return min(BURST, left + (now - when) * RATE)
