"""The connection to the controller: a non-blocking socket under an :class:`agents.session.Session`.

Lives in the agent's one loop: :meth:`Link.run` does what can be done now, :attr:`Link.wants` and :attr:`Link.deadline`
say what to wait for.  A lost connection is made again by itself; every new one starts with a full snapshot.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable

from agents.ports import Snapshot
from agents.questions import Questions
from agents.session import Backoff, Message, PeerError, Session, Timing
from certificates.authority import CONTROLLER_NAME
from certificates.files import FilesError
from channel.frames import FrameError, FrameReader, pack

_LOG = logging.getLogger(__name__)
_CHUNK = 64 * 1024
_LONGEST_ANSWER = 256 * 1024
"""Longest frame taken from the controller, in bytes: it only sends acknowledgements, pings, short questions and an
instance's metadata."""
_MOST_UNSENT = 1 << 20
_ENOUGH_UNSENT = 64 * 1024
"""Bytes waiting to be sent above which pings stay unanswered."""


class Link:
    """Keeps the controller told.

    ``address`` is an IP address and a TCP port.  ``gateways`` is what the controller wants resolved, ``peers`` are the
    other hosts' ends of tunnels; both stay when the connection is lost.  ``context`` gives what TLS needs, anew for
    each connection; without it there is none.  Nothing here blocks or raises on network trouble.
    """

    def __init__(
        self,
        host: str,
        address: tuple[str, int],
        timing: Timing,
        backoff: Backoff,
        questions: Questions | None = None,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._context = context
        self._shaking = False
        self._choked = False
        self._host = host
        self._questions = questions
        self._address = address
        self._timing = timing
        self._backoff = backoff
        self._latest: Snapshot | None = None
        self.gateways: tuple[str, ...] = ()
        self.peers: tuple[str, ...] = ()
        self._socket: socket.socket | None = None
        self._session: Session | None = None
        self._reader = FrameReader(_LONGEST_ANSWER)
        self.connections = 0
        self._unsent = bytearray()
        self._due = 0.0
        self._complaint: str | None = None
        self.on_metadata: Callable[[Message], None] = lambda _: None
        """Hears the controller's answers to questions of instances."""
        self.on_driver: Callable[[Message], None] = lambda _: None
        """Hears those to questions of OpenNebula's driver."""
        self.on_lost: Callable[[], None] = lambda: None
        """Hears that the connection is gone, and no answer will come any more."""
        self.on_renewed: Callable[[Message], None] = lambda _: None
        """Hears the controller's answer to the wish for a new certificate."""

    def ask(self, message: Message) -> bool:
        """Send a question, by :meth:`run`; False = there is no connection, or it is choked."""
        if self._session is None or len(self._unsent) > _MOST_UNSENT:
            return False
        self._send([message])
        return True

    def offer(self, latest: Snapshot) -> None:
        """Make ``latest`` the state to be told, now or as soon as there is a connection."""
        self._latest = latest
        if self._session is not None:
            self._send(self._session.offer(latest, time.monotonic()))

    def run(self) -> None:
        """Do what can be done without waiting."""
        try:
            if self._socket is None:
                if time.monotonic() >= self._due:
                    self._connect()
            elif self._shaking:
                self._shake()
            elif self._session is None:
                self._finish_connecting()
            if self._session is not None:
                self._receive(self._session)
                self._send(self._questions.run() if self._questions else ())
                self._send(self._session.tick(time.monotonic()))
                self._flush()
        except (OSError, PeerError, FrameError, FilesError) as error:
            self._lose(error)

    def close(self) -> None:
        """Close the connection; nothing is waited for."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._session = None
        self._shaking = False

    @property
    def connected(self) -> bool:
        """Is there a connection to the controller?"""
        return self._session is not None

    @property
    def unsent(self) -> int:
        """Bytes that the controller has not taken yet."""
        return len(self._unsent)

    @property
    def wants(self) -> tuple[int, bool] | None:
        """Descriptor to wait on for reading, and whether for writing as well; None without a connection."""
        if self._socket is None:
            return None
        if self._shaking:
            return self._socket.fileno(), self._choked
        return self._socket.fileno(), self._session is None or bool(self._unsent)

    @property
    def question(self) -> tuple[int, bool] | None:
        """As :attr:`wants`, for the question to ovs-vswitchd under way."""
        return self._questions.wants if self._questions else None

    @property
    def deadline(self) -> float:
        """When :meth:`run` is due at the latest, on the monotonic clock."""
        if self._session is None:
            return self._due
        answer = self._questions.deadline if self._questions else None
        return self._session.deadline if answer is None else min(answer, self._session.deadline)

    def _connect(self) -> None:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._due = time.monotonic() + self._timing.connect
        code = self._socket.connect_ex(self._address)
        if code == 0:
            self._connected()
        elif code != errno.EINPROGRESS:
            raise OSError(code, os.strerror(code))

    def _finish_connecting(self) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker: run() looked
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        try:
            self._socket.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            if time.monotonic() >= self._due:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
        else:
            self._connected()

    def _connected(self) -> None:
        if self._context is None or self._socket is None:
            self._open()
            return
        self._socket = self._context().wrap_socket(
            self._socket, do_handshake_on_connect=False, server_hostname=CONTROLLER_NAME
        )
        self._shaking = True
        self._shake()

    def _shake(self) -> None:
        """Go on with the handshake of TLS as far as it goes now."""
        assert isinstance(self._socket, ssl.SSLSocket)  # noqa: S101 - for the type checker: _connected() made it
        try:
            self._socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            self._choked = isinstance(error, ssl.SSLWantWriteError)
            if time.monotonic() >= self._due:
                raise TimeoutError(errno.ETIMEDOUT, "no TLS handshake in time") from error
        else:
            self._shaking = False
            self._open()

    def _open(self) -> None:
        now = time.monotonic()
        self._reader = FrameReader(_LONGEST_ANSWER)
        self._session = Session(self._host, self._timing, now)
        self._send(self._session.start())
        if self._latest is not None:
            self._send(self._session.offer(self._latest, now))
        self._complaint = None
        self.connections += 1
        _LOG.info("connected to controller %s port %d", *self._address)

    def _receive(self, session: Session) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker: a session has a socket
        self._take(session, self._socket)
        # What TLS has deciphered already, no poll would tell of.
        while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            self._take(session, self._socket)
        if session.gateways is not None:
            self.gateways = session.gateways
        if session.peers is not None:
            self.peers = session.peers

    def _take(self, session: Session, connection: socket.socket) -> None:
        try:
            data = connection.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            raise PeerError("it closed the connection")
        for message in self._reader.feed(data):
            self._backoff.reset()
            if message.get("type") == "appctl" and self._questions is not None:
                self._send(self._questions.ask(message))
            if message.get("type") == "metadata_reply":
                self.on_metadata(message)
            if message.get("type") == "driver_reply":
                self.on_driver(message)
            if message.get("type") == "renewed":
                self.on_renewed(message)
            if message.get("type") == "ping" and len(self._unsent) > _ENOUGH_UNSENT:
                continue  # it has plenty to read already, and shall not fill our memory with pongs
            self._send(session.receive(message, time.monotonic()))

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._unsent += pack(message)

    def _flush(self) -> None:
        if self._unsent and self._socket is not None:
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return

    def _lose(self, error: Exception) -> None:
        self.close()
        self._unsent.clear()
        self.on_lost()
        if self._questions is not None:
            self._questions.forget()
        wait = self._backoff.wait()
        self._due = time.monotonic() + wait
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if cause != self._complaint:
            self._complaint = cause
            _LOG.warning("no connection to controller %s port %d: %s; trying on", *self._address, cause)
