"""Ctrl-C, SIGTERM and SIGHUP, taken at points where nothing is half done.

An exception out of a signal handler can fall between the start of a process and the line that remembers it.  Here the
handler only notes the signal; :meth:`Interrupts.check`, called between steps and in every waiting loop, raises it.
From then on signals are ignored, also by the commands started to clean up: a second Ctrl-C does not leave half behind.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - somebody's wish, not an error
    """The user asked to end; ``status`` is the exit status that shells give for ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number


class Interrupts:
    """Notes the signals while :meth:`noted` is active."""

    def __init__(self) -> None:
        self._number: int | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note signals instead of dying of them, for the length of a ``with``."""
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Ignore them, also in commands started meanwhile: cleaning up is not interrupted half way."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def seen(self) -> bool:
        """Has one come?"""
        return self._number is not None

    def check(self) -> None:
        """Raise :class:`Interrupted` when a signal has come."""
        if self._number is not None:
            raise Interrupted(self._number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
