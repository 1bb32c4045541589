"""The metadata service as the agent sees it: a child process that asks, and the controller that answers.

Lives in the agent's one loop: :meth:`MetadataService.run` does what can be done now.  The child is started again when
it ends; with it goes the device of its port, so that nobody is answered meanwhile.  Open vSwitch would go on listening
to the device that is gone, so the next one has another name, of two that take turns.  Questions get numbers of the
agent's own, so that an answer that comes late can never be taken for another one's.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any

from agents.report import Link
from agents.session import Message
from channel.frames import FrameError, FrameReader, pack

_LOG = logging.getLogger(__name__)
_START_S = 5.0
"""Seconds that the first report waits for the port, so that the controller hears of all ports at once."""
_RETRY_S = (1.0, 5.0, 30.0)
_GOOD_S = 60.0
"""A child that has lived so long has been a good one."""
_END_S = 5.0
_CHUNK = 64 * 1024
_LONGEST_QUESTION = 4096
_MOST_PENDING = 4096


class MetadataService:
    """Keeps the service running at ``port``, which is ``name`` and a digit, and carries its questions over ``link``.

    ``spare`` is the other name, ``ready`` = the device is there and belongs on the bridge.
    """

    def __init__(self, name: str, link: Link) -> None:
        self.port, self.spare = f"{name}0", f"{name}1"
        self.ready = False
        self.problem: str | None = None
        self._link = link
        self._born: float | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._peer: socket.socket | None = None
        self._frames = FrameReader(_LONGEST_QUESTION)
        self._unsent = bytearray()
        self._numbers = count(1)
        self._pending: dict[int, int] = {}  # our number -> the child's
        self._due = 0.0
        self._started = 0.0
        self._failures = 0
        self._said: str | None = None
        link.on_metadata = self._answered

    @property
    def begun(self) -> bool:
        """Has it ever been started?"""
        return self._born is not None

    @property
    def settled(self) -> bool:
        """Is it known how the start went?"""
        if self.ready or self.problem is not None:
            return True
        return self._born is not None and time.monotonic() - self._born >= _START_S

    @property
    def wants(self) -> tuple[int, bool] | None:
        """Descriptor to wait on for reading, and whether for writing as well; None while there is no child."""
        return None if self._peer is None else (self._peer.fileno(), bool(self._unsent))

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due at the latest, on the monotonic clock; None = only when the child speaks."""
        if self._born is None:
            return None
        if self._peer is None:
            return self._due
        return None if self.settled else self._born + _START_S

    def run(self, now: float, held: Callable[[], Collection[str]]) -> None:
        """Do what can be done without waiting; ``held`` tells the names of the ports that are on the bridge."""
        if self._born is None:
            self._born = now
        try:
            if self._peer is None:
                if now >= self._due:
                    self._start(now, held())
                return
            self._flush()
            data = self._peer.recv(_CHUNK)
            if not data:
                raise ConnectionError("it has ended")
            for message in self._frames.feed(data):
                self._take(message)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            self._lose(now, str(error))

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if child is not None:
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _start(self, now: float, held: Collection[str]) -> None:
        if self.port in held:
            self.port, self.spare = self.spare, self.port
        self._peer, theirs = socket.socketpair()
        with theirs:
            self._peer.setblocking(False)
            command = (sys.executable, "-m", "agents.metadata", self.port, str(theirs.fileno()))
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        self._started = now
        self._said = None
        self._frames = FrameReader(_LONGEST_QUESTION)
        self._unsent.clear()
        self._pending.clear()

    def _lose(self, now: float, cause: str) -> None:
        self.close()
        self.ready = False
        self._failures = 0 if now - self._started >= _GOOD_S else self._failures + 1
        self._due = now + _RETRY_S[min(self._failures, len(_RETRY_S)) - 1] if self._failures else now
        self.problem = f"the metadata service does not run: {self._said or cause}"

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ready":
            self.ready, self.problem = True, None
            _LOG.info("the metadata service answers at port %s", self.port)
        elif kind == "failed":
            self._said = str(message.get("problem"))
        elif kind == "ask":
            self._ask(message)

    def _ask(self, message: Mapping[str, Any]) -> None:
        theirs, number = int(message["id"]), next(self._numbers)
        question = {"type": "metadata", "id": number, "ofport": message.get("ofport"), "mac": message.get("mac")}
        if not self._link.ask(question):
            self._tell({"id": theirs, "error": "the controller cannot be asked"})
            return
        self._pending[number] = theirs
        while len(self._pending) > _MOST_PENDING:  # nobody waits so long
            del self._pending[next(iter(self._pending))]

    def _answered(self, message: Message) -> None:
        number = message.get("id")
        theirs = self._pending.pop(number, None) if isinstance(number, int) else None
        if theirs is not None and self._peer is not None:
            self._tell({"id": theirs, "facts": message.get("facts"), "error": message.get("error")})

    def _tell(self, message: Message) -> None:
        self._unsent += pack({"type": "facts", **message})
        try:
            self._flush()
        except OSError:  # reading will find out
            return

    def _flush(self) -> None:
        if self._unsent and self._peer is not None:
            try:
                del self._unsent[: self._peer.send(self._unsent)]
            except BlockingIOError:
                return
