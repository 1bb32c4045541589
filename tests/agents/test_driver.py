"""The door to OpenNebula's driver: one line in, one line out, by way of the controller."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.driver import DoorError, DriverDoor


class Line:
    """A link as the door sees it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.up = True
        self.on_driver: Callable[[dict[str, Any]], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None

    def ask(self, message: dict[str, Any]) -> bool:
        self.asked += [message] if self.up else []
        return self.up


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "d.sock"


@pytest.fixture
def door(path: Path, line: Line) -> Iterator[DriverDoor]:
    made = DriverDoor(path, None, "br-int", line)  # type: ignore[arg-type]
    yield made
    made.close()
    assert not path.exists()


def ask(path: Path, text: bytes) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(10)
    peer.connect(str(path))
    peer.sendall(text)
    return peer


def turn(door: DriverDoor, until: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        door.run(time.monotonic())
        time.sleep(0.002)


def answer(door: DriverDoor, peer: socket.socket) -> Any:
    said = bytearray()
    peer.setblocking(False)

    def heard() -> bool:
        try:
            data = peer.recv(65536)
        except BlockingIOError:
            return False
        said.extend(data)
        return not data

    turn(door, heard)
    peer.close()
    return json.loads(said)


def test_questions_go_to_the_controller_and_answers_come_back(door: DriverDoor, path: Path, line: Line) -> None:
    one, two = ask(path, b'{"op": "check"}\n'), ask(path, b'{"op": "forget"}\n')
    turn(door, lambda: len(line.asked) == 2)
    for message in reversed(line.asked):
        said = {"ok": True, "was": message["question"]}
        line.on_driver({"type": "driver_reply", "id": message["id"], "answer": said})
    assert answer(door, one)["was"] == {"op": "check"}
    assert answer(door, two)["was"] == {"op": "forget"}


def test_it_says_what_it_knows_itself(door: DriverDoor, path: Path, line: Line) -> None:
    assert answer(door, ask(path, b'{"op": "about"}\n')) == {"ok": True, "bridge": "br-int"}
    assert line.asked == []


@pytest.mark.parametrize(
    "text", [b"nonsense\n", b"[]\n", b"\xff\n", b"x" * 600_000 + b"\n"], ids=["words", "list", "bytes", "long"]
)
def test_what_is_no_question_is_refused(door: DriverDoor, path: Path, text: bytes) -> None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(str(path))
    peer.setblocking(False)
    left = bytearray(text)

    def sent() -> bool:
        try:
            del left[: peer.send(left)]
        except (BlockingIOError, BrokenPipeError):
            return not left
        return not left

    turn(door, sent)
    assert answer(door, peer)["ok"] is False


def test_without_a_controller_it_says_so_at_once(door: DriverDoor, path: Path, line: Line) -> None:
    waiting = ask(path, b'{"op": "check"}\n')
    turn(door, lambda: line.asked)
    line.on_lost()
    assert "went away" in answer(door, waiting)["error"]
    line.up = False
    assert "no connection" in answer(door, ask(path, b'{"op": "check"}\n'))["error"]


def test_only_root_and_the_group_may_ask(door: DriverDoor, path: Path, line: Line) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        other = DriverDoor(path.with_name("g.sock"), "daemon", "br-int", line)  # type: ignore[arg-type]
        assert stat.S_IMODE(path.with_name("g.sock").stat().st_mode) == 0o660
        other.close()
    with pytest.raises(DoorError, match="no-such-group"):
        DriverDoor(path.with_name("x.sock"), "no-such-group", "br-int", line)  # type: ignore[arg-type]
