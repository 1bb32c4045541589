"""Length-walks of every kind of ``OFPT_MULTIPART_REPLY`` that OpenFlow 1.3 has (specification 1.3.5, section 7.3.5).

An experimenter's statistics are refused: we ask for none.
"""

from __future__ import annotations

from functools import partial
from struct import unpack_from

from controller import guard_lists as lists
from controller.guard_lists import BadFrameError, Walk

PORT_DESCRIPTIONS = 13
_MORE = 1
#: Instructions that have been walked to their end already: at most a megabyte of them.
_MOST_KNOWN, _LONGEST_KNOWN = 8192, 128
_known_instructions: set[bytes] = set()

#: What an ``ofp_flow_stats`` has before its match.
_FLOW_FIXED = 48
#: Kinds whose body is one record of a fixed size: description, aggregate, group and meter features.
_SINGLE = {0: 1056, 2: 24, 8: 40, 11: 16}


def check_statistics(buffer: bytes, start: int, end: int) -> None:
    """Check the body of one reply, from its kind on.  Raises :class:`BadFrameError`."""
    kind, flags = unpack_from("!HH", buffer, start)
    if flags & ~_MORE:
        raise BadFrameError(f"statistics of kind {kind} with flags {flags:#x}")
    walk = _KINDS.get(kind)
    if walk is None:
        raise BadFrameError(f"statistics of kind {kind} are not for a switch to send")
    walk(buffer, start + 8, end)


def _single(size: int, buffer: bytes, start: int, end: int) -> None:
    if end - start != size:
        raise BadFrameError(f"statistics of {end - start} bytes, not {size}")


def _flows(buffer: bytes, start: int, end: int) -> None:
    while start < end:
        if end - start < _FLOW_FIXED + 8:
            raise BadFrameError(f"flow entry of {end - start} bytes")
        length = unpack_from("!H", buffer, start)[0]
        if length < _FLOW_FIXED + 8 or length & 7 or length > end - start:
            raise BadFrameError(f"flow entry of length {length}, {end - start} bytes are left")
        behind = lists.match(buffer, start + _FLOW_FIXED, start + length)
        # Many flows do the same, and a look into a set takes a tenth of a walk.
        what = buffer[behind : start + length]
        if what not in _known_instructions:
            lists.instructions(buffer, behind, start + length)
            if len(_known_instructions) < _MOST_KNOWN and len(what) <= _LONGEST_KNOWN:
                _known_instructions.add(what)
        start += length


def _records(what: str, size: int, buffer: bytes, start: int, end: int) -> None:
    lists.records(buffer, start, end, what, size)


def _counters(what: str, length_at: int, buffer: bytes, start: int, end: int) -> None:
    """Groups or meters: 40 bytes, then two counters for each bucket or band."""
    lists.entries(buffer, start, end, what, 40, length_at)


def _group_descriptions(buffer: bytes, start: int, end: int) -> None:
    lists.entries(buffer, start, end, "group", 8, inside=lists.buckets)


def _meters(buffer: bytes, start: int, end: int) -> None:
    lists.entries(buffer, start, end, "meter", 8, inside=lists.bands)


def _table_features(buffer: bytes, start: int, end: int) -> None:
    lists.entries(buffer, start, end, "table", 64, inside=lists.table_properties)


_KINDS: dict[int, Walk] = {
    **{kind: partial(_single, size) for kind, size in _SINGLE.items()},
    1: _flows,
    3: partial(_records, "tables", 24),
    4: partial(_records, "port counters", 112),
    5: partial(_records, "queue counters", 40),
    6: partial(_counters, "group counters", 0),
    7: _group_descriptions,
    9: partial(_counters, "meter counters", 4),
    10: _meters,
    12: _table_features,
    PORT_DESCRIPTIONS: partial(_records, "port descriptions", 64),
}
