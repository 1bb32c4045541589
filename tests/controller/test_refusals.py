"""What is remembered, and said, of those who were refused: enough to find them, never so much that it is an attack."""

import pytest

from controller.refusals import MOST_ADDRESSES, MOST_REASONS, REMEMBERED, Refusals

AGENT, SWITCH = "an agent at", "OpenFlow connection from"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def refusals(clock):
    return Refusals(clock)


def test_they_are_counted_and_forgotten(refusals, clock):
    for _ in range(3):
        refusals.note(AGENT, "10.0.0.9", "it shows no certificate")
    clock.now += 5
    assert refusals.problems() == ["refused: an agent at 10.0.0.9: it shows no certificate (5 s ago, 3 times)"]
    clock.now += REMEMBERED
    assert refusals.problems() == []
    assert refusals.count == 3


def test_what_goes_on_is_one_line_and_an_address_gets_one_a_second(refusals, clock, caplog):
    for number in range(1000):
        refusals.note(SWITCH, "10.0.0.9", f"nonsense {number % 4}")
        refusals.note(AGENT, "10.0.0.9", "it speaks no TLS")
        clock.now += 0.01
    said = [line.getMessage() for line in caplog.records]
    assert len(said) == 5, "each of the reasons, a second or more apart"
    assert said[0] == "OpenFlow connection from 10.0.0.9 is refused: nonsense 0"
    assert "more since the last line)" in said[1]
    caplog.clear()
    clock.now += REMEMBERED + 1
    refusals.note(AGENT, "10.0.0.9", "it speaks no TLS")
    assert len(caplog.records) == 1, "that is news again"


def test_no_attack_fills_the_memory_or_hides_the_others(refusals):
    refusals.note(AGENT, "10.0.0.1", "it shows no certificate")
    for number in range(1000):
        refusals.note(SWITCH, "10.9.9.9", f"nonsense {number}")
    assert len(refusals.problems()) == 1 + MOST_REASONS
    assert "an agent at 10.0.0.1" in refusals.problems()[0]
    for number in range(1000):
        refusals.note(SWITCH, f"10.1.0.{number}", "it speaks no TLS")
    assert len(refusals.problems()) == MOST_ADDRESSES
