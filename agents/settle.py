"""When a burst of changes is over.  Pure: times are seconds of a monotonic clock."""

from __future__ import annotations


class Settling:
    """Due ``quiet`` seconds after the last change, but ``longest`` after the first one whatever comes."""

    def __init__(self, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._due: float | None = None
        self._latest = 0.0

    def touch(self, now: float) -> None:
        """Note a change."""
        if self._due is None:
            self._latest = now + self._longest
        self._due = min(now + self._quiet, self._latest)

    def take(self, now: float) -> bool:
        """Return whether the burst is over, and if so forget it."""
        if self._due is None or now < self._due:
            return False
        self._due = None
        return True

    def forget(self) -> None:
        """Drop the burst: nothing is due until the next change."""
        self._due = None

    @property
    def due(self) -> float | None:
        """When :meth:`take` will be true; None when nothing changed."""
        return self._due
