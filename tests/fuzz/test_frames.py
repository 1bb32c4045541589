"""Mutated OpenFlow messages on guard and parsers, and the judge itself, which must be able to say no."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller import wire
from flowrules.encode import HEADER
from fuzz import frames
from fuzz.frames import Judge

ROOT = Path(__file__).parents[2]
ENDLESS = HEADER.pack(4, 0, 16, 1) + b"\0\1\0\0" + bytes(4)


def test_a_hundred_thousand_mutated_frames() -> None:
    """In a process of its own: what other tests have left in Eventlet's loop would run between the frames."""
    command = (sys.executable, "-m", "fuzz.frames", "--count", "100000", "--seed", "20")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert said["wrong"].split() == ["wrong", "0"]
    verdicts = {
        word: int(count)
        for word, count in re.findall(r"(refused|for the session|for Ryu|dropped) (\d+)", said["verdicts"])
    }
    assert len(verdicts) == 4, said["verdicts"]
    assert min(verdicts.values()) > 200, "some must get through, or nothing has been tried"


def test_the_judge_notices_what_hangs_and_what_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "PATIENCE", 0.2)
    previous = signal.signal(signal.SIGVTALRM, frames.ring)
    try:
        judge = Judge()
        assert judge.judge(ENDLESS) == ("refused", None)
        monkeypatch.setattr(wire, "_admit", judge.ryu_alone)
        assert judge.judge(ENDLESS)[0] == "hang"
        assert judge.judge(HEADER.pack(4, 6, 8, 1))[0] == "raised"
    finally:
        signal.signal(signal.SIGVTALRM, previous)
