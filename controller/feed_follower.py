"""The controller's end of the feed: starts the reader process, turns its frames into batches, pokes it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import eventlet
from eventlet import patcher
from eventlet.green import os, subprocess

from channel.frames import FrameError, FrameReader
from controller.feed_changes import read_change
from econe_api.store.records import Batch, Change

LOG = logging.getLogger(__name__)

#: Eventlet's own write lets one greenlet wait per descriptor and raises in the second; pokes come from many at once.
_write_now = patcher.original("os").write
_RETRY = 1.0
_PATIENCE = 1.0


class FeedFollower:
    """Follows the store through the reader process; a reader that dies is started again and begins with everything."""

    def __init__(self, config: str | None, take: Callable[[Batch], None], problem: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-m", "controller.feed_reader", *(["--config", config] if config else [])]
        self._take = take
        self._problem = problem
        self._reader: Any = None
        self._parts: list[Change] = []

    def poke(self, _revision: int) -> None:
        """Have the store looked at now."""
        if self._reader is not None:
            try:
                _write_now(self._reader.stdin.fileno(), b"!")
            except BlockingIOError:
                return  # it has so much to read already that it will look
            except OSError:
                LOG.debug("the feed reader is not there; it will look by itself when it is back")

    def run(self) -> None:
        """Follow until the greenlet is killed."""
        while True:
            self._reader = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            os.set_blocking(self._reader.stdin.fileno(), False)
            try:
                self._read(self._reader.stdout.fileno())
                status = self._reader.wait()
                self._problem(f"the feed reader ended with status {status}")
            except FrameError as error:
                self._problem(f"the feed reader wrote nonsense: {error}")
            finally:
                self.stop()
            eventlet.sleep(_RETRY)

    def stop(self) -> None:
        """End the reader process."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stdin.close()
            reader.stdout.close()
            try:
                reader.wait(_PATIENCE)
            except subprocess.TimeoutExpired:  # it waits for a database that does not answer
                reader.kill()
                reader.wait()

    def _read(self, source: int) -> None:
        frames = FrameReader()
        self._parts = []
        while data := os.read(source, 1 << 18):
            for message in frames.feed(data):
                self._message(message)

    def _message(self, message: Mapping[str, Any]) -> None:
        if "problem" in message:
            LOG.warning("%s", message["problem"])
            self._problem(str(message["problem"]))
            return
        self._parts += [read_change(*change) for change in message["changes"]]
        if message["last"]:
            changes, self._parts = tuple(self._parts), []
            self._take(Batch(message["revision"], message["full"], changes, tuple(message["requests"])))
