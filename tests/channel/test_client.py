"""Request and reply against a real unix socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from channel.client import ChannelError, request
from channel.frames import FrameReader, pack

Answer = Callable[[socket.socket], None]
Listen = Callable[[Answer], Path]


def read_one(peer: socket.socket) -> dict[str, object]:
    reader = FrameReader()
    while True:
        data = peer.recv(65536)
        assert data, "client hung up before its request was whole"
        for message in reader.feed(data):
            return message


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Return a function that serves every connection with the given answerer and returns the socket's path."""
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(server: socket.socket, answer: Answer) -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                answer(peer)

    def start(answer: Answer) -> Path:
        path = tmp_path / f"s{len(opened)}"
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        server.listen(64)
        opened.append(server)
        threads.append(threading.Thread(target=serve, args=(server, answer)))
        threads[-1].start()
        return path

    yield start
    for server in opened:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def echo(peer: socket.socket) -> None:
    peer.sendall(pack({"ok": True, "echo": read_one(peer)}))


def test_a_request_is_answered(listen: Listen) -> None:
    path = listen(echo)
    message = {"op": "installed", "revision": 7, "timeout": 0.5}
    assert request(path, message, 5) == {"ok": True, "echo": message}


def test_many_threads_at_once_get_their_own_answers(listen: Listen) -> None:
    path = listen(echo)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: request(path, {"n": n}, 20), range(100)))
    assert [reply["echo"] for reply in replies] == [{"n": n} for n in range(100)]


def test_an_answer_in_pieces_is_put_together(listen: Listen) -> None:
    def answer(peer: socket.socket) -> None:
        read_one(peer)
        for byte in pack({"ok": True, "text": "pieces"}):
            peer.sendall(bytes([byte]))

    assert request(listen(answer), {}, 5) == {"ok": True, "text": "pieces"}


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ({"ok": False, "error": "no such\n  revision"}, "^no such revision$"),
        ({"ok": False}, "refused the request"),
        ({"answer": 42}, "refused the request"),
    ],
)
def test_a_refusal_is_an_error_with_the_peers_words(listen: Listen, reply: dict[str, object], text: str) -> None:
    def answer(peer: socket.socket) -> None:
        read_one(peer)
        peer.sendall(pack(reply))

    with pytest.raises(ChannelError, match=text):
        request(listen(answer), {}, 5)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=f"^nobody listens at {tmp_path}/none$"):
        request(tmp_path / "none", {}, 1)
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(stale))
    with pytest.raises(ChannelError, match="nobody listens"):
        request(stale, {}, 1)


def test_an_address_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=r"cannot connect to .* too long"):
        request(tmp_path / ("x" * 120), {}, 1)


def test_a_silent_peer_costs_the_timeout_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(1)
        started = time.monotonic()
        with pytest.raises(ChannelError, match=r"no answer from .* within 0.2 s"):
            request(path, {}, 0.2)
        assert 0.2 <= time.monotonic() - started < 5


def test_a_dripping_peer_costs_the_timeout_and_no_more(listen: Listen) -> None:
    def answer(peer: socket.socket) -> None:
        read_one(peer)
        frame = pack({"ok": True, "text": "x" * 10_000})
        for byte in frame:
            try:
                peer.sendall(bytes([byte]))
            except OSError:
                return
            threading.Event().wait(0.02)

    with pytest.raises(ChannelError, match="no answer"):
        request(listen(answer), {}, 0.3)


def test_a_full_backlog_is_named(tmp_path: Path) -> None:
    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
        try:
            for peer in waiting:
                peer.setblocking(False)
                peer.connect_ex(str(path))
            with pytest.raises(ChannelError, match=r"takes no more connections|no answer"):
                request(path, {}, 0.2)
        finally:
            for peer in waiting:
                peer.close()


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "closed without an answer|broke"), (b"\xff" * 8, "over the limit"), (b"\x00\x00\x00\x01\xc1", "msgpack")],
)
def test_a_broken_answer_is_named(listen: Listen, data: bytes, text: str) -> None:
    def answer(peer: socket.socket) -> None:
        read_one(peer)
        peer.sendall(data)

    with pytest.raises(ChannelError, match=text):
        request(listen(answer), {}, 5)


def test_a_message_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match="cannot be packed"):
        request(tmp_path / "any", {"a": object()}, 1)


def test_no_time_at_all(listen: Listen) -> None:
    with pytest.raises(ChannelError, match="no answer"):
        request(listen(lambda _peer: None), {}, 0)
