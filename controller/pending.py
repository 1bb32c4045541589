"""Of which revisions something is missing on a host.

A host that does not answer holds up those callers whose own revision concerns it, and nobody else: so it is not enough
to know the oldest revision that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST = 64
"""Spans that are told apart; beyond that neighbouring ones become one, which may let a caller wait in vain."""


@dataclass(frozen=True, slots=True)
class Span:
    """The revisions after ``since`` up to ``last``: a batch of the store carries several."""

    since: int
    last: int


class Pending:
    """What waits to be taken up, and what has been taken up and is not acknowledged yet."""

    def __init__(self) -> None:
        self._waiting: list[Span] = []
        self._taken: list[Span] = []

    def add(self, span: Span) -> None:
        """Something of these revisions is to be done; they are not before those added earlier."""
        if span in self._waiting[-1:]:
            return
        self._waiting.append(span)
        if len(self._waiting) > _MOST:
            self._waiting = _joined(self._waiting)

    def take(self) -> None:
        """All of it is taken up."""
        self._taken += self._waiting
        self._waiting = []
        if len(self._taken) > _MOST:
            self._taken = _joined(self._taken)

    def done(self) -> None:
        """What was taken up is acknowledged."""
        self._taken = []

    @property
    def in_flight(self) -> bool:
        """Is something taken up and not acknowledged?"""
        return bool(self._taken)

    @property
    def oldest(self) -> int | None:
        """The oldest revision of which something is missing; None = nothing is."""
        return min((span.last for span in (*self._taken, *self._waiting)), default=None)

    def has(self, revision: int) -> bool:
        """Is something of this revision missing?"""
        return any(span.since < revision <= span.last for span in (*self._taken, *self._waiting))


def _joined(spans: list[Span]) -> list[Span]:
    """Half as many."""
    pairs = [spans[start : start + 2] for start in range(0, len(spans), 2)]
    return [Span(min(one.since for one in pair), max(one.last for one in pair)) for pair in pairs]
