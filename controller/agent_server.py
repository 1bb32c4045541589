"""Listens to the agents: which port is where (docs/architecture.md, "Messages")."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import count
from typing import Any

import eventlet
from eventlet.semaphore import Semaphore
from eventlet.timeout import Timeout

from channel.frames import MAX_FRAME, FrameError, FrameReader, pack
from controller.bindings import SnapshotError, read_snapshot
from controller.composer import Composer
from controller.doors import family
from controller.metadata import MetadataDesk

LOG = logging.getLogger(__name__)

#: Seconds a peer has for its whole hello, the bytes of a frame until then, and the seconds of silence after which it is
#: asked whether it is still there.
_HELLO_BOUND = 10.0
_HELLO_BYTES = 1024 * 1024  # it may bring the first snapshot along
_SILENCE = 15.0
_MAX_AGENTS = 4096
_CHUNK = 65536
#: Questions of one host's instances that are being answered at a time.
_MOST_ANSWERING = 64
_VERSION = 1


class AgentServer:
    """Accepts agents on ``host:port`` and feeds their snapshots to the composer."""

    def __init__(self, composer: Composer, address: str, desk: MetadataDesk | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._composer = composer
        self._desk = desk
        self._numbers = count(1)
        # Eventlet would let a second controller share the port, and half of the agents would go to each.
        self._listener = eventlet.listen(
            (host.strip("[]"), int(port)), family=family(host), backlog=_MAX_AGENTS, reuse_port=False
        )

    def serve_forever(self) -> None:
        """Accept until the process ends."""
        eventlet.serve(self._listener, self._talk, concurrency=_MAX_AGENTS)

    def _talk(self, peer: Any, address: Any) -> None:
        conversation = _Conversation(self._composer, peer, next(self._numbers), self._desk)
        try:
            conversation.run()
        except (FrameError, SnapshotError, Timeout, OSError) as error:
            LOG.warning("agent %s at %s: %s", conversation.host or "(no name yet)", address, error)
        finally:
            conversation.end()


class _Conversation:
    def __init__(self, composer: Composer, peer: Any, number: int, desk: MetadataDesk | None) -> None:
        self.host: str | None = None
        self._desk = desk
        self._answering = 0
        self._composer = composer
        self._peer = peer
        self._number = number
        self._reader = FrameReader(_HELLO_BYTES)
        self._one_at_a_time = Semaphore(1)

    def run(self) -> None:
        # One bound for all of it: a peer that sends a byte now and then would begin a bound for each read anew.
        with Timeout(_HELLO_BOUND):
            while self.host is None:
                if not self._read():
                    return
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

    def _read(self) -> bool:
        data = self._peer.recv(_CHUNK)
        self._feed(data)
        return bool(data)

    def _feed(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            self._take(message)

    def end(self) -> None:
        if self.host is not None:
            self._composer.agent_lost(self.host, self._number)
            self._composer.channel.closed(self.host, self._number)
        self._peer.close()

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if self.host is None:
            self._hello(message)
        elif kind == "snapshot":
            ports = read_snapshot(message)
            if ports.metadata is not None and self._desk is not None:
                self._desk.prepare()
            refusal = self._composer.take_snapshot(self.host, ports)
            if refusal:
                raise SnapshotError(refusal)
            self._send({"type": "ack", "seq": message.get("seq"), **self._asking()})
        elif kind == "ping":
            self._send({"type": "pong", **self._asking()})
        elif kind == "appctl_reply":
            self._composer.channel.answered(self.host, message)
        elif kind == "metadata":
            self._metadata(message)
        elif kind != "pong":
            raise SnapshotError(f"unknown message {kind!r}")

    def _hello(self, message: Mapping[str, Any]) -> None:
        host = message.get("host")
        if message.get("type") != "hello" or not isinstance(host, str) or not host:
            raise SnapshotError("the first message must be a hello with the host's name")
        if message.get("version") != _VERSION:
            raise SnapshotError(f"speaks version {message.get('version')!r}, this controller {_VERSION}; upgrade it")
        self.host = host
        self._reader.limit = MAX_FRAME
        self._composer.agent_connected(host, self._number)
        self._composer.channel.opened(host, self._number, self._send)
        LOG.info("agent of host %s connected", host)

    def _metadata(self, question: Mapping[str, Any]) -> None:
        """Have a question of an instance answered while the conversation goes on."""
        if self._desk is None or self._answering >= _MOST_ANSWERING:
            busy = {"type": "metadata_reply", "id": question.get("id"), "facts": None, "error": "too busy"}
            self._send(busy)
            return
        self._answering += 1
        eventlet.spawn(self._answer, self._desk, str(self.host), question)

    def _answer(self, desk: MetadataDesk, host: str, question: Mapping[str, Any]) -> None:
        try:
            self._send(desk.answer(host, question))
        except (OSError, FrameError) as error:
            LOG.debug("agent %s: an answer did not reach it: %s", host, error)
        finally:
            self._answering -= 1

    def _asking(self) -> dict[str, list[str]]:
        """What the agent shall find out, as part of an answer; nothing when there is nothing."""
        said = {"gateways": self._composer.gateways(), "peers": self._composer.peers(self.host or "")}
        return {name: addresses for name, addresses in said.items() if addresses}

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            self._peer.sendall(pack(message))
