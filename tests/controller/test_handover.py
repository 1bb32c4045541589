"""An elastic IP never has two owners among hosts that answer."""

from controller.handover import PATIENCE, Handover


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_free_address_may_be_claimed_at_once():
    handover = Handover(Clock())
    assert handover.may_claim("198.51.100.64", "h1", connected={"h1", "h2"}, unsynced={"h1"})


def test_a_held_address_waits_for_its_holder():
    handover = Handover(Clock())
    assert handover.claimed("198.51.100.64", "h1")
    assert not handover.may_claim("198.51.100.64", "h2", connected={"h1", "h2"}, unsynced=set())
    handover.released("198.51.100.64", "h1")
    assert handover.may_claim("198.51.100.64", "h2", connected={"h1", "h2"}, unsynced=set())


def test_a_holder_that_is_not_connected_is_not_waited_for():
    handover = Handover(Clock())
    handover.claimed("198.51.100.64", "h1")
    assert handover.may_claim("198.51.100.64", "h2", connected={"h2"}, unsynced=set())


def test_a_holder_that_does_not_answer_is_waited_for_within_bounds():
    clock = Clock()
    handover = Handover(clock)
    handover.claimed("198.51.100.64", "h1")
    everyone = {"h1", "h2"}
    assert not handover.may_claim("198.51.100.64", "h2", connected=everyone, unsynced=set())
    clock.now += PATIENCE - 0.1
    assert not handover.may_claim("198.51.100.64", "h2", connected=everyone, unsynced=set())
    clock.now += 0.2
    assert handover.may_claim("198.51.100.64", "h2", connected=everyone, unsynced=set())


def test_after_a_restart_a_host_that_was_not_compared_yet_might_hold_it():
    handover = Handover(Clock())
    assert not handover.may_claim("198.51.100.64", "h2", connected={"h1", "h2"}, unsynced={"h1", "h2"})
    assert handover.may_claim("198.51.100.64", "h2", connected={"h1", "h2"}, unsynced={"h2"})


def test_only_a_new_claim_is_announced():
    handover = Handover(Clock())
    assert handover.claimed("198.51.100.64", "h1")
    assert not handover.claimed("198.51.100.64", "h1")
    assert handover.claimed("198.51.100.64", "h2")
    handover.released("198.51.100.64", "h1")
    assert handover.holders == {"198.51.100.64": "h2"}
