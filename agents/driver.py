"""Takes the questions of OpenNebula's network driver on a unix socket, and carries them to the controller and back.

Lives in the agent's one loop: :meth:`DriverDoor.run` does what can be done now.  One line of JSON in, one line out, one
question per connection; who asks is bounded in number, in length and in time.  The door decides nothing: without a
controller it says so at once, and the driver fails closed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from agents.report import Link
from agents.session import Message

_CHUNK = 64 * 1024
_LONGEST_QUESTION = 512 * 1024
_MOST_ASKING = 64
_PATIENCE_S = 90.0
_ABOUT = {"op": "about"}


class DoorError(Exception):
    """The agent cannot listen to the driver; the text is one line with cause and mend."""


@dataclass(slots=True)
class _Peer:
    socket: socket.socket
    due: float
    length: int = 0  # bytes that have come
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    number: int | None = None  # of the question that is under way


class DriverDoor:
    """Listens at ``path``, for root and the members of ``group``; ``bridge`` is the one that this agent keeps.

    Raises :class:`DoorError` when it cannot.
    """

    def __init__(self, path: Path, group: str | None, bridge: str, link: Link) -> None:
        self._bridge = bridge
        self._link = link
        self._peers: list[_Peer] = []
        self._numbers = count(1)
        self._path = path
        try:
            self._listener = _listen(path, group)
        except (OSError, LookupError) as error:
            cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise DoorError(f"cannot listen at {path} ({cause}): mend --driver-socket and --driver-group") from error
        link.on_driver, link.on_lost = self._answered, self._lost

    @property
    def wants(self) -> list[tuple[int, bool]]:
        """Descriptors to wait on for reading, and whether for writing as well."""
        return [(self._listener.fileno(), False), *((one.socket.fileno(), bool(one.unsent)) for one in self._peers)]

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due at the latest, on the monotonic clock; None = only when somebody asks."""
        return min((one.due for one in self._peers), default=None)

    def run(self, now: float) -> None:
        """Do what can be done without waiting."""
        while len(self._peers) < _MOST_ASKING:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                break
            accepted.setblocking(False)
            self._peers.append(_Peer(accepted, now + _PATIENCE_S))
        for peer in list(self._peers):
            try:
                if now >= peer.due or not self._talk(peer):
                    self._end(peer)
            except OSError:
                self._end(peer)

    def close(self) -> None:
        """Stop listening; the socket file goes."""
        for peer in list(self._peers):
            self._end(peer)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _talk(self, peer: _Peer) -> bool:
        """Read and write what can be; False = this conversation is over."""
        if peer.unsent:
            del peer.unsent[: peer.socket.send(peer.unsent)]
            return bool(peer.unsent)
        try:
            data = peer.socket.recv(_CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        peer.length += len(data)
        if peer.length <= _LONGEST_QUESTION:
            peer.received += data
        if b"\n" not in data or peer.number is not None:
            return True
        # What is too long is read to its end, so that whoever sends it hears why.
        if peer.length > _LONGEST_QUESTION:
            _tell(peer, {"ok": False, "error": f"the question is over {_LONGEST_QUESTION} bytes"})
        else:
            self._ask(peer, bytes(peer.received.partition(b"\n")[0]))
        return True

    def _ask(self, peer: _Peer, line: bytes) -> None:
        try:
            question: Any = json.loads(line)
        except ValueError:
            question = None
        if not isinstance(question, dict):
            _tell(peer, {"ok": False, "error": "a question is one line with a JSON object"})
        elif question == _ABOUT:
            _tell(peer, {"ok": True, "bridge": self._bridge})
        else:
            peer.number = next(self._numbers)
            if not self._link.ask({"type": "driver", "id": peer.number, "question": question}):
                _tell(peer, {"ok": False, "error": "the agent has no connection to the controller"})

    def _answered(self, message: Message) -> None:
        for peer in self._peers:
            if peer.number == message.get("id"):
                answer = message.get("answer")
                refusal = {"ok": False, "error": str(message.get("error"))}
                _tell(peer, answer if isinstance(answer, dict) else refusal)

    def _lost(self) -> None:
        """The connection to the controller is gone, and with it every question under way."""
        for peer in self._peers:
            if peer.number is not None and not peer.unsent:
                _tell(peer, {"ok": False, "error": "the controller went away in the middle of the question"})

    def _end(self, peer: _Peer) -> None:
        peer.socket.close()
        self._peers.remove(peer)


def _listen(path: Path, group: str | None) -> socket.socket:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177 if group is None else 0o117)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    if group is not None:
        shutil.chown(path, group=group)
    listener.listen(_MOST_ASKING)
    listener.setblocking(False)
    return listener


def _tell(peer: _Peer, answer: Message) -> None:
    """Have an answer sent by the next :meth:`DriverDoor.run`, after which the conversation ends."""
    peer.unsent += json.dumps(answer).encode() + b"\n"
