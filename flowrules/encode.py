"""OpenFlow 1.3 messages to a switch, as bytes.

The flow-mods are ADD and DELETE_STRICT only: MODIFY would keep the old cookie and so hide what is installed.  Bundles
are the Open Networking Foundation's EXT-230, the form in which Open vSwitch takes bundles over OpenFlow 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import overload

from flowrules.flow import Flow, meter_instruction

VERSION = 0x04
HEADER = Struct("!BBHI")

ONF_EXPERIMENTER = 0x4F4E4600
NICIRA_EXPERIMENTER = 0x00002320
BUNDLE_CONTROL = 2300
BUNDLE_ADD = 2301
MULTIPART_FLOW = 1
MULTIPART_PORT_DESC = 13

_NXT_CT_FLUSH_ZONE = 29
_ADD = 0
_DELETE_STRICT = 4
_NO_BUFFER = 0xFFFFFFFF
_ANY = 0xFFFFFFFF
_ALL_TABLES = 0xFF
_ALL_BITS = 0xFFFFFFFFFFFFFFFF
_ATOMIC_ORDERED = 0x0003
_MATCH_OXM = 1
_APPLY_ACTIONS = 4

_FLOW_MOD = Struct("!BBHIQQBBHHHIIIHxxHH")
_INSTRUCTION = Struct("!HH4x")
_BUNDLE = Struct("!BBHIIIIHH")
_BUNDLE_AND_INNER = Struct("!BBHIIIIHHBBHI")
_FLOW_STATS = Struct("!BBHIHH4xB3xII4xQQHH4x")
_MULTIPART = Struct("!BBHIHH4x")
_FLUSH_ZONE = Struct("!BBHIII6xH")
_PADDING = tuple(b"\0" * n for n in range(8))


class MessageType(IntEnum):
    """``enum ofp_type`` of OpenFlow 1.3, as far as a switch and we speak it."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REPLY = 6
    GET_CONFIG_REPLY = 8
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    FLOW_MOD = 14
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    QUEUE_GET_CONFIG_REPLY = 23
    ROLE_REPLY = 25
    GET_ASYNC_REPLY = 27


class BundleControl(IntEnum):
    """``enum ofp_bundle_ctrl_type``."""

    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


def _flow_mod(
    command: int, table: int, priority: int, cookie: int, cookie_mask: int, match: bytes, instructions: bytes, xid: int
) -> bytes:
    match_length = 4 + len(match)
    padding = _PADDING[-match_length % 8]
    length = 48 + match_length + len(padding) + len(instructions)
    head = _FLOW_MOD.pack(
        VERSION,
        MessageType.FLOW_MOD,
        length,
        xid,
        cookie,
        cookie_mask,
        table,
        command,
        0,  # idle timeout: none
        0,  # hard timeout: none
        priority,
        _NO_BUFFER,
        _ANY,  # out port
        _ANY,  # out group
        0,  # flags
        _MATCH_OXM,
        match_length,
    )
    return head + match + padding + instructions


def flow_add(flow: Flow, xid: int = 0) -> bytes:
    """Add ``flow``, replacing a flow with the same table, priority and match."""
    key, actions, meter, cookie = flow
    instructions = b"" if meter is None else meter_instruction(meter)
    if actions:
        instructions += _INSTRUCTION.pack(_APPLY_ACTIONS, 8 + len(actions)) + actions
    return _flow_mod(_ADD, key[0], key[1] << 8 | key[2], cookie, 0, key[3:], instructions, xid)


class FlowAdds(Sequence[bytes]):
    """The flow-mods that add ``flows``, each written when it is asked for: 100,000 at once are 25 MB."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._flows = flows

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[bytes]:
        """One after the other, which is what a bundle wants."""
        return map(flow_add, self._flows)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        """One, or a list of some."""
        if isinstance(place, slice):
            return [flow_add(flow) for flow in self._flows[place]]
        return flow_add(self._flows[place])


def flow_delete_strict(table: int, priority: int, cookie: int, match_bytes: bytes, xid: int = 0) -> bytes:
    """Delete the one flow with this table, priority, cookie and match (OXM entries as :mod:`flowrules.oxm` makes)."""
    return _flow_mod(_DELETE_STRICT, table, priority, cookie, _ALL_BITS, match_bytes, b"", xid)


def _bundle_control(kind: BundleControl, bundle_id: int, xid: int) -> bytes:
    return _BUNDLE.pack(
        VERSION,
        MessageType.EXPERIMENTER,
        _BUNDLE.size,
        xid,
        ONF_EXPERIMENTER,
        BUNDLE_CONTROL,
        bundle_id,
        kind,
        _ATOMIC_ORDERED,
    )


def bundle_open(bundle_id: int, xid: int = 0) -> bytes:
    """Open an ordered and atomic bundle."""
    return _bundle_control(BundleControl.OPEN_REQUEST, bundle_id, xid)


def bundle_commit(bundle_id: int, xid: int = 0) -> bytes:
    """Apply all messages of a bundle, or none.

    A message that the switch refused when it was added is not part of the bundle and does not stop the commit: look
    at the answers to every ``bundle_add`` first.
    """
    return _bundle_control(BundleControl.COMMIT_REQUEST, bundle_id, xid)


def bundle_discard(bundle_id: int, xid: int = 0) -> bytes:
    """Forget a bundle."""
    return _bundle_control(BundleControl.DISCARD_REQUEST, bundle_id, xid)


def bundle_add(bundle_id: int, message: bytes, xid: int = 0) -> bytes:
    """Put ``message`` into a bundle.  Envelope and message carry the same ``xid``, whatever ``message`` had."""
    head = _BUNDLE_AND_INNER.pack(
        VERSION,
        MessageType.EXPERIMENTER,
        _BUNDLE.size + len(message),
        xid,
        ONF_EXPERIMENTER,
        BUNDLE_ADD,
        bundle_id,
        0,
        _ATOMIC_ORDERED,
        message[0],
        message[1],
        len(message),
        xid,
    )
    return head + message[8:]


def with_xid(message: bytes, xid: int) -> bytes:
    """``message`` under another ``xid``."""
    return message[:4] + xid.to_bytes(4, "big") + message[HEADER.size :]


def barrier_request(xid: int = 0) -> bytes:
    """Ask for an answer once everything sent before has been processed."""
    return HEADER.pack(VERSION, MessageType.BARRIER_REQUEST, HEADER.size, xid)


def flow_stats_request(xid: int = 0, cookie: int = 0, cookie_mask: int = 0, table: int = _ALL_TABLES) -> bytes:
    """Ask for all flows of ``table`` (or of all) whose cookie equals ``cookie`` in the bits of ``cookie_mask``."""
    return _FLOW_STATS.pack(
        VERSION,
        MessageType.MULTIPART_REQUEST,
        _FLOW_STATS.size,
        xid,
        MULTIPART_FLOW,
        0,
        table,
        _ANY,
        _ANY,
        cookie,
        cookie_mask,
        _MATCH_OXM,
        4,
    )


def port_description_request(xid: int = 0) -> bytes:
    """Ask for name and number of every port."""
    return _MULTIPART.pack(VERSION, MessageType.MULTIPART_REQUEST, _MULTIPART.size, xid, MULTIPART_PORT_DESC, 0)


def ct_flush_zone(zone: int, xid: int = 0) -> bytes:
    """Forget all connections of conntrack zone ``zone`` (16 bits; ``NXT_CT_FLUSH_ZONE``)."""
    return _FLUSH_ZONE.pack(
        VERSION, MessageType.EXPERIMENTER, _FLUSH_ZONE.size, xid, NICIRA_EXPERIMENTER, _NXT_CT_FLUSH_ZONE, zone
    )
