"""The tour sees what it has to see, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

STEPS = 10


def test_everything_is_as_expected(start: Callable, tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    demo = start("demo", "--json", str(file))
    demo.read_until("Everything was as expected")
    assert demo.ended() == 0
    document = json.loads(file.read_text())
    assert document["as_expected"] is True
    assert document["seconds"] < 60
    assert len(document["steps"]) == STEPS
    for step in document["steps"]:
        assert step["error"] is None
        assert step["observations"]
        assert all(one["seen"] == one["expected"] and one["as_expected"] for one in step["observations"])


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("waiting for ovsdb-server", signal.SIGINT),
        ("controller, agents", signal.SIGHUP),
        ("waiting for every hypervisor", signal.SIGINT),
        ("ready after", signal.SIGTERM),
        ("2. Associate", signal.SIGINT),
        ("7. Open port 9000", signal.SIGTERM),
    ],
)
def test_a_signal_ends_it_cleanly(start: Callable, moment: str, number: int) -> None:
    """That nothing is left is what the name's fixture asserts."""
    demo = start("demo")
    demo.read_until(moment)
    demo.signal_all(number)
    assert demo.ended() == 128 + number


def test_after_a_kill_the_next_one_cleans_up(start: Callable) -> None:
    killed = start("demo")
    killed.read_until("ready after")
    killed.process.kill()
    killed.ended()
    following = start("demo")
    following.read_until("ready after")
    assert any("cleaning up what an earlier lab" in line for line in following.lines)
    following.signal_all(signal.SIGINT)
    assert following.ended() == 128 + signal.SIGINT


def test_two_of_one_name_do_not_meet(start: Callable) -> None:
    first = start("demo")
    first.read_until("namespaces, bridges")
    second = start("demo")
    assert second.ended() == 1
    said = second.process.stderr.read().splitlines()
    assert len(said) == 1
    assert "is running on this machine" in said[0]
    first.signal_all(signal.SIGINT)
    assert first.ended() == 128 + signal.SIGINT


def test_a_file_that_cannot_be_written_is_named(start: Callable) -> None:
    demo = start("demo", "--json", "/proc/nowhere/demo.json")
    assert demo.ended() == 1
    said = demo.process.stderr.read().splitlines()
    assert len(said) == 1
    assert "/proc/nowhere/demo.json cannot be written" in said[0]
