"""What comes to the unix socket of a running controller, wanted or not."""

import signal
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channel.client import ChannelError, request

_VALUES = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(max_size=8)


def test_several_requests_on_one_connection(running):
    with running.client() as client:
        for _ in range(3):
            client.send({"op": "status"})
        answers = [client.receive() for _ in range(3)]
    assert [answer["ok"] for answer in answers] == [True] * 3
    assert answers[0].keys() == {"ok", "revision", "hosts", "problems", "counters"}


@pytest.mark.parametrize("message", [{"op": "fly"}, {}, {"op": None}, {"op": ["status"]}, {"op": "installed"}])
def test_unknown_request_is_refused_and_the_connection_stays(running, message):
    with running.client() as client:
        client.send(message)
        assert client.receive() == {"ok": False, "error": "not a request that the controller knows"}
        client.send({"op": "status"})
        assert client.receive()["ok"]


@pytest.mark.parametrize(
    ("revision", "timeout"), [(0, -1), (0, 61), (0, float("nan")), (0, float("inf")), (True, 1), (0, False)]
)
def test_bad_numbers_are_refused(running, revision, timeout):
    with pytest.raises(ChannelError, match="revision must be an integer and timeout 0 to 60 seconds"):
        request(running.socket, {"op": "installed", "revision": revision, "timeout": timeout}, 5.0)


def test_installed_waits_for_its_bound_alone(running):
    begin = time.monotonic()
    answer = request(running.socket, {"op": "installed", "revision": 1 << 40, "timeout": 0.3}, 5.0)
    assert answer == {"ok": True, "installed": False, "lagging": []}
    assert 0.3 <= time.monotonic() - begin < 3.0
    assert request(running.socket, {"op": "installed", "revision": 0, "timeout": 0}, 5.0)["installed"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "over the limit"),
        (b"\0\0\0\4junk", "not valid msgpack"),
        (b"\0\0\0\1\xc0", "where a map belongs"),
    ],
)
def test_garbage_is_told_and_ends_its_connection(running, data, said):
    with running.client() as client:
        client.connection.sendall(data)
        answer = client.receive()
        assert answer["ok"] is False
        assert said in answer["error"]
        assert client.receive() is None
    assert running.status()["ok"]


def test_many_ask_at_once(running):
    """As the threads of the API do."""
    clients = [running.client() for _ in range(100)]
    try:
        for client in clients:
            client.send({"op": "installed", "revision": 1 << 40, "timeout": 0.5})
        assert [client.receive()["installed"] for client in clients] == [False] * 100
    finally:
        for client in clients:
            client.connection.close()


def test_clients_that_go_while_they_wait_hold_nobody_up(running):
    for _ in range(100):
        with running.client() as client:
            client.send({"op": "installed", "revision": 1 << 40, "timeout": 60})
    assert running.status()["ok"]


def test_waiting_clients_do_not_delay_the_end(new_controller, wait_until):
    controller = new_controller()
    controller.start()
    wait_until(controller.answers)
    with controller.client() as client:
        client.send({"op": "installed", "revision": 1 << 40, "timeout": 60})
        controller.process.send_signal(signal.SIGTERM)
        assert controller.process.wait(5) == 0
        assert client.receive() is None
    assert controller.lines("Traceback") == []


def test_silent_connections_are_ended(new_controller, wait_until):
    """With a shorter bound than the real one."""
    controller = new_controller()
    program = (
        "import sys; from controller import request_server, __main__; "
        "request_server._IDLE = 1.0; sys.exit(__main__.main())"
    )
    controller.start((sys.executable, "-c", program))
    wait_until(controller.answers)
    silent = [controller.client() for _ in range(40)]
    try:
        silent[0].connection.sendall(b"\0")
        assert controller.status()["ok"]
        assert all(client.receive() is None for client in silent)
    finally:
        for client in silent:
            client.connection.close()
    assert controller.status()["ok"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["op", "revision", "timeout", "x"]), _VALUES | st.just("installed")))
def test_no_request_ends_the_controller(running, message):
    bounded = {**message, "timeout": 0.01} if isinstance(message.get("timeout"), int | float) else message
    with running.client() as client:
        client.send(bounded)
        assert isinstance(client.receive()["ok"], bool)
    assert running.status()["ok"]
