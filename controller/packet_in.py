"""Packets that switches show the controller: decoded, handled by the table that sent them, answered.

A handler is a function ``(index, host, packet) -> messages``: it must not block, may raise nothing but
:class:`Unanswerable`, and what it returns (packet-outs) is sent to the switch that asked.  Register it in
:data:`controller.packet_handlers.HANDLERS`.

Goals: the greenlet that reads a switch's messages, and so answers its echo requests, only ever puts a packet in a
queue of bounded length; what does not fit is dropped and counted; the queue's own greenlet lets others run after every
packet.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import eventlet
from eventlet.event import Event

from controller.index import Index
from flowrules.decode import DecodeError
from flowrules.packet_in import BY_ACTION, PacketIn, decode_packet_in

LOG = logging.getLogger(__name__)

#: Packets of one host that may wait.  Its meters let more than this through in a burst only when several
#: instances misbehave at once.
DEPTH = 512


class Unanswerable(Exception):  # noqa: N818 - a verdict on the packet, not a fault of ours
    """The packet is not one to answer: dropped and counted."""


Handler = Callable[[Index, str, PacketIn], Iterable[bytes]]


class Emitter(Protocol):
    """What :class:`controller.openflow.OpenFlowSession` offers."""

    def emit(self, message: bytes) -> None:
        """Send a message that nobody answers."""


class PacketQueue:
    """Packet-ins of one host; ``index`` tells the present records and bindings."""

    def __init__(self, host: str, index: Callable[[], Index], handlers: Mapping[int, Handler]) -> None:
        self.counters: Counter[str] = Counter(packet_ins=0, answered=0, refused=0, dropped=0)
        self._host = host
        self._index = index
        self._handlers = handlers
        self._waiting: deque[tuple[Emitter, bytes]] = deque()
        self._wake = Event()
        self._greenlet = eventlet.spawn(self._run)

    def offer(self, session: Emitter, body: bytes) -> None:
        """Take one packet-in (what follows the 8 bytes of header) or drop it; never blocks, never raises."""
        self.counters["packet_ins"] += 1
        if len(self._waiting) >= DEPTH:
            self.counters["dropped"] += 1
            return
        self._waiting.append((session, body))
        if not self._wake.ready():
            self._wake.send()

    @property
    def depth(self) -> int:
        """Number of packets that wait."""
        return len(self._waiting)

    def close(self) -> None:
        """End the greenlet."""
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake = Event()
            while self._waiting:
                session, body = self._waiting.popleft()
                self.counters[self._handle(session, body)] += 1
                eventlet.sleep(0)

    def _handle(self, session: Emitter, body: bytes) -> str:
        """Answer one packet; tell which counter it belongs to."""
        try:
            packet = decode_packet_in(body)
            handler = self._handlers.get(packet.table)
            if handler is None or packet.reason != BY_ACTION:
                raise Unanswerable(f"table {packet.table} has no handler")
            for message in handler(self._index(), self._host, packet):
                session.emit(message)
        except (DecodeError, Unanswerable) as error:
            LOG.debug("host %s: packet refused: %s", self._host, error)
            return "refused"
        except Exception:
            # Whatever a packet brought a handler to, the next one is looked at.
            LOG.exception("host %s: a packet could not be handled", self._host)
            return "refused"
        return "answered"
