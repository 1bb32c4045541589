"""Packets that a switch shows the controller, read; packets that it is to put back into its pipeline, written.

``OFPT_PACKET_IN`` and ``OFPT_PACKET_OUT`` of OpenFlow 1.3, sections 7.4.1 and 7.3.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct

from flowrules.actions import Action
from flowrules.decode import DecodeError
from flowrules.encode_actions import encode_actions
from flowrules.fields import IN_PORT, Subfield

#: ``OFPR_ACTION``: a flow of ours said so; the other reason, a TTL that ran out, has no meter and is not asked for.
BY_ACTION = 1
#: The port number of packets that come from the controller.
FROM_CONTROLLER = 0xFFFFFFFD

_VERSION = 0x04
_PACKET_OUT_TYPE = 13
_PACKET_OUT = Struct("!BBHIIIH6x")
_NO_BUFFER = 0xFFFFFFFF
#: buffer id, total length, reason, table, cookie, match type, match length.
_FIXED = Struct("!IHBBQHH")
_MATCH_AT = 16
_MATCH_OXM = 1
_MASKED = 1 << 8
_MAX_MESSAGE = 0xFFFF


@dataclass(frozen=True, slots=True)
class PacketIn:
    """One packet before the controller.

    ``table`` and ``cookie`` name the flow that sent it, ``values`` holds the packet's metadata by OXM header, and
    ``frame`` is the whole Ethernet frame as the actions before had made it.
    """

    reason: int
    table: int
    cookie: int
    values: Mapping[int, int]
    frame: bytes

    def get(self, target: Subfield) -> int:
        """What a register or other metadata held; what the switch does not mention is 0."""
        return (self.values.get(target.field.header, 0) & target.mask) >> target.offset

    @property
    def in_port(self) -> int:
        """The OpenFlow port by which the packet came."""
        return self.get(IN_PORT.whole)


def decode_packet_in(body: bytes) -> PacketIn:
    """Read the body of one ``OFPT_PACKET_IN`` (what follows the 8 bytes of header).

    Raises :class:`DecodeError` when lengths do not add up, the frame is not whole or is kept in a buffer.
    """
    if len(body) < _FIXED.size:
        raise DecodeError(f"packet-in of {len(body)} bytes")
    buffer_id, total, reason, table, cookie, match_type, match_length = _FIXED.unpack_from(body)
    data_at = _MATCH_AT + (match_length + 7 & ~7) + 2
    if match_type != _MATCH_OXM or match_length < 4 or data_at > len(body):
        raise DecodeError(f"packet-in: match type {match_type}, length {match_length}")
    frame = body[data_at:]
    if buffer_id != _NO_BUFFER or total != len(frame):
        raise DecodeError(f"packet-in: {len(frame)} of {total} bytes, buffer {buffer_id:#x}")
    values = _read_oxm(body[_FIXED.size : _MATCH_AT + match_length])
    return PacketIn(reason, table, cookie, values, frame)


def _read_oxm(entries: bytes) -> dict[int, int]:
    """Values by header without the mask bit; of a masked entry the value alone."""
    values: dict[int, int] = {}
    offset, end = 0, len(entries)
    while offset < end:
        if end - offset < 4:
            raise DecodeError(f"match entry at byte {offset} is cut short")
        header = int.from_bytes(entries[offset : offset + 4], "big")
        size = header & 0xFF
        start = offset + 4
        if size > end - start or (header & _MASKED and size % 2):
            raise DecodeError(f"match entry at byte {offset}: length {size}")
        width = size // 2 if header & _MASKED else size
        values[header & ~0x1FF | width] = int.from_bytes(entries[start : start + width], "big")
        offset = start + size
    return values


def packet_out(actions: Iterable[Action], frame: bytes, in_port: int = FROM_CONTROLLER, xid: int = 0) -> bytes:
    """``OFPT_PACKET_OUT``: do ``actions`` to ``frame`` as if it had come in by ``in_port``.

    ``[Output(port)]`` sends it; loads and a ``Resubmit`` put it into the pipeline.  Raises ValueError when the message
    would exceed 65535 bytes.
    """
    encoded = encode_actions(actions)
    length = _PACKET_OUT.size + len(encoded) + len(frame)
    if length > _MAX_MESSAGE:
        raise ValueError(f"a packet-out of {length} bytes")
    head = _PACKET_OUT.pack(_VERSION, _PACKET_OUT_TYPE, length, xid, _NO_BUFFER, in_port, len(encoded))
    return head + encoded + frame
