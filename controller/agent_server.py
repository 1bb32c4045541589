"""Listens to the agents: which port is where (docs/architecture.md, "Messages")."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import eventlet
from eventlet.semaphore import Semaphore
from eventlet.timeout import Timeout

from channel.frames import MAX_FRAME, FrameError, FrameReader, pack
from controller import doors
from controller.admission import Peer, RefusedError
from controller.bindings import SnapshotError, read_snapshot
from controller.composer import Composer
from controller.enrolment import Enrolment
from controller.handshakes import Handshakes
from controller.metadata import MetadataDesk
from controller.opennebula import DriverDesk
from controller.tls import GreenTls, TlsDoor

LOG = logging.getLogger(__name__)

#: Bytes of a frame until the hello, and the seconds of silence after which a peer is asked whether it is still there.
_HELLO_BYTES = 1024 * 1024  # it may bring the first snapshot along
_SILENCE = 15.0
_MAX_AGENTS = 8192
_CHUNK = 65536
#: Questions of one host's instances that are being answered at a time.
_MOST_ANSWERING = 64
_VERSION = 1
_STRANGER = "an agent at"


class AgentServer:
    """Accepts agents on ``host:port`` and feeds their snapshots to the composer.

    With ``security``, a door of TLS that takes peers without a certificate as well, and the enrolment these are for, an
    agent may speak for the host of its certificate alone.
    """

    def __init__(
        self,
        composer: Composer,
        address: str,
        desk: MetadataDesk | None = None,
        driver: DriverDesk | None = None,
        security: tuple[TlsDoor, Enrolment] | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        self._composer = composer
        self._desk = desk
        self._driver = driver
        self._door = security[0] if security is not None else None
        self._enrolment = security[1] if security is not None else None
        self._numbers = count(1)
        self._handshakes = Handshakes(_STRANGER, composer.refusals)
        self._listener = doors.listen(host.strip("[]"), int(port))

    def serve_forever(self) -> None:
        """Accept until the process ends."""
        eventlet.serve(self._listener, self._talk, concurrency=_MAX_AGENTS)

    def _talk(self, connection: Any, address: Any) -> None:
        conversation: _Conversation | None = None
        try:
            if self._door is not None:
                connection = self._door.wrap(connection)
            self._handshakes.begin(connection, address[0])
            owner = self._admit(connection) if self._door is not None else Peer()
            standing = _Standing(owner, self._enrolment, address[0], lambda: self._handshakes.end(connection))
            conversation = _Conversation(
                self._composer, connection, next(self._numbers), self._desk, self._driver, standing
            )
            conversation.run()
        except (RefusedError, FrameError, SnapshotError) as error:
            if conversation is not None or self._handshakes.end(connection):  # else it was put out, which was noted
                who = f"agent {conversation.host} at" if conversation and conversation.host else _STRANGER
                words = f"it {error}" if isinstance(error, RefusedError) else str(error)
                self._composer.refusals.note(who, address[0], words)
        except (Timeout, OSError) as error:
            host = conversation.host if conversation is not None else None
            LOG.log(logging.WARNING if host else logging.DEBUG, "agent %s at %s: %s", host, address, error)
        finally:
            self._handshakes.end(connection)
            if conversation is not None:
                conversation.end()
            else:
                connection.close()

    def _admit(self, tls: GreenTls) -> Peer | None:
        """Have the handshake done, and return whose connection it is; None = a newcomer's."""
        tls.shake()
        return None if tls.certificate is None else self._composer.admission.identify(tls.certificate)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Whose connection it is (None: a newcomer's), where one joins, and the address it comes from.

    ``settle`` ends the bound of its handshakes, and tells whether they were in time.
    """

    owner: Peer | None
    enrolment: Enrolment | None
    where: str
    settle: Callable[[], bool]


class _Conversation:
    def __init__(
        self,
        composer: Composer,
        peer: Any,
        number: int,
        desk: MetadataDesk | None,
        driver: DriverDesk | None,
        standing: _Standing,
    ) -> None:
        self.host: str | None = None
        self._standing = standing
        self._owner, self._enrolment = standing.owner, standing.enrolment
        self._entered: int | None = None
        self._desk = desk
        self._driver = driver
        self._answering = 0
        self._composer = composer
        self._peer = peer
        self._number = number
        self._reader = FrameReader(_HELLO_BYTES)
        self._one_at_a_time = Semaphore(1)

    def run(self) -> None:
        while self.host is None:  # which is bounded from outside, all of it: a byte now and then is not enough
            data = self._peer.recv(_CHUNK)
            if not data:
                return
            self._feed(data)
        asked = False
        while True:
            try:
                with Timeout(_SILENCE):
                    data = self._peer.recv(_CHUNK)
            except Timeout:
                if asked:
                    raise
                asked = True
                self._send({"type": "ping"})
                continue
            if not data:
                return
            asked = False
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            self._take(message)

    def end(self) -> None:
        if self._entered is not None:
            self._composer.admission.leave(self._entered)
        if self.host is not None:
            self._composer.agent_lost(self.host, self._number)
            self._composer.channel.closed(self.host, self._number)
        self._peer.close()

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if self.host is not None:
            self._composer.agent_heard(self.host)
        if self._owner is None:
            self._newcomer(message)
        elif self.host is None:
            self._hello(message, self._owner)
        elif kind == "snapshot":
            self._snapshot(self.host, message)
        elif kind == "ping":
            self._send({"type": "pong", **self._asking()})
        elif kind == "appctl_reply":
            self._composer.channel.answered(self.host, message)
        elif kind == "metadata":
            self._spawn("metadata_reply", self._desk, message, facts=None)
        elif kind == "driver":
            self._spawn("driver_reply", self._driver, message)
        elif kind == "renew" and self._enrolment is not None and self._owner.serial is not None:
            eventlet.spawn(self._renew, self._enrolment, self.host, self._owner.serial, message)
        elif kind != "pong":
            raise SnapshotError(f"unknown message {kind!r}")

    def _newcomer(self, message: Mapping[str, Any]) -> None:
        """All that one without a certificate may ask; one question, and the connection ends."""
        kind = message.get("type")
        if self._enrolment is None or kind not in ("authority", "join"):
            raise RefusedError("shows no certificate; 'sluice agent join' gets it one")
        self._settle()
        where = self._standing.where
        self._send(self._enrolment.greet() if kind == "authority" else self._enrolment.join(message, where))
        self._cut()

    def _settle(self) -> None:
        if not self._standing.settle():
            raise ConnectionAbortedError("was put out, or asks twice")

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def _hello(self, message: Mapping[str, Any], owner: Peer) -> None:
        host = message.get("host")
        if message.get("type") != "hello" or not isinstance(host, str) or not host:
            raise SnapshotError("the first message must be a hello with the host's name")
        if message.get("version") != _VERSION:
            raise SnapshotError(f"speaks version {message.get('version')!r}, this controller {_VERSION}; upgrade it")
        self._composer.admission.check_host(owner, host)
        self._settle()
        self.host = host
        self._entered = self._composer.admission.enter(owner, self._cut, host)
        self._reader.limit = MAX_FRAME
        self._composer.agent_connected(host, self._number)
        self._composer.channel.opened(host, self._number, self._send)
        LOG.info("agent of host %s connected", host)

    def _snapshot(self, host: str, message: Mapping[str, Any]) -> None:
        ports = read_snapshot(message)
        if ports.metadata is not None and self._desk is not None:
            self._desk.prepare()
        refusal = self._composer.take_snapshot(host, ports)
        if refusal:
            raise RefusedError(f"says it is host {host}, but {refusal}")
        self._send({"type": "ack", "seq": message.get("seq"), **self._asking()})

    def _spawn(
        self, kind: str, desk: MetadataDesk | DriverDesk | None, question: Mapping[str, Any], **empty: None
    ) -> None:
        """Have a question answered while the conversation goes on."""
        if desk is None or self._answering >= _MOST_ANSWERING:
            self._send({"type": kind, "id": question.get("id"), **empty, "error": "too busy"})
            return
        self._answering += 1
        eventlet.spawn(self._answer, desk, str(self.host), question)

    def _answer(self, desk: MetadataDesk | DriverDesk, host: str, question: Mapping[str, Any]) -> None:
        try:
            self._send(desk.answer(host, question))
        except (OSError, FrameError) as error:
            LOG.debug("agent %s: an answer did not reach it: %s", host, error)
        finally:
            self._answering -= 1

    def _renew(self, enrolment: Enrolment, host: str, serial: str, message: Mapping[str, Any]) -> None:
        """Have a new certificate made while the conversation goes on."""
        try:
            self._send(enrolment.renew(host, serial, message))
        except (OSError, FrameError) as error:
            LOG.debug("agent %s: its new certificate did not reach it: %s", host, error)

    def _asking(self) -> dict[str, list[str]]:
        """What the agent shall find out, as part of an answer; nothing when there is nothing."""
        said = {"gateways": self._composer.gateways(), "peers": self._composer.peers(self.host or "")}
        return {name: addresses for name, addresses in said.items() if addresses}

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            self._peer.sendall(pack(message))
