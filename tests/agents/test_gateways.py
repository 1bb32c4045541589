"""Gateways' MACs: what is believed, when is asked, and on a real wire."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from agents.gateways import KNOWN_S, UNKNOWN_S, Asked, Heard, Resolver, probe, read
from agents.session import PeerError, Session, Timing

OWN = bytes.fromhex("020000000001")
GATEWAY = "198.51.100.1"
MACS = st.sampled_from(["02:00:00:00:00:aa", "02:00:00:00:00:bb"])
ADDRESSES = st.sampled_from([GATEWAY, "198.51.100.2", "192.0.2.1"])


def test_the_probe_is_one() -> None:
    asked = Ether(probe(OWN, GATEWAY))
    assert (asked.dst, asked.src) == ("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01")
    assert (asked[ARP].op, asked[ARP].psrc, asked[ARP].pdst) == (1, "0.0.0.0", GATEWAY)
    assert asked[ARP].hwsrc == "02:00:00:00:00:01"


@given(ADDRESSES, MACS, st.sampled_from([1, 2]), st.booleans())
def test_an_answer_is_one_to_this_host(address: str, mac: str, operation: int, own: bool) -> None:
    target = "02:00:00:00:00:01" if own else "02:00:00:00:00:02"
    frame = bytes(Ether(src=mac, dst=target) / ARP(op=operation, hwsrc=mac, psrc=address, pdst="0.0.0.0"))
    assert read(frame, OWN) == Heard(address, mac, answer=operation == 2 and own)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"\xff" * 12 + b"\x08\x06\x00\x01" + rest))
def test_any_bytes_are_read_or_passed_over(frame: bytes) -> None:
    heard = read(frame, OWN)
    assert heard is None or not int(heard.mac[:2], 16) & 1


@given(st.lists(st.tuples(st.floats(0, 20), ADDRESSES, MACS, st.booleans()), max_size=20))
def test_answers_are_believed_hints_are_asked_about_and_nobody_is_flooded(events: Any) -> None:
    asked, now, last, probes = Asked(), 0.0, {}, []
    wanted = {GATEWAY, "192.0.2.1"}
    asked.want(wanted, now)
    assert set(asked.take(now)) == wanted
    for pause, address, mac, answer in events:
        now += pause
        probes += [(one, now) for one in asked.take(now)]
        before = dict(asked.known)
        asked.hear(Heard(address, mac, answer), now)
        if answer and address in wanted:
            last[address] = mac
        assert asked.known == last
        assert answer or asked.known == before, "a hint alone changes nothing"
        assert asked.deadline is not None and asked.deadline <= now + max(KNOWN_S, UNKNOWN_S)
        if not answer and address in wanted and before.get(address) != mac:
            assert asked.deadline <= now + UNKNOWN_S
    for one in wanted:
        times = [when for name, when in probes if name == one]
        assert all(later > earlier for earlier, later in pairwise(times))
    asked.want([GATEWAY], now)
    assert asked.known.keys() <= {GATEWAY}


@pytest.mark.parametrize("said", [None, "198.51.100.1", ["nonsense"], [GATEWAY] * 257, {GATEWAY: 1}])
def test_a_controller_that_asks_for_nonsense_is_given_up(said: object) -> None:
    session = Session("h1", Timing(), 0.0)
    with pytest.raises(PeerError):
        session.receive({"type": "pong", "gateways": said}, 1.0)
    assert session.gateways is None
    session.receive({"type": "pong", "gateways": [GATEWAY, GATEWAY]}, 1.0)
    session.receive({"type": "pong"}, 2.0)
    assert session.gateways == (GATEWAY,)


def test_an_uplink_that_cannot_be_listened_on_is_a_problem_and_tried_again() -> None:
    resolver = Resolver("no-such-device")
    resolver.run([GATEWAY], 0.0)
    assert resolver.problem is not None
    assert "no-such-device" in resolver.problem
    assert resolver.deadline == 5.0
    resolver.run([], 1.0)
    assert resolver.deadline is None
