"""The service on real sockets: what becomes of clients that send no more."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.metadata.server import Server
from agents.metadata.tokens import Tokens
from channel.frames import FrameReader, pack

pytestmark = pytest.mark.lab

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, sched.h
_SERVICE = ("10.255.0.1", 80)
_ASK = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"


class Room:
    """A service in a network of its own, its client at 10.7.0.5, and the agent's end of the stream."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        thread = threading.Thread(target=self._build)  # a thread's network namespace is its own
        thread.start()
        thread.join()
        self.agent, other = socket.socketpair()
        self.agent.settimeout(30.0)
        self.client.settimeout(30.0)
        self.server = Server(self.listener, other, Tokens(bytes(32)))
        self._thread = threading.Thread(target=self.server.run)
        self._frames = FrameReader(1 << 16)
        self._heard: list[Any] = []

    def _build(self) -> None:
        assert ctypes.CDLL(None).unshare(_NEW_NETWORK) == 0
        for words in ("link set lo up", "address add 10.255.0.1/8 dev lo"):
            subprocess.run(["ip", *words.split()], check=True)
        self.listener = socket.create_server(_SERVICE)
        self.listener.setblocking(False)
        self.client = socket.socket()
        self.client.bind(("10.7.0.5", 0))

    def start(self) -> None:
        self._thread.start()
        assert self.hear()["type"] == "ready"
        self.client.connect(_SERVICE)

    def hear(self) -> Any:
        while not self._heard:
            self._heard += self._frames.feed(self.agent.recv(4096))
        return self._heard.pop(0)

    def tell(self) -> None:
        """Wait for the question about the client, and answer it."""
        asked = self.hear()
        assert (asked["type"], asked["ofport"], asked["mac"]) == ("ask", 5, 7)
        self.agent.sendall(pack({"id": asked["id"], "facts": self.facts}))

    def rest(self) -> bytes:
        """What the client is sent until its connection is closed."""
        said = bytearray()
        while chunk := self.client.recv(4096):
            said += chunk
        return bytes(said)

    def close(self) -> None:
        self.agent.close()
        if self._thread.is_alive():
            self._thread.join(30)
        self.client.close()
        self.listener.close()


@pytest.fixture
def room(facts: dict[str, Any]) -> Iterator[Room]:
    made = Room(facts)
    made.start()
    yield made
    made.close()


def _count(room: Room) -> Callable[[], int]:
    """Count how often the service wakes."""
    turns, real = [0], room.server._selector.select

    def select(timeout: float | None = None) -> Any:
        turns[0] += 1
        return real(timeout)

    room.server._selector.select = select  # type: ignore[method-assign]
    return lambda: turns[0]


@pytest.mark.parametrize("questions", [1, 2])
def test_who_sends_no_more_has_its_answers(room: Room, questions: int) -> None:
    room.client.sendall(_ASK * questions)
    room.client.shutdown(socket.SHUT_WR)
    for _ in range(questions):
        room.tell()
    said = room.rest()
    assert said.count(b"HTTP/1.1 200 OK") == said.count(b"\r\n\r\ni-1") == questions


def test_a_request_that_never_comes_whole_has_no_answer(room: Room) -> None:
    room.client.sendall(_ASK[:-2])
    room.client.shutdown(socket.SHUT_WR)
    assert room.rest() == b""


def test_nobody_turns_in_circles_while_the_controller_thinks(room: Room) -> None:
    room.client.sendall(_ASK)
    asked = room.hear()
    turns = _count(room)
    room.client.shutdown(socket.SHUT_WR)
    time.sleep(0.6)
    assert turns() < 20
    room.agent.sendall(pack({"id": asked["id"], "facts": room.facts}))
    assert b"i-1" in room.rest()


def test_an_open_connection_goes_on_being_used(room: Room) -> None:
    for _ in range(2):
        room.client.sendall(_ASK)
        room.tell()
        assert b"200 OK" in room.client.recv(4096)
