"""The link to the controller against real sockets that misbehave."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.ports import Snapshot
from agents.report import Link
from agents.session import Backoff, Timing
from channel.frames import FrameReader, pack

STATE = Snapshot(dpid=1, bridge="br-int", ports=(), ovs_version=None, problems=("x" * 1000,) * 8000)
MakeLink = Callable[[int], Link]


@pytest.fixture
def make_link() -> Iterator[MakeLink]:
    made: list[Link] = []

    def make(port: int, host: str = "127.0.0.1") -> Link:
        timing = Timing(answer=30, silence=30, connect=0.2, shortest_wait=0.05, longest_wait=0.1)
        made.append(Link("h1", (host, port), timing, Backoff(timing, lambda: 0.5)))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        one.settimeout(20)
        yield one


def turn(link: Link, until: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        link.run()
        time.sleep(0.002)


def connect(link: Link, server: socket.socket) -> socket.socket:
    link.run()
    peer, _ = server.accept()
    peer.setblocking(False)
    return peer


def test_a_large_snapshot_goes_out_piece_by_piece(make_link: MakeLink, server: socket.socket) -> None:
    link = make_link(server.getsockname()[1])
    link.offer(STATE)
    got: list[dict[str, Any]] = []
    reader = FrameReader()

    def collect() -> bool:
        try:
            got.extend(reader.feed(peer.recv(65536)))
        except BlockingIOError:
            return False
        return len(got) == 2

    with connect(link, server) as peer:
        turn(link, lambda: link.wants is not None and link.wants[1])
        link.run()
        assert link.wants is not None
        assert link.wants[1], "the rest of the snapshot waits for room"
        turn(link, collect)
        turn(link, lambda: link.wants is not None and not link.wants[1])
    assert got == [{"type": "hello", "version": 1, "host": "h1"}, STATE.message(1)]


def test_a_peer_that_asks_and_does_not_read_gets_fewer_answers(make_link: MakeLink, server: socket.socket) -> None:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link = make_link(server.getsockname()[1])
    frame = pack({"type": "ping"})
    asked = 400_000
    unsent = memoryview(frame * asked)
    answers: list[dict[str, Any]] = []
    reader = FrameReader()

    def ask() -> bool:
        nonlocal unsent
        with contextlib.suppress(BlockingIOError):
            unsent = unsent[peer.send(unsent[:65536]) :]
        return not unsent

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            answers.extend(reader.feed(peer.recv(65536)))
        return link.wants is not None and not link.wants[1]

    def answered_again() -> bool:
        read()
        return answers[-1:] == [{"type": "pong"}]

    with connect(link, server) as peer:
        turn(link, ask)
        turn(link, read)
        while True:
            try:
                answers.extend(reader.feed(peer.recv(65536)))
            except BlockingIOError:
                break
        assert 1 < len(answers) < asked, "no pong was left out, however many waited"
        answers.clear()
        peer.send(frame)
        turn(link, answered_again)


def test_nobody_there_is_said_once_and_tried_on(make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    caplog.set_level(logging.INFO, "agents.report")
    link = make_link(port)
    ends = time.monotonic() + 0.5
    turn(link, lambda: time.monotonic() > ends)
    assert caplog.text.count("Connection refused; trying on") == 1
    with socket.create_server(("127.0.0.1", port)) as back:
        back.settimeout(20)
        turn(link, lambda: "connected to controller" in caplog.text)


def test_a_peer_that_never_accepts_costs_the_bound(make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        link = make_link(full.getsockname()[1])
        turn(link, lambda: "Connection timed out" in caplog.text)
        for one in waiting:
            one.close()


def test_ipv6(make_link: Callable[..., Link]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.settimeout(20)
        link = make_link(server.getsockname()[1], "::1")
        with connect(link, server) as peer:
            turn(link, lambda: link.wants is not None and not link.wants[1])
            peer.settimeout(20)
            assert FrameReader().feed(peer.recv(4096))[0]["host"] == "h1"


def test_a_closed_connection_starts_over_with_hello(make_link: MakeLink, server: socket.socket) -> None:
    link = make_link(server.getsockname()[1])
    connect(link, server).close()
    turn(link, lambda: link.wants is None)
    turn(link, lambda: link.wants is not None)
    with connect(link, server) as peer:
        peer.settimeout(20)
        turn(link, lambda: link.wants is not None and not link.wants[1])
        assert FrameReader().feed(peer.recv(4096))[0]["type"] == "hello"
