"""Serves the instances of one host from one thread: nothing waits, and every instance has its share and no more.

Who asks is the address that the switch put in (``flowrules/compile_metadata.py``): 10.M.P.P, the last byte of the MAC
and the OpenFlow port.  What is told comes from the controller by way of the agent, anew for every request, so it is
never older than the request.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import Counter
from http import HTTPStatus
from itertools import count
from typing import Any

from agents.metadata import connection, http
from agents.metadata.answers import answer
from agents.metadata.connection import Connection
from agents.metadata.http import Request, Response
from agents.metadata.share import Shares
from agents.metadata.tokens import Tokens
from channel.frames import FrameReader, pack

_LOG = logging.getLogger(__name__)

MOST_PER_CLIENT = 16
"""Connections that an instance may have at a time."""
_MOST = 4096
_ACCEPTS = 64
_TICK_S = 0.25
_CHUNK = 256 * 1024
_LONGEST_FRAME = 256 * 1024
_MOST_UNSENT = 1 << 20


class Server:
    """Answers on ``listener`` with what it hears over ``agent``, a stream of frames."""

    def __init__(self, listener: socket.socket, agent: socket.socket, tokens: Tokens) -> None:
        self._listener = listener
        self._agent = agent
        self._tokens = tokens
        self._selector = selectors.DefaultSelector()
        self._open: set[Connection] = set()
        self._per_client: Counter[tuple[int, int]] = Counter()
        self._waiting: dict[int, Connection] = {}
        self._numbers = count(1)
        self._shares = Shares()
        self._frames = FrameReader(_LONGEST_FRAME)
        self._unsent = bytearray()
        self._ended = False

    def run(self) -> None:
        """Serve until the agent has gone."""
        self._agent.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._agent, selectors.EVENT_READ, self._agent)
        self.tell({"type": "ready"})
        looked = time.monotonic()
        while not self._ended:
            for key, events in self._selector.select(_TICK_S):
                self._attend(key.data, events)
            now = time.monotonic()
            if now - looked >= _TICK_S:
                looked = now
                self._expire(now)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the agent."""
        self._unsent += pack(message)
        self._flush()

    def _attend(self, what: Connection | socket.socket | None, events: int) -> None:
        if what is None:
            self._accept()
        elif isinstance(what, Connection):
            if what in self._open:
                self._serve(what, events)
        else:
            self._hear(events)

    # The agent.

    def _hear(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if not events & selectors.EVENT_READ:
            return
        try:
            data = self._agent.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self._ended = self._ended or not data
        for message in self._frames.feed(data):
            waiting = self._waiting.pop(message.get("id", 0), None)
            if waiting is not None and waiting in self._open:
                self._tell_client(waiting, message)

    def _flush(self) -> None:
        try:
            del self._unsent[: self._agent.send(self._unsent)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._ended = True
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._agent in self._selector.get_map() and self._selector.get_key(self._agent).events != wanted:
            self._selector.modify(self._agent, wanted, self._agent)

    # Clients.

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                peer, (address, _port) = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # out of descriptors: those that are open end in time
                return
            first, mac, high, low = socket.inet_aton(address)
            client = (high << 8 | low, mac)
            if first != 10 or self._per_client[client] >= MOST_PER_CLIENT or len(self._open) >= _MOST:
                peer.close()
                continue
            peer.setblocking(False)
            one = Connection(peer, client, time.monotonic())
            self._open.add(one)
            self._per_client[client] += 1
            self._selector.register(peer, selectors.EVENT_READ, one)

    def _serve(self, one: Connection, events: int) -> None:
        now = time.monotonic()
        try:
            stays = one.write(now) if events & selectors.EVENT_WRITE and one.writing else True
            if stays and events & selectors.EVENT_READ and not one.ended:
                stays = one.read()
            if stays and one.listening:
                self._take(one, now)
                stays = not (one.ended and one.listening)
        except BlockingIOError:
            stays = True
        except OSError:
            stays = False
        self._settle(one, stays=stays)

    def _take(self, one: Connection, now: float) -> None:
        """Begin with the next request, if it is there."""
        if one.next_request() is None:
            return
        number = next(self._numbers)
        if not self._shares.spend(one.client, now) or len(self._unsent) > _MOST_UNSENT:
            one.reply(_unavailable(), now)
            return
        one.asked, one.deadline = number, now + connection.ANSWER_S
        self._waiting[number] = one
        ofport, mac = one.client
        self.tell({"type": "ask", "id": number, "ofport": ofport, "mac": mac})

    def _tell_client(self, one: Connection, message: dict[str, Any]) -> None:
        now, request = time.monotonic(), one.request
        if request is None:
            return
        one.reply(self._answer(request, message.get("facts"), now), now)
        self._serve(one, selectors.EVENT_WRITE)

    def _answer(self, request: Request, facts: object, now: float) -> Response:
        if not isinstance(facts, dict):
            return _unavailable()
        try:
            return answer(request, facts, self._tokens, now)
        except Exception:  # a fault of ours: it must not end the service of all the others
            _LOG.exception("a request could not be answered")
            return http.error(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _settle(self, one: Connection, *, stays: bool) -> None:
        """Close, or wait for what comes next."""
        if not stays:
            self._close(one)
            return
        # The end of what a client sends can be read again and again: nothing of it is waited for but the agent.
        reading = 0 if one.ended else selectors.EVENT_READ
        wanted = selectors.EVENT_WRITE if one.writing else reading
        registered = self._selector.get_map().get(one.peer)
        if registered is None:
            if wanted:
                self._selector.register(one.peer, wanted, one)
        elif not wanted:
            self._selector.unregister(one.peer)
        elif registered.events != wanted:
            self._selector.modify(one.peer, wanted, one)

    def _close(self, one: Connection) -> None:
        if one.peer in self._selector.get_map():
            self._selector.unregister(one.peer)
        one.peer.close()
        self._open.discard(one)
        if one.asked is not None:
            self._waiting.pop(one.asked, None)
        self._per_client[one.client] -= 1
        if not self._per_client[one.client]:
            del self._per_client[one.client]

    def _expire(self, now: float) -> None:
        for one in [one for one in self._open if now >= one.deadline]:
            if one.asked is None:
                self._close(one)
                continue
            self._waiting.pop(one.asked, None)
            one.reply(_unavailable(), now)
            self._serve(one, selectors.EVENT_WRITE)
        self._shares.forget(now)


def _unavailable() -> Response:
    return http.error(HTTPStatus.SERVICE_UNAVAILABLE, ("Retry-After", "1"))
