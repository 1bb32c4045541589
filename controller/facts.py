"""The controller's end of the facts reader: starts the process when it is wanted, and matches answers to questions."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import eventlet
from eventlet import patcher
from eventlet.event import Event
from eventlet.green import os, subprocess
from eventlet.timeout import Timeout

from channel.frames import FrameError, FrameReader, pack

LOG = logging.getLogger(__name__)

#: Eventlet's own write lets one greenlet wait per descriptor and raises in the second.
_write_now = patcher.original("os").write
_PATIENCE = 2.5
_RETRY = 1.0
_MOST_PENDING = 256
_END = 1.0


class FactsError(Exception):
    """There is no answer; the text names the cause in one line."""


class Facts:
    """Asks the store what an instance may know of itself."""

    def __init__(self, config: str | None) -> None:
        self._command = [sys.executable, "-m", "controller.facts_reader", *(["--config", config] if config else [])]
        self._reader: Any = None
        self._numbers = count(1)
        self._pending: dict[int, Event] = {}
        self._not_before = 0.0

    def prepare(self) -> None:
        """Have the process ready: it takes a moment to start, and instances wait a second at most."""
        with suppress(FactsError):
            self._start()

    def of(self, interface: str) -> Mapping[str, Any] | None:
        """The facts of the instance with this interface; None = there is none.  Raises :class:`FactsError`."""
        if len(self._pending) >= _MOST_PENDING:
            raise FactsError("too many questions are waiting")
        self._start()
        number, event = next(self._numbers), Event()
        self._pending[number] = event
        try:
            with Timeout(_PATIENCE, FactsError(f"the store gave no answer within {_PATIENCE:g} s")):
                # Whole or not at all: it is shorter than PIPE_BUF (POSIX, write()).
                _write_now(self._reader.stdin.fileno(), pack({"id": number, "interface": interface}))
                message: Mapping[str, Any] = event.wait()
        except OSError as error:
            raise FactsError(f"the facts reader does not take questions: {error.strerror}") from error
        finally:
            self._pending.pop(number, None)
        if message["error"] is not None:
            raise FactsError(str(message["error"]))
        facts: Mapping[str, Any] | None = message["facts"]
        return facts

    def stop(self) -> None:
        """End the process."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stdin.close()
            try:
                reader.wait(_END)
            except subprocess.TimeoutExpired:  # it waits for a database that does not answer
                reader.kill()
                reader.wait()

    def _start(self) -> None:
        if self._reader is not None:
            return
        if time.monotonic() < self._not_before:
            raise FactsError("the facts reader has just ended")
        self._not_before = time.monotonic() + _RETRY
        self._reader = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        os.set_blocking(self._reader.stdin.fileno(), False)
        eventlet.spawn(self._read, self._reader)

    def _read(self, reader: Any) -> None:
        frames = FrameReader()
        try:
            while data := os.read(reader.stdout.fileno(), 1 << 18):
                for message in frames.feed(data):
                    event = self._pending.pop(message["id"], None)
                    if event is not None:
                        event.send(message)
        except (FrameError, OSError) as error:
            LOG.warning("the facts reader: %s", error)
        reader.stdout.close()
        if self._reader is reader:
            self.stop()
            LOG.warning("the facts reader has ended with status %s", reader.returncode)
            waiting, self._pending = self._pending, {}
            for event in waiting.values():
                event.send_exception(FactsError("the facts reader has ended"))
