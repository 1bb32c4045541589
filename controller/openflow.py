"""A conversation with one switch: flows changed for certain, flows read back.

Rules of the conversation:

* Every request ends with a barrier; its reply is the proof that all before it was processed and answered.
* Flow-mods travel in ordered, atomic bundles: packets see all of a bundle or nothing.  Open vSwitch leaves a message
  that it refuses *out of* the bundle and commits the rest, so the commit is sent only when a barrier behind the last
  ``bundle_add`` has come back without an error.
* When no answer comes the outcome is unknown, which is neither success nor failure: read the flows back and compare.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from socket import SHUT_RDWR
from struct import Struct, unpack_from
from typing import Any, TypeVar

import eventlet
from eventlet.event import Event
from eventlet.semaphore import Semaphore
from eventlet.timeout import Timeout

from controller import outlet, wire
from controller.guard import Frame
from controller.openflow_errors import ApplyError, Refusal, read_refusal
from flowrules import encode
from flowrules.counters import FlowCount, decode_flow_counts
from flowrules.decode import DecodeError, InstalledFlow, decode_flow_stats
from flowrules.encode import BundleControl, MessageType, with_xid
from flowrules.live import LiveFlow, decode_live_flows
from flowrules.meters import MULTIPART_METER_CONFIG, Meter, decode_meter_config, meter_config_request

LOG = logging.getLogger(__name__)

#: Messages that a busy switch takes in a second at the very least; Open vSwitch takes a hundred times as many.
_SLOWEST = 2_000
#: Ryu queues 16 buffers; messages are joined so that a first synchronisation needs few.
_BUFFER_BYTES = 256 * 1024
_MAX_XID = 0xFFFFFFFF
#: A million flows need a third of this.
_MAX_ANSWER_BYTES = 512 * 1024 * 1024
#: What Python needs for a frame besides its body.
_FRAME_BYTES = 200
_MULTIPART_MORE = 1
_MULTIPART_HEADER = 8
_Item = TypeVar("_Item")
_PORT = Struct("!I4x6x2x16s32x")


class OutcomeUnknownError(Exception):
    """The switch did not answer in time or the connection went; what was asked for may or may not be in force."""


class _Exchange:
    """Messages under way and what has come back for them; the reply to ``last`` (a barrier) ends it.

    Answers to messages of an ``earlier`` exchange are taken as well.
    """

    def __init__(self, first: int, last: int, earlier: _Exchange | None) -> None:
        self.first = first
        self.last = last
        self.earlier = earlier
        self.replies: list[Frame] = []
        self.refusals: list[Refusal] = []
        self.ended = Event()
        self._size = 0

    def __contains__(self, xid: int) -> bool:
        return self.first <= xid <= self.last or (self.earlier is not None and xid in self.earlier)

    def take(self, frame: Frame) -> None:
        self._size += _FRAME_BYTES + len(frame.body)
        if self._size > _MAX_ANSWER_BYTES:
            self.abandon("the answer does not end")
        elif frame.type == MessageType.ERROR:
            self.refusals.append(read_refusal(frame))
        elif frame.type != MessageType.BARRIER_REPLY:
            self.replies.append(frame)
        elif frame.xid == self.last and not self.ended.ready():
            self.ended.send()

    def abandon(self, reason: str) -> None:
        if not self.ended.ready():
            self.ended.send_exception(OutcomeUnknownError(reason))


class OpenFlowSession:
    """The one way to talk OpenFlow over ``datapath`` (a Ryu ``Datapath`` past its handshake).

    ``timeout`` bounds, in seconds, every exchange with the switch (a bundle is two of them); one of many messages gets
    the time that a slow switch takes for them besides.  Call :meth:`close` when
    Ryu reports the datapath dead.
    """

    def __init__(self, datapath: Any, timeout: float = 10.0) -> None:
        self._datapath = datapath
        self._timeout = timeout
        self._exchanges: list[_Exchange] = []
        self._one_bundle = Semaphore(1)
        self._next_bundle = 1
        self._closed = False
        self._heard = 0
        self._complained = False
        self._packet_in: Callable[[OpenFlowSession, bytes], None] | None = None
        wire.attach(datapath, self._receive)

    @property
    def dpid(self) -> int:
        """The datapath id that the switch told."""
        return int(self._datapath.id)

    @property
    def address(self) -> str:
        """The address that the switch has connected from."""
        return str(self._datapath.address[0])

    def is_there(self, patience: float) -> bool:
        """Does the switch say anything within ``patience`` seconds, if only the answer to a barrier?"""
        before = self._heard
        try:
            with Timeout(patience, OutcomeUnknownError("silence")):
                self._exchange(0, lambda _xid: [])
        except OutcomeUnknownError:
            return not self._closed and self._heard != before
        return True

    def apply(self, deletes: Sequence[bytes], adds: Sequence[bytes]) -> None:
        """Send flow-mods, deletes first, and return when they are in force.

        However many they are, they are one atomic change (docs/adr/0028-one-change-one-bundle.md).  A single one needs
        no bundle to be that, and half the messages (docs/adr/0026-cost-of-a-change.md).

        Raises :class:`ApplyError` when the switch refuses one (nothing is applied), :class:`OutcomeUnknownError` on a
        timeout or a lost connection.
        """
        with self._one_bundle:
            if len(deletes) + len(adds) == 1:
                self._apply_one((*deletes, *adds)[0])
            elif deletes or adds:
                self._apply_bundle(deletes, adds)

    def dump(self, cookie: int = 0, cookie_mask: int = 0) -> list[InstalledFlow]:
        """Read all flows back whose cookie equals ``cookie`` in the bits of ``cookie_mask``.

        Raises :class:`OutcomeUnknownError` on a timeout, a lost connection, or an answer that makes no sense (the
        connection is closed then).
        """
        exchange = self._exchange(
            1, lambda xid: [encode.flow_stats_request(xid, cookie=cookie, cookie_mask=cookie_mask)]
        )
        return [flow for part in self._parts(exchange, encode.MULTIPART_FLOW, decode_flow_stats) for flow in part]

    def dump_live(self) -> Iterator[list[LiveFlow]]:
        """Read all flows back whole, actions and all, in pieces; raises as :meth:`dump`."""
        exchange = self._exchange(1, lambda xid: [encode.flow_stats_request(xid)])
        return self._parts(exchange, encode.MULTIPART_FLOW, decode_live_flows)

    def counts(self, table: int) -> list[FlowCount]:
        """Read what the flows of ``table`` have counted; raises as :meth:`dump`."""
        exchange = self._exchange(1, lambda xid: [encode.flow_stats_request(xid, table=table)])
        parts = self._parts(exchange, encode.MULTIPART_FLOW, decode_flow_counts)
        return [count for part in parts for count in part]

    def ports(self) -> dict[str, int]:
        """The OpenFlow port number of every port of the bridge, by name; raises as :meth:`dump`."""
        exchange = self._exchange(1, lambda xid: [encode.port_description_request(xid)])
        found: dict[str, int] = {}
        for part in self._parts(exchange, encode.MULTIPART_PORT_DESC, decode_ports):
            found.update(part)
        return found

    def meters(self) -> list[Meter]:
        """Read all meters back.  Raises as :meth:`dump`."""
        exchange = self._exchange(1, lambda xid: [meter_config_request(xid)])
        parts = self._parts(exchange, MULTIPART_METER_CONFIG, decode_meter_config)
        return [meter for part in parts for meter in part]

    def set_meters(self, messages: Sequence[bytes]) -> None:
        """Send meter-mods and return when they are in force; bundles cannot carry them.

        Raises :class:`ApplyError` when the switch refuses one (the others are applied), :class:`OutcomeUnknownError`
        as :meth:`apply`.
        """
        exchange = self._exchange(
            len(messages), lambda xid: [with_xid(message, xid + n) for n, message in enumerate(messages)]
        )
        if exchange.refusals:
            raise ApplyError(exchange.refusals)

    def on_packet_in(self, receiver: Callable[[OpenFlowSession, bytes], None]) -> None:
        """Hand the body of every packet-in to ``receiver``, which must neither block nor raise."""
        self._packet_in = receiver

    def _parts(self, exchange: _Exchange, wanted: int, decode: Callable[[bytes], list[_Item]]) -> Iterator[list[_Item]]:
        """The parts of a multipart answer, decoded; the connection is closed when they make no sense."""
        more = True
        try:
            for frame in exchange.replies:
                kind, flags = unpack_from("!HH", frame.body)
                if frame.type != MessageType.MULTIPART_REPLY or kind != wanted or not more:
                    raise DecodeError(f"{frame.type.name} of kind {kind} among the parts of an answer")
                more = bool(flags & _MULTIPART_MORE)
                yield decode(frame.body[_MULTIPART_HEADER:])
            if more:
                raise DecodeError(f"the answer ends early ({exchange.refusals or 'no error'})")
        except DecodeError as error:
            self.close()
            self._datapath.close()
            raise OutcomeUnknownError(f"the answer of {self._datapath.address} makes no sense: {error}") from error

    def flush_zone(self, *zones: int) -> None:
        """Make the switch forget all connections of these conntrack zones (16 bits each).

        Raises :class:`ApplyError` when the switch refuses, :class:`OutcomeUnknownError` as :meth:`apply`.
        """
        if not zones:
            return
        exchange = self._exchange(
            len(zones), lambda xid: [encode.ct_flush_zone(zone, xid + n) for n, zone in enumerate(zones)]
        )
        if exchange.refusals:
            raise ApplyError(exchange.refusals)

    def emit(self, message: bytes) -> None:
        """Send a message that has no answer (a packet-out); a refusal is logged, a lost connection is not an error."""
        if not self._closed:
            outlet.send(self._datapath, message)

    def close(self) -> None:
        """End the session: whoever waits gets :class:`OutcomeUnknownError`, and so does every later request."""
        self._closed = True
        wire.detach(self._datapath)
        for exchange in self._exchanges:
            exchange.abandon("connection lost")

    def hang_up(self) -> None:
        """End the session and the connection; does not block."""
        self.close()
        # Closing puts an event into the application's queue, for whose room its own greenlet must not wait.
        eventlet.spawn(_hang_up, self._datapath)

    def _apply_one(self, message: bytes) -> None:
        sent = self._exchange(1, lambda xid: [with_xid(message, xid)])
        if sent.refusals:
            raise ApplyError([refusal.of_message(0, message) for refusal in sent.refusals])

    def _apply_bundle(self, deletes: Sequence[bytes], adds: Sequence[bytes]) -> None:
        bundle_id = self._next_bundle
        self._next_bundle = self._next_bundle % _MAX_XID + 1

        def filled(xid: int) -> Iterator[bytes]:
            yield encode.bundle_open(bundle_id, xid)
            for number, message in enumerate(chain(deletes, adds), xid + 1):
                yield encode.bundle_add(bundle_id, message, number)

        added = self._exchange(1 + len(deletes) + len(adds), filled)
        if added.refusals:
            self._exchange(1, lambda xid: [encode.bundle_discard(bundle_id, xid)])
            raise ApplyError(_named(added.refusals, added.first, deletes, adds))
        committed = self._exchange(1, lambda xid: [encode.bundle_commit(bundle_id, xid)], earlier=added)
        if committed.refusals:
            # Refusals of single messages carry the xid under which the message was added.
            raise ApplyError(_named(committed.refusals, added.first, deletes, adds))
        if not any(_is_commit_reply(frame, bundle_id) for frame in committed.replies):
            raise OutcomeUnknownError(f"bundle {bundle_id} was not acknowledged")

    def _exchange(
        self, count: int, make: Callable[[int], Iterable[bytes]], earlier: _Exchange | None = None
    ) -> _Exchange:
        """Send ``count`` messages made from their first xid, and a barrier; wait for the barrier's reply."""
        if self._closed:
            raise OutcomeUnknownError("connection lost")
        first = self._reserve(count + 1)
        exchange = _Exchange(first, first + count, earlier)
        self._exchanges.append(exchange)
        try:
            patience = self._timeout + count / _SLOWEST
            with Timeout(patience, OutcomeUnknownError(f"no answer within {patience:g} s")):
                self._send(chain(make(first), [encode.barrier_request(first + count)]))
                exchange.ended.wait()
        finally:
            self._exchanges.remove(exchange)
        return exchange

    def _reserve(self, count: int) -> int:
        """Take ``count`` consecutive xids out of Ryu's own sequence."""
        first = int(self._datapath.xid) + 1
        if first + count > _MAX_XID:
            first = 1
        self._datapath.xid = first + count - 1
        return first

    def _send(self, messages: Iterable[bytes]) -> None:
        buffer = bytearray()
        for message in messages:
            buffer += message
            if len(buffer) >= _BUFFER_BYTES:
                self._send_buffer(buffer)
                buffer = bytearray()
                eventlet.sleep(0)  # it goes out, and echoes are answered, while the next one is made
        self._send_buffer(buffer)

    def _send_buffer(self, buffer: bytearray) -> None:
        if not outlet.send(self._datapath, buffer):
            raise OutcomeUnknownError("connection lost")

    def _receive(self, frame: Frame) -> None:
        self._heard += 1
        if frame.type == MessageType.PACKET_IN:
            if self._packet_in is not None:
                self._packet_in(self, frame.body)
            return
        for exchange in self._exchanges:
            if frame.xid in exchange:
                exchange.take(frame)
                return
        # What was given up may be refused later, message by message: the first says it all.
        first = frame.type == MessageType.ERROR and not self._complained
        self._complained = self._complained or first
        level = logging.WARNING if first else logging.DEBUG
        LOG.log(level, "%s: unexpected %s, xid %#x", self._datapath.address, frame.type.name, frame.xid)


def _hang_up(datapath: Any) -> None:
    datapath.close()
    with suppress(OSError):  # wakes whoever reads, who would wait for the peer otherwise
        datapath.socket.shutdown(SHUT_RDWR)


def _named(refusals: Iterable[Refusal], first: int, deletes: Sequence[bytes], adds: Sequence[bytes]) -> list[Refusal]:
    """Tell which flow-mod was refused; message ``first`` of a bundle is its opening, then the flow-mods follow."""
    named = []
    for refusal in refusals:
        number = refusal.xid - first - 1
        if 0 <= number < len(deletes) + len(adds):
            sent = deletes[number] if number < len(deletes) else adds[number - len(deletes)]
            named.append(refusal.of_message(number, sent))
        else:
            named.append(refusal)
    return named


def decode_ports(body: bytes) -> list[tuple[str, int]]:
    """Name and number of each ``struct ofp_port``; the guard has checked that they are whole."""
    return [(name.rstrip(b"\0").decode(errors="replace"), number) for number, name in _PORT.iter_unpack(body)]


def _is_commit_reply(frame: Frame, bundle_id: int) -> bool:
    if frame.type != MessageType.EXPERIMENTER or len(frame.body) < 16:
        return False
    return bool(
        unpack_from("!IIIH", frame.body)
        == (encode.ONF_EXPERIMENTER, encode.BUNDLE_CONTROL, bundle_id, BundleControl.COMMIT_REPLY)
    )
