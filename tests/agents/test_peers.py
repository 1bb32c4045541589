"""When other hosts' tunnels are looked for, and that it harms nothing."""

import socket

import pytest

from agents.peers import AGAIN_S, FIRST_S, Due, Peers
from agents.session import PeerError, Session, Timing

ONE, OTHER = "10.254.0.12", "10.254.0.13"


def test_a_new_peer_is_looked_for_at_once_and_then_now_and_again():
    due = Due()
    assert (due.take(100.0), due.deadline) == ([], None)
    due.want([ONE], 100.0)
    sent, now = [], 100.0
    while len(sent) < len(FIRST_S) + 3:
        assert due.deadline >= now
        now = due.deadline
        assert due.take(now) == [ONE]
        assert due.take(now) == []
        sent.append(now - 100.0)
    assert sent == [*FIRST_S, *(FIRST_S[-1] + AGAIN_S * number for number in (1, 2, 3))]


def test_who_comes_is_new_who_stays_is_not_and_who_goes_is_forgotten():
    due = Due()
    due.want([ONE], 0.0)
    due.take(10.0)
    due.want([ONE, OTHER], 20.0)
    assert due.take(20.0) == [OTHER]
    due.want([OTHER], 30.0)
    assert due.take(1000.0) == [OTHER]
    due.want([ONE, OTHER], 1000.0)
    assert due.take(1000.0) == [ONE]


def test_a_pause_is_not_made_up_for():
    due = Due()
    due.want([ONE], 0.0)
    assert due.take(1000.0) == [ONE]
    assert due.deadline == 1000.0 + AGAIN_S


def test_datagrams_are_empty_come_from_the_own_address_and_go_to_the_discard_port(monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.2", 0))
        heard.settimeout(5)
        monkeypatch.setattr("agents.peers._DISCARD", heard.getsockname()[1])
        Peers("127.0.0.1").run(["127.0.0.1", "127.0.0.2", "255.255.255.255"], 0.0)
        data, (address, _) = heard.recvfrom(100)
    assert (data, address) == (b"", "127.0.0.1")


def test_without_tunnels_or_an_address_nothing_happens():
    silent = Peers(None)
    silent.run([ONE], 0.0)
    assert silent.deadline is None
    early = Peers("192.0.2.77")  # not an address of this machine
    early.run([ONE], 0.0)
    assert early.deadline == FIRST_S[1]


def test_the_controller_names_the_peers():
    session = Session("h1", Timing(), 0.0)
    session.receive({"type": "pong"}, 1.0)
    assert session.peers is None
    session.receive({"type": "pong", "peers": [OTHER, ONE, ONE]}, 1.0)
    assert session.peers == (ONE, OTHER)
    for said in ("10.0.0.1", ["fd00::1"], [ONE] * 5000):
        with pytest.raises(PeerError):
            session.receive({"type": "pong", "peers": said}, 1.0)
