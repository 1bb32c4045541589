"""Length-walks of the lists inside OpenFlow 1.3 messages: matches, instructions, actions, buckets, bands, properties.

Each walk is given a buffer and the two ends of a list in it, touches every entry once, builds nothing, and raises
:class:`BadFrameError` at the first entry whose length is zero, too small for its kind, misaligned, or leads past the
end.  Layouts and sizes: OpenFlow Switch Specification 1.3.5, section 7.2 and 7.3; nested actions of Open vSwitch:
``ovs-actions(7)``.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct


class BadFrameError(ValueError):
    """The peer sent what no switch sends."""


#: Checks ``buffer[start:end]``.
Walk = Callable[[bytes, int, int], None]

_TLV = Struct("!HH")
_EXPERIMENTER = 0xFFFF
_MATCH_OXM = 1
_NICIRA = 0x00002320
_MOST_NESTED = 4
#: Value sizes of ``OFPXMC_OPENFLOW_BASIC``, by field, in bytes.
_BASIC = 0x8000
_OXM_SIZES = (
    *(4, 4, 8, 6, 6, 2, 2, 1, 1, 1, 1, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 2, 4, 4, 6, 6, 16, 16, 4, 1, 1, 16, 6, 6, 4),
    *(1, 1, 3, 8, 2),
)
#: Sizes of actions and of instructions by type; what has a list inside is walked besides.
_ACTIONS = {0: 16, **dict.fromkeys((11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27), 8)}
_SET_FIELD = 25
_INSTRUCTIONS = {1: 8, 2: 24, 5: 8, 6: 8}
_WITH_ACTIONS = frozenset({3, 4})
#: Where the actions inside NXAST_CT and NXAST_CLONE begin, by subtype.
_NESTED = {35: 24, 42: 16}


def entries(
    buffer: bytes,
    start: int,
    end: int,
    what: str,
    fixed: int,
    length_at: int = 0,
    aligned: int = 8,
    inside: Walk | None = None,
) -> None:
    """Walk entries that begin with ``fixed`` bytes, their whole length at ``length_at``; ``inside`` gets the rest."""
    while start < end:
        if end - start < fixed:
            raise BadFrameError(f"{what} of {end - start} bytes")
        length = int.from_bytes(buffer[start + length_at : start + length_at + 2], "big")
        if length < fixed or length > end - start or length % aligned:
            raise BadFrameError(f"{what} of length {length}, {end - start} bytes are left")
        if inside is not None:
            inside(buffer, start + fixed, start + length)
        start += length


def records(buffer: bytes, start: int, end: int, what: str, size: int) -> None:
    """Check that there are whole records of ``size`` bytes."""
    if (end - start) % size:
        raise BadFrameError(f"{what}: {end - start} bytes are no multiple of {size}")


def oxm(buffer: bytes, start: int, end: int) -> None:
    """Walk match fields."""
    while start < end:
        if end - start < 5:
            raise BadFrameError(f"match field of {end - start} bytes")
        length, field = buffer[start + 3], buffer[start + 2]
        if not length or length > end - start - 4:
            raise BadFrameError(f"match field of length {length}, {end - start - 4} bytes are left")
        if field & 1 and length & 1:
            raise BadFrameError(f"match field with mask of length {length}")
        if buffer[start] == 0x80 and not buffer[start + 1] and field >> 1 < len(_OXM_SIZES):
            size = _OXM_SIZES[field >> 1]
            if length != (size * 2 if field & 1 else size):
                raise BadFrameError(f"match field {field >> 1} of length {length}")
        start += 4 + length


def match(buffer: bytes, start: int, end: int) -> int:
    """Check a ``struct ofp_match``; tell where it ends, padding included."""
    if end - start < 8:
        raise BadFrameError(f"match of {end - start} bytes")
    kind, length = _TLV.unpack_from(buffer, start)
    behind: int = start + (length + 7 & ~7)
    if kind != _MATCH_OXM or length < 4 or behind > end:
        raise BadFrameError(f"match of type {kind}, length {length}, {end - start} bytes are left")
    oxm(buffer, start + 4, start + length)
    return behind


def actions(buffer: bytes, start: int, end: int, nested: int = 0) -> None:
    """Walk actions."""
    while start < end:
        if end - start < 8:
            raise BadFrameError(f"action of {end - start} bytes")
        kind, length = _TLV.unpack_from(buffer, start)
        if length < 8 or length & 7 or length > end - start:
            raise BadFrameError(f"action of type {kind}, length {length}, {end - start} bytes are left")
        if kind == _EXPERIMENTER:
            _experimenter_action(buffer, start, length, nested)
        elif kind == _SET_FIELD:
            size = buffer[start + 7]
            if length != (8 + size + 7 & ~7):
                raise BadFrameError(f"set-field action of length {length} for {size} bytes")
            oxm(buffer, start + 4, start + 8 + size)
        elif _ACTIONS.get(kind) != length:
            raise BadFrameError(f"action of type {kind}, length {length}")
        start += length


def _experimenter_action(buffer: bytes, start: int, length: int, nested: int) -> None:
    if int.from_bytes(buffer[start + 4 : start + 8], "big") != _NICIRA:
        return
    if length < 16:
        raise BadFrameError(f"experimenter action of length {length}")
    inner = _NESTED.get(int.from_bytes(buffer[start + 8 : start + 10], "big"))
    if inner is None:
        return
    if nested >= _MOST_NESTED or length < inner:
        raise BadFrameError(f"actions in actions, {nested} deep, of length {length}")
    actions(buffer, start + inner, start + length, nested + 1)


def instructions(buffer: bytes, start: int, end: int) -> None:
    """Walk instructions and the actions in them."""
    while start < end:
        if end - start < 8:
            raise BadFrameError(f"instruction of {end - start} bytes")
        kind, length = _TLV.unpack_from(buffer, start)
        if length < 8 or length & 7 or length > end - start:
            raise BadFrameError(f"instruction of type {kind}, length {length}, {end - start} bytes are left")
        if kind in _WITH_ACTIONS:
            actions(buffer, start + 8, start + length)
        elif kind != _EXPERIMENTER and _INSTRUCTIONS.get(kind) != length:
            raise BadFrameError(f"instruction of type {kind}, length {length}")
        start += length


def buckets(buffer: bytes, start: int, end: int) -> None:
    """Walk the buckets of a group and the actions in them."""
    entries(buffer, start, end, "bucket", 16, inside=actions)


def bands(buffer: bytes, start: int, end: int) -> None:
    """Walk the bands of a meter: each has 16 bytes, an experimenter's more."""
    while start < end:
        if end - start < 16:
            raise BadFrameError(f"meter band of {end - start} bytes")
        kind, length = _TLV.unpack_from(buffer, start)
        if length < 16 or length > end - start or length & 7 or (kind != _EXPERIMENTER and length != 16):
            raise BadFrameError(f"meter band of type {kind}, length {length}, {end - start} bytes are left")
        start += length


def queues(buffer: bytes, start: int, end: int) -> None:
    """Walk packet queues and their properties."""
    entries(buffer, start, end, "queue", 16, length_at=8, inside=_queue_properties)


def _queue_properties(buffer: bytes, start: int, end: int) -> None:
    entries(buffer, start, end, "queue property", 16, length_at=2)


def bundle_properties(buffer: bytes, start: int, end: int) -> None:
    """Walk the properties of a bundle message: lengths do not count the padding (ONF extension 230)."""
    _padded(buffer, start, end, "bundle property", {})


def table_properties(buffer: bytes, start: int, end: int) -> None:
    """Walk the properties of a table's features: lengths do not count the padding."""
    _padded(buffer, start, end, "table property", _TABLE_PROPERTIES)


def _padded(buffer: bytes, start: int, end: int, what: str, inside: dict[int, Walk]) -> None:
    while start < end:
        if end - start < 8:
            raise BadFrameError(f"{what} of {end - start} bytes")
        kind, length = _TLV.unpack_from(buffer, start)
        behind = start + (length + 7 & ~7)
        if length < 4 or behind > end:
            raise BadFrameError(f"{what} of type {kind}, length {length}, {end - start} bytes are left")
        walk = inside.get(kind)
        if walk is not None:
            walk(buffer, start + 4, start + length)
        start = behind


def _ids(buffer: bytes, start: int, end: int) -> None:
    """Names of actions or instructions: a type and a length of 4, an experimenter's 8 or more."""
    while start < end:
        if end - start < 4:
            raise BadFrameError(f"id in a table property of {end - start} bytes")
        kind, length = _TLV.unpack_from(buffer, start)
        if length > end - start or (length < 8 if kind == _EXPERIMENTER else length != 4):
            raise BadFrameError(f"id in a table property: type {kind}, length {length}")
        start += length


def _field_ids(buffer: bytes, start: int, end: int) -> None:
    """Headers of match fields; an experimenter's is 8 bytes long."""
    while start < end:
        start += 8 if buffer[start : start + 2] == b"\xff\xff" else 4
    if start != end:
        raise BadFrameError("match field's name in a table property is cut short")


#: ``enum ofp_table_feature_prop_type``; 2 and 3 are lists of bytes.
_TABLE_PROPERTIES: dict[int, Walk] = {
    **dict.fromkeys((0, 1, 4, 5, 6, 7), _ids),
    **dict.fromkeys((8, 10, 12, 13, 14, 15), _field_ids),
}
