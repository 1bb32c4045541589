"""Mutated OpenFlow messages on guard and parsers, and the judge itself, which must be able to say no."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from controller import wire
from flowrules.encode import HEADER
from fuzz import frames
from fuzz.frames import Judge

ENDLESS = HEADER.pack(4, 0, 16, 1) + b"\0\1\0\0" + bytes(4)


def test_a_hundred_thousand_mutated_frames(tmp_path: Path) -> None:
    outcome = frames.run(tmp_path, 100_000, seed=20)
    assert outcome.wrong == []
    assert outcome.end_kb - outcome.warm_kb < frames.GROWTH
    assert set(outcome.verdicts) == {"refused", "for the session", "for Ryu", "dropped"}
    assert min(outcome.verdicts.values()) > 200, "some must get through, or nothing has been tried"


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
