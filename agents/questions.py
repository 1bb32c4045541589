"""Questions of the controller to ovs-vswitchd: a few commands that only look, one at a time, never waited for.

Lives in the agent's one loop like the link: :meth:`Questions.run` does what can be done now, :attr:`Questions.wants`
and :attr:`Questions.deadline` say what to wait for.  The control socket speaks JSON-RPC (``ovs-appctl(8)``).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.session import Message

ALLOWED = frozenset({"ofproto/trace", "dpctl/dump-conntrack", "dpctl/ct-get-nconns"})
"""What may be asked: nothing here changes the switch."""
LONGEST_ANSWER = 4 * 1024 * 1024
"""Characters of an answer that are passed on; the rest is cut off, and the answer says so."""

_MOST_WAITING = 64
_MOST_ARGUMENTS = 16
_LONGEST_ARGUMENT = 4096
_MOST_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024


class Questions:
    """Asks ``control``, the control socket of ovs-vswitchd or the folder that holds it.

    A question that has no answer after ``patience`` seconds is answered with an error.  Nothing here blocks or raises.
    """

    def __init__(self, control: Path, patience: float = 10.0) -> None:
        self._control = control
        self._patience = patience
        self._waiting: deque[tuple[object, str, list[str]]] = deque()
        self._asked: object = None
        self._peer: socket.socket | None = None
        self._received = bytearray()
        self._due = 0.0

    def ask(self, message: Mapping[str, Any]) -> list[Message]:
        """Take an ``appctl`` message; returns the refusal if there is one, else the answer comes by :meth:`run`."""
        number, command, arguments = message.get("id"), message.get("command"), message.get("arguments")
        if command not in ALLOWED:
            return [_answer(number, error=f"{str(command)[:80]!r} may not be asked")]
        if not isinstance(arguments, list) or len(arguments) > _MOST_ARGUMENTS:
            return [_answer(number, error=f"arguments must be a list of at most {_MOST_ARGUMENTS} texts")]
        if not all(isinstance(word, str) and len(word) <= _LONGEST_ARGUMENT for word in arguments):
            return [_answer(number, error=f"each argument must be a text of at most {_LONGEST_ARGUMENT} characters")]
        if len(self._waiting) >= _MOST_WAITING:
            return [_answer(number, error="too many questions are waiting; ask again later")]
        self._waiting.append((number, str(command), arguments))
        return []

    def run(self) -> list[Message]:
        """Do what can be done without waiting; returns the answers that are complete."""
        answers: list[Message] = []
        while self._peer is not None or self._waiting:
            try:
                if self._peer is None:
                    self._begin()
                reply = self._read()
            except (OSError, ValueError) as error:
                cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
                answers.append(_answer(self._asked, error=f"ovs-vswitchd does not answer: {cause}"))
                self._end()
                continue
            if reply is None:
                break
            answers.append(_read_reply(self._asked, reply))
            self._end()
        return answers

    def forget(self) -> None:
        """Drop all questions: who asked has gone."""
        self._waiting.clear()
        self._end()

    @property
    def wants(self) -> tuple[int, bool] | None:
        """Descriptor to wait on for reading; None while nothing is under way."""
        return None if self._peer is None else (self._peer.fileno(), False)

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due at the latest, on the monotonic clock; None while nothing is under way."""
        return None if self._peer is None else self._due

    def _begin(self) -> None:
        self._asked, command, arguments = self._waiting.popleft()
        path = _find(self._control)
        self._due = time.monotonic() + self._patience
        self._peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._peer.setblocking(False)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            # The name in a socket address ends after 107 bytes; through the open folder it is short.
            self._peer.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        request = json.dumps({"id": 0, "method": command, "params": arguments}).encode()
        if self._peer.send(request) != len(request):
            raise OSError("it does not read")

    def _read(self) -> dict[str, Any] | None:
        """The reply if it is there; None while it is not."""
        assert self._peer is not None  # noqa: S101 - for the type checker: run() looked
        closed = False
        while not closed:
            try:
                data = self._peer.recv(_CHUNK)
            except BlockingIOError:
                break
            closed = not data
            self._received += data
            if len(self._received) > _MOST_BYTES:
                raise ValueError(f"its answer is over {_MOST_BYTES} bytes")
        # Only what ends like an object is worth the parser's time.
        if self._received.rstrip().endswith(b"}"):
            try:
                return dict(json.loads(self._received))
            except ValueError:
                pass  # an end in the middle of the answer
        if closed:
            raise ValueError("it closed the connection")
        if time.monotonic() >= self._due:
            raise ValueError(f"nothing within {self._patience:g} s")
        return None

    def _end(self) -> None:
        if self._peer is not None:
            self._peer.close()
        self._peer, self._asked = None, None
        self._received.clear()


def _find(control: Path) -> Path:
    """The control socket: Open vSwitch puts the process id, which its pidfile holds, into the name."""
    if not control.is_dir():
        return control
    plain = control / "ovs-vswitchd.ctl"
    if plain.exists():
        return plain
    pid = (control / "ovs-vswitchd.pid").read_text().strip()
    return control / f"ovs-vswitchd.{pid}.ctl"


def _read_reply(number: object, reply: Mapping[str, Any]) -> Message:
    error = reply.get("error")
    if error is not None:
        return _answer(number, error=" ".join(str(error).split())[:1000])
    text = str(reply.get("result"))
    return _answer(number, text=text[:LONGEST_ANSWER], truncated=len(text) > LONGEST_ANSWER)


def _answer(number: object, text: str = "", error: str | None = None, *, truncated: bool = False) -> Message:
    return {"type": "appctl_reply", "id": number, "text": text, "error": error, "truncated": truncated}
