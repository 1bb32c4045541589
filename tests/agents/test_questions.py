"""Questions to ovs-vswitchd: only what may be asked, never waited for, each one answered."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from agents.options import parse
from agents.questions import LONGEST_ANSWER, Questions


@pytest.fixture
def switch(tmp_path: Path) -> Any:
    """A control socket that answers when a test wants it to."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "ovs-vswitchd.ctl"))
        listener.listen()
        listener.settimeout(10)
        yield listener


def question(number: int = 1, command: str = "ofproto/trace", *words: str) -> dict[str, Any]:
    return {"type": "appctl", "id": number, "command": command, "arguments": list(words)}


def answers(questions: Questions) -> list[dict[str, Any]]:
    """Let it run until something comes."""
    deadline = time.monotonic() + 10
    while not (found := questions.run()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


def reply(switch: socket.socket, **content: Any) -> dict[str, Any]:
    peer, _ = switch.accept()
    with peer:
        asked = json.loads(peer.recv(65536))
        peer.sendall(json.dumps({"id": 0, "error": None, "result": "", **content}).encode())
    return dict(asked)


def test_a_question_is_passed_on_and_answered(tmp_path: Path, switch: socket.socket) -> None:
    questions = Questions(tmp_path)
    assert questions.wants is None
    assert questions.ask(question(7, "ofproto/trace", "br-int", "in_port=1")) == []
    assert questions.run() == []
    assert questions.wants is not None
    assert questions.deadline is not None
    asked = reply(switch, result="Datapath actions: {drop}")
    assert (asked["method"], asked["params"]) == ("ofproto/trace", ["br-int", "in_port=1"])
    expected = {"type": "appctl_reply", "id": 7, "text": "Datapath actions: {drop}", "error": None, "truncated": False}
    assert answers(questions) == [expected]
    assert questions.wants is None


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (question(1, "exit"), "'exit' may not be asked"),
        (question(1, "vlog/set"), "may not be asked"),
        ({"type": "appctl", "id": 1}, "may not be asked"),
        ({**question(), "arguments": "br-int"}, "a list"),
        ({**question(), "arguments": [1]}, "a text"),
        (question(1, "ofproto/trace", *["x"] * 17), "at most 16"),
        (question(1, "ofproto/trace", "x" * 4097), "at most 4096"),
    ],
)
def test_what_may_not_be_asked_is_refused_at_once(tmp_path: Path, message: dict[str, Any], error: str) -> None:
    (refusal,) = Questions(tmp_path).ask(message)
    assert refusal["id"] == 1
    assert error in refusal["error"]


def test_errors_silence_and_absence_are_answers(tmp_path: Path, switch: socket.socket) -> None:
    questions = Questions(tmp_path, patience=0.2)
    questions.ask(question(1))
    questions.ask(question(2))
    questions.run()
    reply(switch, error="no such\nbridge")
    assert [(one["id"], one["error"]) for one in answers(questions)] == [(1, "no such bridge")]
    peer, _ = switch.accept()
    assert [(one["id"], "nothing within 0.2 s" in one["error"]) for one in answers(questions)] == [(2, True)]
    peer.close()
    (gone,) = Questions(tmp_path / "nowhere").ask(question(3)) or _ask_and_run(Questions(tmp_path / "nowhere"), 3)
    assert "ovs-vswitchd does not answer" in gone["error"]


def _ask_and_run(questions: Questions, number: int) -> list[dict[str, Any]]:
    questions.ask(question(number))
    return questions.run()


def test_a_long_answer_is_cut_and_says_so(tmp_path: Path, switch: socket.socket) -> None:
    questions = Questions(tmp_path)
    questions.ask(question())
    questions.run()
    peer, _ = switch.accept()
    peer.setblocking(False)
    unsent = memoryview(json.dumps({"id": 0, "error": None, "result": "}" * (LONGEST_ANSWER + 1)}).encode())
    found: list[dict[str, Any]] = []
    while not found:
        if unsent:
            unsent = unsent[peer.send(unsent[:100_000]) :]
        found = questions.run()
    peer.close()
    assert (len(found[0]["text"]), found[0]["truncated"]) == (LONGEST_ANSWER, True)


def test_no_more_than_a_bounded_number_waits_and_all_can_be_forgotten(tmp_path: Path) -> None:
    questions = Questions(tmp_path)
    refused = [questions.ask(question(number)) for number in range(65)]
    assert [bool(one) for one in refused] == [False] * 64 + [True]
    questions.forget()
    assert questions.run() == []


def test_the_socket_named_after_the_process_is_found(tmp_path: Path) -> None:
    (tmp_path / "ovs-vswitchd.pid").write_text("123\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "ovs-vswitchd.123.ctl"))
        listener.listen()
        questions = Questions(tmp_path)
        questions.ask(question())
        assert questions.run() == []
        assert questions.wants is not None
        questions.forget()


def test_the_folder_is_that_of_the_database() -> None:
    needed = ["--host", "h1", "--controller", "tcp:10.0.0.1:6653", "--report", "10.0.0.1:6654"]
    assert parse(needed).control == Path("/var/run/openvswitch")
    assert parse([*needed, "--ovsdb", "unix:/run/x/db.sock"]).control == Path("/run/x")
    assert parse([*needed, "--control", "/run/y.ctl"]).control == Path("/run/y.ctl")
