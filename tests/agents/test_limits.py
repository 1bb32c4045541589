"""Limits of connections per port: what is asked of a switch, and what a real one makes of it is a lab test."""

import json
import socket
import threading

import pytest

from agents.limits import PERIOD_S, Limits
from agents.questions import Questions


@pytest.fixture
def control(tmp_path):
    """A control socket that notes what is asked of it: (path, requests)."""
    path, heard = tmp_path / "switch.ctl", []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                request = json.loads(peer.recv(65536))
                heard.append((request["method"], request["params"]))
                peer.sendall(json.dumps({"id": 0, "result": "", "error": None}).encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path, heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def finish(limits, now):
    """Run until nothing is under way."""
    limits.run(now)
    while limits.wants is not None:
        limits.run(now)


def test_every_port_has_a_limit_of_its_own_and_it_is_set_again(control):
    path, heard = control
    limits = Limits(Questions(path), 500)
    limits.want("netdev", [7, 0x10003])
    assert limits.deadline == 0.0
    finish(limits, 100.0)
    asked = ("dpctl/ct-set-limits", ["netdev@ovs-netdev", "zone=3,limit=500", "zone=7,limit=500"])
    assert heard == [asked]
    limits.want("netdev", [7, 0x10003])
    finish(limits, 100.0 + PERIOD_S / 2)
    assert heard == [asked]
    finish(limits, 100.0 + PERIOD_S)
    assert heard == [asked, asked]
    limits.want("", [9])
    finish(limits, 101.0 + PERIOD_S)
    assert heard[2:] == [("dpctl/ct-set-limits", ["system@ovs-system", "zone=9,limit=500"])]


def test_without_ports_nothing_is_asked(control):
    path, heard = control
    limits = Limits(Questions(path), 500)
    finish(limits, 1.0)
    limits.want("netdev", [])
    finish(limits, 2.0)
    assert heard == []


def test_a_switch_that_is_away_is_asked_again(tmp_path, control):
    limits = Limits(Questions(tmp_path / "nobody.ctl"), 500)
    limits.want("netdev", [1])
    finish(limits, 1.0)
    assert limits.deadline == 1.0 + PERIOD_S


def test_limits_of_ports_that_have_gone_are_taken_away_once(control):
    path, heard = control
    limits = Limits(Questions(path), 500)
    limits.want("netdev", [5, 6, 7])
    finish(limits, 0.0)
    limits.want("netdev", [7])
    limits.want("netdev", [6, 7])  # a number that has come back keeps its limit
    heard.clear()
    finish(limits, 1.0)
    left = ("dpctl/ct-set-limits", ["netdev@ovs-netdev", "zone=6,limit=500", "zone=7,limit=500"])
    assert heard == [left, ("dpctl/ct-del-limits", ["netdev@ovs-netdev", "zone=5"])]
    heard.clear()
    finish(limits, 1.0 + PERIOD_S)
    assert heard == [left]
