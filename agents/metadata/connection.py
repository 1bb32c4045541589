"""One connection of an instance: bytes in, one request at a time, bytes out, each with a time by which it is over."""

from __future__ import annotations

import socket
from http import HTTPStatus

from agents.metadata import http
from agents.metadata.http import BadRequestError, Request, Response

READ_S = 10.0
"""Seconds for a request to come whole, and of idleness before a connection is closed."""
ANSWER_S = 3.0
"""Seconds for the controller's answer."""
_WRITE_S = 10.0
_CHUNK = 4096
_MOST_RECEIVED = http.LONGEST_HEAD + http.LONGEST_BODY + _CHUNK
_USUAL_HOPS = 64


class Connection:
    """``client`` is who the switch says it is: OpenFlow port and last byte of the MAC."""

    def __init__(self, peer: socket.socket, client: tuple[int, int], now: float) -> None:
        self.peer = peer
        self.client = client
        self.asked: int | None = None  # number of the question under way
        self.request: Request | None = None
        self.deadline = now + READ_S
        self._received = bytearray()
        self._unsent = bytearray()
        self._keep = True
        self._ended = False
        self._hops = _USUAL_HOPS

    @property
    def writing(self) -> bool:
        """Is there something to be sent?"""
        return bool(self._unsent)

    @property
    def listening(self) -> bool:
        """Is the next request wanted?  One at a time: who sends many waits, and fills his own buffers."""
        return self.request is None and not self._unsent

    @property
    def ended(self) -> bool:
        """Has the client said that nothing more comes from it?  It may still wait for answers (RFC 9112, 9.6)."""
        return self._ended

    def read(self) -> bool:
        """Take in what has come; False = the client sends more than anybody has to say."""
        data = self.peer.recv(_CHUNK)
        self._received += data
        self._ended = not data
        return len(self._received) <= _MOST_RECEIVED

    def next_request(self) -> Request | None:
        """The next request, if it is whole; one that is none is answered here, and its connection then closed."""
        try:
            self.request = http.take(self._received)
        except BadRequestError as error:
            self.request = Request("GET", "/", {}, keep=False)
            self.reply(http.error(error.status), None)
            return None
        return self.request

    def reply(self, response: Response, now: float | None) -> None:
        """Make ``response`` the answer to the present request; ``now`` None = within the time it had."""
        request, self.request, self.asked = self.request, None, None
        if request is None:
            return
        self._keep = request.keep and response.status is not HTTPStatus.SERVICE_UNAVAILABLE
        self._unsent += response.encode(keep=self._keep, head_only=request.method == "HEAD")
        hops = _USUAL_HOPS if response.hops is None else response.hops
        if hops != self._hops:
            # The token must not travel beyond the instance: a router in there lets it die.
            self.peer.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            self._hops = hops
        if now is not None:
            self.deadline = now + _WRITE_S

    def write(self, now: float) -> bool:
        """Send what can be sent; False = all is sent and the connection is to be closed."""
        del self._unsent[: self.peer.send(self._unsent)]
        if self._unsent:
            return True
        self.deadline = now + READ_S
        return self._keep
