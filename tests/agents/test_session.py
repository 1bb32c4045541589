"""The conversation with the controller, and the waits between tries and changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agents.ports import Snapshot
from agents.session import Backoff, PeerError, Session, Timing
from agents.settle import Settling

TIMING = Timing(answer=10, silence=5)


def state(number: int) -> Snapshot:
    return Snapshot(dpid=number, bridge="br-int", ports=(), ovs_version=None, problems=())


class Conversation(RuleBasedStateMachine):
    """A controller that answers late, twice, or not at all, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session("h1", TIMING, 0.0)
        self.offered: int | None = None
        self.received: list[dict[str, Any]] = []
        self.acked = 0
        self.pinged = False
        assert self.session.start() == [{"type": "hello", "version": 1, "host": "h1"}]

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["type"] == "snapshot":
                self.received.append(message)
            elif message["type"] == "ping":
                assert not self.pinged, "a ping while one is under way"
                self.pinged = True
            else:
                raise AssertionError(f"nobody asked for {message}")

    @rule(number=st.integers(1, 4))
    def change(self, number: int) -> None:
        self.offered = number
        self.take(self.session.offer(state(number), self.now))

    @precondition(lambda self: self.received)
    @rule()
    def acknowledge(self) -> None:
        if self.acked != len(self.received):
            self.pinged = False  # a second acknowledgement of the same answers no ping
        self.acked = len(self.received)
        self.take(self.session.receive({"type": "ack", "seq": self.acked}, self.now))

    @precondition(lambda self: self.acked)
    @rule()
    def acknowledge_again(self) -> None:
        self.take(self.session.receive({"type": "ack", "seq": self.acked}, self.now))

    @precondition(lambda self: self.pinged)
    @rule()
    def pong(self) -> None:
        self.pinged = False
        self.take(self.session.receive({"type": "pong"}, self.now))

    @rule()
    def ping(self) -> None:
        assert self.session.receive({"type": "ping"}, self.now) == [{"type": "pong"}]

    @rule(kind=st.none() | st.integers() | st.just("news"))
    def unknown(self, kind: object) -> None:
        assert self.session.receive({"type": kind}, self.now) == []

    @precondition(lambda self: not self.pinged and self.acked == len(self.received))
    @rule(seconds=st.floats(0, 4.9))
    def quiet_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.session.tick(self.now))

    @rule()
    def come_back_in_time(self) -> None:
        self.now = max(self.now, min(self.session.deadline, self.now + 1))
        if self.now < self.session.deadline:
            self.take(self.session.tick(self.now))

    @invariant()
    def one_at_a_time_and_in_order(self) -> None:
        assert [message["seq"] for message in self.received] == list(range(1, len(self.received) + 1))
        assert len(self.received) - self.acked <= 1

    @invariant()
    def all_acknowledged_means_all_told(self) -> None:
        if self.acked == len(self.received) and self.offered is not None:
            assert self.received[-1]["dpid"] == self.offered

    @invariant()
    def nothing_is_told_twice_in_a_row(self) -> None:
        numbers = [message["dpid"] for message in self.received]
        assert all(one != other for one, other in pairwise(numbers))


TestConversation = Conversation.TestCase


def test_an_overdue_acknowledgement_ends_the_conversation() -> None:
    session = Session("h1", TIMING, 100.0)
    session.offer(state(1), 100.0)
    assert session.tick(109.9) == []
    assert session.deadline == 110
    with pytest.raises(PeerError, match="no answer within 10 s"):
        session.tick(110.0)


def test_pings_do_not_stand_in_for_an_acknowledgement() -> None:
    session = Session("h1", TIMING, 0.0)
    session.offer(state(1), 0.0)
    for second in range(10):
        session.receive({"type": "pong"}, float(second))
        session.receive({"type": "ping"}, float(second))
        assert session.tick(float(second)) == []
    with pytest.raises(PeerError):
        session.tick(10.0)


def test_silence_is_probed_and_then_ends_the_conversation() -> None:
    session = Session("h1", TIMING, 0.0)
    assert session.tick(4.9) == []
    assert session.deadline == 5
    assert session.tick(5.0) == [{"type": "ping"}]
    session.receive({"type": "pong"}, 6.0)
    assert session.deadline == 11
    assert session.tick(11.0) == [{"type": "ping"}]
    assert session.deadline == 21
    with pytest.raises(PeerError):
        session.tick(21.0)


@pytest.mark.parametrize("seq", [0, 2, -1, None, "1", True, 1.0, [1], "x" * 1000])
def test_an_acknowledgement_of_what_was_never_sent_ends_the_conversation(seq: object) -> None:
    session = Session("h1", TIMING, 0.0)
    session.offer(state(1), 0.0)
    with pytest.raises(PeerError, match="1 is the last one sent") as caught:
        session.receive({"type": "ack", "seq": seq}, 1.0)
    assert len(str(caught.value)) < 120


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=30))
def test_waits_double_within_their_bounds_and_start_over(draws: list[float]) -> None:
    pending = iter(draws)
    backoff = Backoff(TIMING, lambda: next(pending))
    for at in range(len(draws) - 1):
        bound = min(TIMING.longest_wait, TIMING.shortest_wait * 2**at)
        assert bound / 2 <= backoff.wait() <= bound
    backoff.reset()
    assert backoff.wait() <= TIMING.shortest_wait


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=30))
def test_a_burst_is_over_soon_after_its_last_change_and_never_late(gaps: list[float]) -> None:
    settling = Settling(quiet=0.1, longest=0.5)
    assert settling.due is None
    now, first = 0.0, None
    for gap in gaps:
        now += gap
        if settling.take(now):
            first = None
        settling.touch(now)
        first = now if first is None else first
        due = settling.due
        assert due is not None
        assert due <= min(now + 0.1, first + 0.5)
        assert not settling.take(due - 0.001)
    assert settling.take(now + 0.1)
    assert not settling.take(now + 9)
