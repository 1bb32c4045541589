"""The guard in front of Ryu's message parsers, put in place.

Ryu's own parsers walk lists by the lengths they find in them, so an entry of length zero holds the only thread for
ever, and they make an object of every field of every flow.  What goes to them therefore passes :mod:`controller.guard`
first, which

1. closes the connection, with one log line and a word in the status, on every frame that is not on its list or whose
   lengths do not add up;

and of the others this module

2. lets Ryu parse only what its handshake needs, all of it of fixed size;
3. hands answers (errors, barriers, bundles, statistics) as bytes to the session of that connection, by
   :func:`attach`, packet-ins as well; without a session they are dropped;
4. drops what needs no answer from us (flow-removed).

A peer that sends without pause does not keep the thread: others run after every :data:`TURN` bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from struct import unpack_from
from typing import Any
from weakref import WeakKeyDictionary

import eventlet
from ryu.ofproto import ofproto_parser, ofproto_v1_3_parser

from controller.guard import Frame, read_frame
from controller.guard_lists import BadFrameError
from controller.guard_statistics import PORT_DESCRIPTIONS
from controller.refusals import Refusals
from flowrules.encode import HEADER, VERSION, MessageType

LOG = logging.getLogger(__name__)

#: Bytes of messages, :data:`_OVERHEAD` for each one, after which the other greenlets have their turn.
TURN = 256 * 1024
_OVERHEAD = 256
_HELLO_FAILED = 0
_FOR_RYU = frozenset(
    {MessageType.ECHO_REQUEST, MessageType.ECHO_REPLY, MessageType.FEATURES_REPLY, MessageType.PORT_STATUS}
)
_DROPPED = frozenset({MessageType.FLOW_REMOVED})

Receiver = Callable[[Frame], None]

_receivers: WeakKeyDictionary[Any, Receiver] = WeakKeyDictionary()


def attach(datapath: Any, receiver: Receiver) -> None:
    """Hand the answers that come in on ``datapath`` to ``receiver``, which must neither block nor raise."""
    _receivers[datapath] = receiver


def detach(datapath: Any) -> None:
    """Drop further answers on ``datapath``."""
    _receivers.pop(datapath, None)


def install(refusals: Refusals | None = None) -> None:
    """Put the guard in front of Ryu's parsers, for this process and every protocol version."""
    gate = Gate(refusals or Refusals())
    for version in range(256):
        ofproto_parser.register_msg_parser(version)(gate.take)


class Gate:
    """Stands where Ryu's parsers stand: takes every message of every connection."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._since_turn = 0

    def take(self, datapath: Any, _version: int, _msg_type: int, _msg_len: int, _xid: int, buffer: bytearray) -> Any:
        """What Ryu asks of a parser: the object for its handlers, or None."""
        self._since_turn += len(buffer) + _OVERHEAD
        if self._since_turn > TURN:
            self._since_turn = 0
            eventlet.sleep(0)
        try:
            return _admit(datapath, bytes(buffer))
        except BadFrameError as error:
            self._refusals.note("OpenFlow connection from", datapath.address[0], str(error))
            datapath.close()
            return None


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
    # Ryu's handshake asks for the ports; later a session may.
    if _is_ports(frame) and datapath not in _receivers:
        return _for_ryu(datapath, frame.type, frame.xid, buffer)
    if frame.type == MessageType.ERROR and unpack_from("!H", frame.body)[0] == _HELLO_FAILED:
        raise BadFrameError(f"peer refuses our hello: {frame.body[4:80]!r}")
    receiver = _receivers.get(datapath)
    if receiver is None:
        LOG.debug("%s: %s outside a session is dropped", datapath.address, frame.type.name)
    else:
        receiver(frame)
    return None


def _is_ports(frame: Frame) -> bool:
    return frame.type == MessageType.MULTIPART_REPLY and unpack_from("!H", frame.body)[0] == PORT_DESCRIPTIONS
