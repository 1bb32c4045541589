"""Word to the other processes: bounded waits, and never an error."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from econe_api.config import Config, parse
from econe_api.notify import Notifier


@pytest.fixture
def quick(tmp_path: Path) -> Config:
    return replace(parse({"state": str(tmp_path)}, "test", tmp_path), acknowledge_timeout=0.2, settle_timeout=0.1)


@pytest.mark.parametrize(
    ("reply", "installed"),
    [
        ({"ok": True, "installed": True, "lagging": []}, True),
        ({"ok": True, "installed": False, "lagging": ["hv1"]}, False),
        ({"ok": True}, False),
        ({"ok": False, "error": "not now"}, False),
    ],
)
def test_installed(
    quick: Config, listen: Any, caplog: pytest.LogCaptureFixture, reply: dict[str, Any], installed: bool
) -> None:
    controller = listen(quick.controller.socket, reply)
    assert Notifier(quick).installed(7) is installed
    assert controller.heard == [{"op": "installed", "revision": 7, "timeout": 0.2}]
    assert ("hv1" in caplog.text) == ("hv1" in str(reply))


@pytest.mark.parametrize(("reply", "settled"), [({"ok": True, "settled": True}, True), ({"ok": True}, False)])
def test_settle(quick: Config, listen: Any, reply: dict[str, Any], settled: bool) -> None:
    compute = listen(quick.compute.socket, reply)
    assert Notifier(quick).settle(["i-1"]) is settled
    assert compute.heard == [{"op": "settle", "instances": ["i-1"], "timeout": 0.1}]
    assert Notifier(quick).settle([]) is True
    assert len(compute.heard) == 1


def test_nobody_listens(quick: Config, caplog: pytest.LogCaptureFixture) -> None:
    assert Notifier(quick).installed(1) is False
    assert Notifier(quick).settle(["i-1"]) is False
    assert "controller" in caplog.text
    assert "compute worker" in caplog.text


def test_a_listener_that_never_answers(quick: Config, listen: Any) -> None:
    listen(quick.controller.socket, None)
    started = time.monotonic()
    assert Notifier(quick).installed(1) is False
    assert 0.2 <= time.monotonic() - started < 5
