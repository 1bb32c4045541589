"""What comes to the agents' port of a running controller, wanted or not."""

import secrets
import socket
import subprocess
import sys
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_NUMBERS = count(1)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def host():
    """A name and a datapath id that no other test uses."""
    number = next(_NUMBERS)
    return f"host-{number}", 0x1000 + number


def _works(running, host, dpid):
    """An agent can come, be heard and be seen."""
    with running.agent() as agent:
        agent.hello(host)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}
        shown = {entry["name"]: entry for entry in running.status()["hosts"]}
        assert shown[host]["agent"]
        assert shown[host]["dpid"] == f"{dpid:016x}"


def _until_said(running, wait_until, *words):
    """The refusals in the status that say so; the log has one line a second at most about one address."""
    return wait_until(lambda: [one for one in running.status()["problems"] if all(word in one for word in words)])


def _refused(running):
    return running.status()["counters"]["refused_peers"]


def test_a_question_about_nobody_is_answered(running, host):
    name, dpid = host
    with running.agent() as agent:
        agent.hello(name)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}
        for ofport in (9, "9", None):
            agent.send({"type": "metadata", "id": 5, "ofport": ofport, "mac": 1})
            error = f"nobody that the store knows is at port {ofport!r}"
            assert agent.receive() == {"type": "metadata_reply", "id": 5, "facts": None, "error": error}


def test_hello_snapshot_ping(running, host, wait_until):
    name, dpid = host
    with running.agent() as agent:
        agent.hello(name)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}
        agent.send({"type": "ping"})
        assert agent.receive() == {"type": "pong"}
        agent.send({"type": "pong"})
        agent.snapshot(dpid, seq=2)
        assert agent.receive() == {"type": "ack", "seq": 2}
    # An agent that is gone is a problem of its host, which stays known.
    (entry,) = wait_until(
        lambda: [one for one in running.status()["hosts"] if one["name"] == name and not one["agent"]]
    )
    assert "its agent is not connected" in entry["problems"]


def test_frames_cut_into_bytes(running, host):
    name, dpid = host
    with running.agent() as agent:
        agent.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        agent.connection = _Bytewise(agent.connection)
        agent.hello(name)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}


class _Bytewise:
    def __init__(self, connection):
        self._connection = connection

    def sendall(self, data):
        for byte in data:
            self._connection.sendall(bytes((byte,)))

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\0\0\0\4junk", b"\0\0\0\1\xc0", b"\0\0\0\0"]
)
def test_garbage_ends_its_connection_alone(running, host, wait_until, data):
    with running.agent() as other, running.agent() as agent:
        other.hello(f"{host[0]}-other")
        before = _refused(running)
        agent.connection.sendall(data)
        assert agent.receive() is None
        wait_until(lambda: _refused(running) == before + 1)
        other.snapshot(host[1] + 0x10000)
        assert other.receive() == {"type": "ack", "seq": 1}
    _works(running, *host)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "snapshot", "seq": 1}, "the first message must be a hello with the host's name"),
        ({"type": "ping"}, "the first message must be a hello with the host's name"),
        ({"type": "hello", "version": 1}, "the first message must be a hello with the host's name"),
        ({"type": "hello", "version": 1, "host": ""}, "the first message must be a hello with the host's name"),
        ({"type": "hello", "version": 1, "host": 7}, "the first message must be a hello with the host's name"),
        ({"type": "hello", "host": "h"}, "speaks version None, this controller 1; upgrade it"),
        ({"type": "hello", "version": 2, "host": "h"}, "speaks version 2, this controller 1; upgrade it"),
        ({}, "the first message must be a hello with the host's name"),
    ],
)
def test_no_or_wrong_hello(running, host, wait_until, message, said):
    before = _refused(running)
    with running.agent() as agent:
        agent.send(message)
        assert agent.receive() is None
    wait_until(lambda: _refused(running) == before + 1)
    assert _until_said(running, wait_until, "an agent at 127.0.0.1", said)
    _works(running, *host)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dpid": 0}, "dpid 0 is not a datapath id"),
        ({"dpid": "one"}, "dpid 'one' is not a datapath id"),
        ({"bridge": None}, "bridge must be a name"),
        ({"ports": None}, "ports a list"),
        ({"ports": [1]}, "a port must be a map"),
        ({"ports": [{"name": "p", "ofport": -1}]}, "port 'p' has no valid ofport (-1)"),
        ({"type": "gossip"}, "unknown message 'gossip'"),
    ],
)
def test_bad_message_after_the_hello(running, host, wait_until, change, said):
    name, dpid = host
    with running.agent() as agent:
        agent.hello(name)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}
        agent.send({"type": "snapshot", "seq": 2, "dpid": dpid, "bridge": "b", "ports": [], "problems": [], **change})
        assert agent.receive() is None
    assert len(_until_said(running, wait_until, f"agent {name} at", said)) == 1
    # What it had said before stays true.
    assert f"{dpid:016x}" in [entry["dpid"] for entry in running.status()["hosts"]]


def test_datapath_of_another_host_is_refused_in_one_line(running, host, wait_until):
    name, dpid = host
    thief = f"{name}-thief"
    with running.agent() as agent:
        agent.hello(name)
        agent.snapshot(dpid)
        assert agent.receive() == {"type": "ack", "seq": 1}
        with running.agent() as other:
            other.hello(thief)
            other.snapshot(dpid)
            assert other.receive() is None
        said = _until_said(running, wait_until, f"agent {thief} at", f"datapath {dpid:016x} belongs to host {name}")
        assert len(said) == 1
        assert "already; give one of them another (" in said[0]
        assert thief not in [entry["name"] for entry in running.status()["hosts"]]
        agent.snapshot(dpid, seq=2)
        assert agent.receive() == {"type": "ack", "seq": 2}


def test_newer_connection_of_a_host_counts(running, host):
    name, dpid = host
    with running.agent() as newer:
        with running.agent() as older:
            for agent in (older, newer):
                agent.hello(name)
                agent.snapshot(dpid)
                assert agent.receive() == {"type": "ack", "seq": 1}
        newer.send({"type": "ping"})
        assert newer.receive() == {"type": "pong"}
        assert [entry["agent"] for entry in running.status()["hosts"] if entry["name"] == name] == [True]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    message=st.dictionaries(
        st.sampled_from(["type", "host", "version", "seq", "dpid", "bridge", "ports", "problems", "other"]), _VALUES
    ),
    port=st.dictionaries(st.sampled_from(["name", "ofport", "role", "iface_id", "mac", "link_up"]), _VALUES),
    named=st.booleans(),
)
def test_no_message_ends_the_controller(running, message, port, named):
    with running.agent() as agent:
        if named:
            agent.hello(f"odd-{secrets.token_hex(4)}")
            agent.send(
                {"type": "snapshot", "bridge": "b", "dpid": secrets.randbits(60) + 1, "ports": [port], **message}
            )
        else:
            agent.send(message)
        agent.connection.shutdown(socket.SHUT_WR)
        while agent.receive() is not None:
            pass
    assert running.status()["ok"]


def test_half_open_connections_hold_nobody_up_and_are_ended(new_controller, wait_until):
    """With a shorter bound than the real one, so that the test is short, too."""
    controller = new_controller()
    program = (
        "import sys; from controller import agent_server, handshakes, __main__; "
        "handshakes.PATIENCE, agent_server._SILENCE = 3.0, 0.5; sys.exit(__main__.main())"
    )
    controller.start((sys.executable, "-c", program))
    wait_until(controller.answers)
    silent = [controller.agent() for _ in range(200)]
    try:
        silent[0].connection.sendall(b"\0\0")
        _works(controller, "busy", 1)
        # One that has said hello is asked whether it is still there, and given up when it says nothing.
        with controller.agent() as mute:
            mute.hello("mute")
            assert mute.receive() == {"type": "ping"}
            assert mute.receive() is None
        assert all(agent.receive() is None for agent in silent)
    finally:
        for agent in silent:
            agent.connection.close()
    _works(controller, "busy", 1)
    descriptors = subprocess.check_output(["ls", f"/proc/{controller.process.pid}/fd"], text=True).split()
    assert len(descriptors) < 60
