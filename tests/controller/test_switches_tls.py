"""Who may become a switch, with TLS: the same bounds and rules, from the first byte of TLS on, and the same guard."""

import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta

import pytest

from certificates import authority as ca
from certificates import contexts
from certificates.files import AuthorityFolder, HostFolder
from econe_api.config import load
from econe_api.store import hosts
from econe_api.store.store import Store
from flowrules.encode import HEADER

HELLO = HEADER.pack(4, 0, 8, 0)
TLS_RECORD = b"\x16\x03\x01\x02\x00\x01\x00"


@pytest.fixture
def start(new_controller, wait_until, tmp_path):
    """Start a controller with TLS and a shorter bound than the real one; h1 has joined: its context comes along."""

    def begin(seconds):
        controller = new_controller("tls = true\n")
        context = joined(controller, tmp_path)
        program = (
            f"import sys; from controller import handshakes, __main__; handshakes.PATIENCE = {seconds}; "
            "sys.exit(__main__.main())"
        )
        controller.start((sys.executable, "-c", program))
        wait_until(controller.answers)
        wait_until(lambda: controller.status()["revision"] > 0)
        return controller, context

    return begin


def joined(controller, folder):
    config = load(controller.config)
    authority, key = AuthorityFolder(config.state).authority(), ca.new_key()
    certificate = ca.issue(authority, "h1", ca.request(key, "h1"), datetime.now(UTC))
    holder = ca.holder(certificate)
    store = Store.open(config)
    try:
        hosts.invite(store, "h1", "digest", timedelta(hours=1))
        hosts.redeem(store, "h1", "digest", holder.serial, holder.until)
    finally:
        store.close()
    return contexts.client(HostFolder(folder / "h1").take(certificate, key, authority.certificate))


def ended(peer):
    """Wait until the other side has closed."""
    try:
        while peer.recv(65536):
            pass
    except (ssl.SSLError, ConnectionError):
        pass
    peer.close()
    return True


def knock(port, data):
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    peer.sendall(data)
    return peer


def test_whoever_stalls_in_tls_or_after_it_is_put_out_and_said(start, secure_peer):
    controller, context = start(2.0)
    peers = [knock(port, TLS_RECORD[:size]) for port in (controller.openflow, controller.agents) for size in (0, 3, 7)]
    for port, data in ((controller.openflow, b""), (controller.openflow, HELLO), (controller.agents, b"\0\0")):
        peers.append(secure_peer(port, context))
        peers[-1].sendall(data)
    assert all(ended(peer) for peer in peers)
    status = controller.status()
    assert status["counters"]["refused_peers"] == len(peers)
    reason = "from 127.0.0.1: it did not finish the handshake within 2 s"
    assert any(reason in one and "5 times" in one for one in status["problems"])
    assert controller.lines("Traceback") == []


def test_the_guard_sees_what_comes_out_of_tls(start, secure_peer, wait_until):
    controller, context = start(30.0)
    with secure_peer(controller.openflow, context) as peer:
        peer.sendall(HELLO + HEADER.pack(4, 6, 33, 0) + bytes(25))
        assert ended(peer)
    assert wait_until(lambda: [one for one in controller.status()["problems"] if "type 6 of 33 bytes" in one])


def test_a_datapath_that_is_taken_goes_to_a_new_connection_when_the_old_one_is_silent(start, mute_switch, wait_until):
    controller, context = start(30.0)
    first = mute_switch(controller.openflow, 0xD0, context)
    wait_until(lambda: controller.lines("switch 00000000000000d0 connected"))
    second = mute_switch(controller.openflow, 0xD0, context)
    assert ended(first.socket)
    wait_until(lambda: len(controller.lines("switch 00000000000000d0 connected")) == 2)
    assert controller.lines("it is silent, and datapath 00000000000000d0 has connected anew")
    second.socket.close()
    assert controller.lines("Traceback") == []
