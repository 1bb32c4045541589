"""A guard in front of Ryu's message parsers: what a switch may say, checked before anything is parsed.

Ryu's own parsers walk lists by the lengths they find in them, so an entry of length zero holds the only thread for
ever, and they make an object of every field of every flow.  The guard therefore

1. closes the connection, with one log line, on every frame that is not on the list below or whose lengths do not add
   up;
2. lets Ryu parse only what its handshake needs, all of it of fixed size;
3. hands answers (errors, barriers, bundles, statistics) as bytes to the session of that connection, by
   :func:`attach`, packet-ins as well; without a session they are dropped;
4. drops what needs no answer from us (flow-removed).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from struct import unpack_from
from typing import Any
from weakref import WeakKeyDictionary

from ryu.ofproto import ofproto_parser, ofproto_v1_3_parser

from flowrules.encode import HEADER, VERSION, MessageType

LOG = logging.getLogger(__name__)

MULTIPART_PORT_DESC = 13
_HELLO_FAILED = 0
_VERSION_BITMAP = 1
_PORT_SIZE = 64
_MAX_LENGTH = 0xFFFF

#: Shortest and longest frame of every message a switch may send, header included.
_LENGTHS = {
    MessageType.HELLO: (8, _MAX_LENGTH),
    MessageType.ERROR: (12, _MAX_LENGTH),
    MessageType.ECHO_REQUEST: (8, _MAX_LENGTH),
    MessageType.ECHO_REPLY: (8, _MAX_LENGTH),
    MessageType.EXPERIMENTER: (16, _MAX_LENGTH),
    MessageType.FEATURES_REPLY: (32, 32),
    MessageType.GET_CONFIG_REPLY: (12, 12),
    MessageType.PACKET_IN: (32, _MAX_LENGTH),
    MessageType.FLOW_REMOVED: (56, _MAX_LENGTH),
    MessageType.PORT_STATUS: (80, 80),
    MessageType.MULTIPART_REPLY: (16, _MAX_LENGTH),
    MessageType.BARRIER_REPLY: (8, 8),
    MessageType.ROLE_REPLY: (24, 24),
}
_FOR_RYU = frozenset(
    {MessageType.ECHO_REQUEST, MessageType.ECHO_REPLY, MessageType.FEATURES_REPLY, MessageType.PORT_STATUS}
)
_DROPPED = frozenset({MessageType.FLOW_REMOVED})


class BadFrameError(ValueError):
    """The peer sent what no switch sends."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One checked message; ``body`` is what follows the 8 bytes of header."""

    type: MessageType
    xid: int
    body: bytes


Receiver = Callable[[Frame], None]

_receivers: WeakKeyDictionary[Any, Receiver] = WeakKeyDictionary()


def attach(datapath: Any, receiver: Receiver) -> None:
    """Hand the answers that come in on ``datapath`` to ``receiver``, which must neither block nor raise."""
    _receivers[datapath] = receiver


def detach(datapath: Any) -> None:
    """Drop further answers on ``datapath``."""
    _receivers.pop(datapath, None)


def install() -> None:
    """Put the guard in front of Ryu's parsers, for this process and every protocol version."""
    for version in range(256):
        ofproto_parser.register_msg_parser(version)(_guard)


def read_frame(buffer: bytes) -> Frame:
    """Check one message, of any kind.  Raises :class:`BadFrameError`."""
    if len(buffer) < HEADER.size:
        raise BadFrameError(f"frame of {len(buffer)} bytes")
    version, kind, length, xid = HEADER.unpack_from(buffer)
    if length != len(buffer):
        raise BadFrameError(f"message of {len(buffer)} bytes says it has {length}")
    bounds = _LENGTHS.get(kind)
    if bounds is None:
        raise BadFrameError(f"message type {kind} is not for a switch to send")
    if not bounds[0] <= length <= bounds[1]:
        raise BadFrameError(f"message type {kind} of {length} bytes")
    if kind == MessageType.HELLO:
        _check_hello(version, buffer)
    elif version != VERSION:
        raise BadFrameError(f"message type {kind} of protocol version {version}")
    return Frame(MessageType(kind), xid, bytes(buffer[HEADER.size :]))


def _check_hello(version: int, buffer: bytes) -> None:
    versions: set[int] | None = None
    offset = HEADER.size
    while offset < len(buffer):
        if len(buffer) - offset < 4:
            raise BadFrameError("hello element is cut short")
        kind, length = unpack_from("!HH", buffer, offset)
        if length < 4 or offset + length > len(buffer):
            raise BadFrameError(f"hello element of length {length}")
        if kind == _VERSION_BITMAP:
            if length % 4:
                raise BadFrameError(f"hello version bitmap of length {length}")
            words = unpack_from(f"!{length // 4 - 1}I", buffer, offset + 4)
            versions = {32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1}
        offset += (length + 7) // 8 * 8
    if version < VERSION if versions is None else VERSION not in versions:
        offered = sorted(versions or {version})
        raise BadFrameError(f"peer offers protocol versions {offered}, not OpenFlow 1.3 (set protocols=OpenFlow13)")


def _for_ryu(datapath: Any, kind: MessageType, xid: int, buffer: bytes) -> Any:
    return ofproto_v1_3_parser.msg_parser(datapath, VERSION, kind, len(buffer), xid, buffer)


def _admit(datapath: Any, buffer: bytes) -> Any:
    """Check, then route one message: the object for Ryu's handlers, or None when it is dealt with."""
    frame = read_frame(buffer)
    if frame.type == MessageType.HELLO:
        # Both sides speak 1.3, as checked: Ryu need not negotiate (its way of saying no raises).
        return _for_ryu(datapath, frame.type, frame.xid, HEADER.pack(VERSION, frame.type, HEADER.size, frame.xid))
    if frame.type in _FOR_RYU:
        return _for_ryu(datapath, frame.type, frame.xid, buffer)
    if frame.type in _DROPPED:
        return None
    if frame.type == MessageType.MULTIPART_REPLY and unpack_from("!H", frame.body)[0] == MULTIPART_PORT_DESC:
        if (len(frame.body) - 8) % _PORT_SIZE:
            raise BadFrameError(f"port descriptions of {len(frame.body)} bytes")
        if datapath not in _receivers:  # Ryu's handshake asks; later a session may
            return _for_ryu(datapath, frame.type, frame.xid, buffer)
    if frame.type == MessageType.ERROR and unpack_from("!H", frame.body)[0] == _HELLO_FAILED:
        raise BadFrameError(f"peer refuses our hello: {frame.body[4:80]!r}")
    receiver = _receivers.get(datapath)
    if receiver is None:
        LOG.debug("%s: %s outside a session is dropped", datapath.address, frame.type.name)
    else:
        receiver(frame)
    return None


def _guard(datapath: Any, _version: int, _msg_type: int, _msg_len: int, _xid: int, buffer: bytearray) -> Any:
    try:
        return _admit(datapath, bytes(buffer))
    except BadFrameError as error:
        LOG.warning("OpenFlow connection from %s is closed: %s", datapath.address, error)
        datapath.close()
        return None
