"""Kept connections against a real unix socket whose listener closes, restarts, dawdles."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from channel.client import ChannelError, Line
from channel.frames import FrameReader, pack

#: Answers one request that came as number (connection, request), both from 0; False = close the connection.
Answer = Callable[[socket.socket, dict[str, object], int, int], bool]


class Server:
    """Serves any number of connections at once and keeps them open, as the controller does."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._answer = answer
        self.connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(peer)
            self._threads.append(threading.Thread(target=self._talk, args=(peer, len(self.connections) - 1)))
            self._threads[-1].start()

    def _talk(self, peer: socket.socket, number: int) -> None:
        reader, count = FrameReader(), 0
        with peer, suppress(OSError):
            while data := peer.recv(65536):
                for message in reader.feed(data):
                    if not self._answer(peer, message, number, count):
                        return
                    count += 1

    def stop_listening(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        with suppress(OSError):
            self.stop_listening()
        for peer in self.connections:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def serve(path: Path) -> Iterator[Callable[[Answer], Server]]:
    started: list[Server] = []

    def start(answer: Answer) -> Server:
        started.append(Server(path, answer))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def line(path: Path) -> Iterator[Line]:
    made = Line(path)
    yield made
    made.close()


def echo(peer: socket.socket, message: dict[str, object], connection: int, _count: int) -> bool:
    peer.sendall(pack({"ok": True, "echo": message, "connection": connection}))
    return True


def test_one_connection_serves_request_after_request(serve: Callable[[Answer], Server], line: Line) -> None:
    server = serve(echo)
    assert [line.request({"n": n}, 5)["echo"] for n in range(10)] == [{"n": n} for n in range(10)]
    assert len(server.connections) == 1


def test_many_threads_get_their_own_answers(serve: Callable[[Answer], Server], line: Line) -> None:
    server = serve(echo)
    with ThreadPoolExecutor(24) as pool:
        replies = list(pool.map(lambda n: line.request({"n": n}, 20), range(400)))
    assert [reply["echo"] for reply in replies] == [{"n": n} for n in range(400)]
    assert len(server.connections) < 400


def test_a_listener_that_closes_after_each_answer(serve: Callable[[Answer], Server], line: Line) -> None:
    def once(peer: socket.socket, message: dict[str, object], connection: int, count: int) -> bool:
        echo(peer, message, connection, count)
        return False

    serve(once)
    assert [line.request({"n": n}, 5)["echo"] for n in range(20)] == [{"n": n} for n in range(20)]


def test_a_connection_that_ends_with_the_request_costs_one_more(serve: Callable[[Answer], Server], line: Line) -> None:
    def second_is_lost(peer: socket.socket, message: dict[str, object], connection: int, count: int) -> bool:
        return count == 0 and echo(peer, message, connection, count)

    serve(second_is_lost)
    assert [line.request({"n": n}, 5)["connection"] for n in range(3)] == [0, 1, 2]


def test_a_new_connection_that_ends_with_the_request_is_an_error(serve: Callable[[Answer], Server], line: Line) -> None:
    server = serve(lambda *_: False)
    with pytest.raises(ChannelError, match="closed without an answer"):
        line.request({}, 5)
    assert len(server.connections) == 1


def test_a_listener_that_was_started_again(serve: Callable[[Answer], Server], line: Line, path: Path) -> None:
    first = serve(echo)
    line.request({}, 5)
    first.close()
    with pytest.raises(ChannelError, match="nobody listens"):
        line.request({}, 5)
    path.unlink()
    with pytest.raises(ChannelError, match=f"^nobody listens at {path}$"):
        line.request({}, 5)
    second = serve(echo)
    assert line.request({"n": 1}, 5)["echo"] == {"n": 1}
    assert len(second.connections) == 1


def test_whoever_listens_now_is_asked_though_the_other_is_still_there(
    serve: Callable[[Answer], Server], line: Line, path: Path
) -> None:
    first = serve(echo)
    line.request({}, 5)
    path.rename(path.with_name("aside"))
    second = serve(echo)
    assert line.request({"n": 1}, 5)["echo"] == {"n": 1}
    assert (len(first.connections), len(second.connections)) == (1, 1)


def test_an_answer_that_comes_late_is_nobodys(serve: Callable[[Answer], Server], line: Line) -> None:
    gate = threading.Event()

    def slow_once(peer: socket.socket, message: dict[str, object], connection: int, count: int) -> bool:
        if message == {"n": 1}:
            gate.wait(30)
            with suppress(OSError):
                return echo(peer, message, connection, count)
        return echo(peer, message, connection, count)

    serve(slow_once)
    line.request({"n": 0}, 5)
    with pytest.raises(ChannelError, match=r"no answer from .* within 0.1 s"):
        line.request({"n": 1}, 0.1)
    gate.set()
    assert line.request({"n": 2}, 5)["echo"] == {"n": 2}


def test_what_nobody_asked_for_ends_a_kept_connection(serve: Callable[[Answer], Server], line: Line) -> None:
    def talkative(peer: socket.socket, message: dict[str, object], connection: int, _count: int) -> bool:
        answer = pack({"ok": True, "echo": message, "connection": connection})
        peer.sendall(answer + answer)
        return True

    serve(talkative)
    assert [line.request({"n": n}, 5)["echo"] for n in range(3)] == [{"n": n} for n in range(3)]


def test_a_refusal_leaves_the_connection(serve: Callable[[Answer], Server], line: Line) -> None:
    def no(peer: socket.socket, *_: object) -> bool:
        peer.sendall(pack({"ok": False, "error": "not now"}))
        return True

    server = serve(no)
    for _ in range(3):
        with pytest.raises(ChannelError, match=r"^not now$"):
            line.request({}, 5)
    assert len(server.connections) == 1


def test_no_more_than_eight_stay_open(serve: Callable[[Answer], Server], line: Line) -> None:
    together = threading.Barrier(20)

    def at_once(peer: socket.socket, message: dict[str, object], connection: int, count: int) -> bool:
        together.wait(30)
        return echo(peer, message, connection, count)

    server = serve(at_once)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: line.request({"n": n}, 30), range(20)))
    assert len(server.connections) == 20
    assert len(line._idle) == 8
