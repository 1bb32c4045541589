"""Who may become a switch: a bounded handshake, one connection per datapath id, and nobody kept out by who stalls."""

import resource
import signal
import socket
import struct
import sys

import pytest

from flowrules.encode import HEADER

HELLO = HEADER.pack(4, 0, 8, 0)
DPID = 0xD0
STALLED = {
    "nothing": b"",
    "half a header": HELLO[:5],
    "half a hello": HEADER.pack(4, 0, 16, 0) + bytes(4),
    "no features": HELLO,
    "half the features": HELLO + HEADER.pack(4, 6, 32, 1) + bytes(9),
    "no ports": HELLO + HEADER.pack(4, 6, 32, 1) + struct.pack("!Q", DPID) + bytes(16),
    "echoes alone": HELLO + HEADER.pack(4, 2, 8, 1) * 20,
}


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def impatient(new_controller, wait_until):
    """Start a controller with shorter bounds than the real ones, so that the tests are short, too."""

    def start(seconds, waiting=2048, settings=""):
        controller = new_controller(settings)
        program = (
            "import sys; from controller import handshakes, __main__; "
            f"handshakes.PATIENCE, handshakes.MOST_WAITING = {seconds}, {waiting}; "
            "sys.exit(__main__.main())"
        )
        controller.start((sys.executable, "-c", program))
        wait_until(controller.answers)
        return controller

    return start


@pytest.fixture
def real_switch(private_ovs):
    """Make bridges that connect to a controller; they go with the test."""
    made = []

    def connect(controller, dpid):
        name = f"real{len(made)}"
        made.append(name)
        settings = (
            "datapath_type=dummy",
            "fail_mode=secure",
            "protocols=OpenFlow13",
            f"other-config:datapath-id={dpid:016x}",
        )
        private_ovs.vsctl("add-br", name, "--", "set", "bridge", name, *settings)
        private_ovs.vsctl("set-controller", name, f"tcp:127.0.0.1:{controller.openflow}")
        return name

    yield connect
    for name in made:
        private_ovs.vsctl("del-br", name)


def knock(port, data=b""):
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    peer.sendall(data)
    return peer


def ended(peer):
    """Wait until the other side has closed."""
    try:
        while peer.recv(65536):
            pass
    except ConnectionError:
        pass
    peer.close()
    return True


def test_whoever_stalls_in_the_handshake_is_put_out_with_a_line_and_a_word(impatient, wait_until):
    controller = impatient(1.0)
    peers = [knock(controller.openflow, data) for data in STALLED.values()]
    assert all(ended(peer) for peer in peers)
    assert len(controller.lines("did not finish the handshake within 1 s")) >= 1
    status = controller.status()
    assert status["counters"]["refused_peers"] == len(STALLED)
    assert any("from 127.0.0.1: it did not finish the handshake" in one for one in status["problems"])


def test_a_thousand_half_open_connections_keep_neither_switch_nor_agent_out(impatient, real_switch, wait_until):
    controller = impatient(6.0)
    data = list(STALLED.values())
    peers = [knock(controller.openflow, data[number % len(data)]) for number in range(1000)]
    peers += [knock(controller.agents, (b"", b"\0", b"\0\0\0\x40\x80")[number % 3]) for number in range(1000)]
    real_switch(controller, 0xABC)
    with controller.agent() as agent:
        agent.hello("real")
        agent.snapshot(0xABC)
        assert agent.receive()["type"] == "ack"
        wait_until(lambda: [host["connected"] for host in controller.status()["hosts"]] == [True])
        held = controller.log.read_text().partition("switch 0000000000000abc connected")
        assert "did not finish" not in held[0], "they were held all the while"
        assert all(ended(peer) for peer in peers)
        assert controller.status()["hosts"][0]["connected"]
    assert controller.lines("Traceback") == []


def test_of_too_many_in_the_handshake_the_oldest_goes(impatient, wait_until):
    controller = impatient(60.0, waiting=20)
    first, *others = [knock(controller.openflow) for _ in range(21)]
    assert ended(first)
    wait_until(lambda: controller.status()["counters"]["refused_peers"] == 1)
    for peer in others:
        peer.close()


def test_a_datapath_id_that_is_taken_is_refused_until_its_holder_is_silent(
    impatient, real_switch, mute_switch, private_ovs, wait_until
):
    controller = impatient(10.0)
    real_switch(controller, DPID)
    wait_until(lambda: controller.lines("switch 00000000000000d0 connected"))
    thief = mute_switch(controller.openflow, DPID)
    thief.wait_closed()
    found = wait_until(lambda: controller.status()["problems"])
    assert any("datapath 00000000000000d0, which is connected from 127.0.0.1 already" in one for one in found)
    assert controller.lines("disconnected") == []
    private_ovs.signal(signal.SIGSTOP)
    try:
        heir = mute_switch(controller.openflow, DPID)
        wait_until(lambda: len(controller.lines("switch 00000000000000d0 connected")) == 2)
        assert controller.lines("it is silent, and datapath 00000000000000d0 has connected anew")
        heir.socket.close()
    finally:
        private_ovs.signal(signal.SIGCONT)
