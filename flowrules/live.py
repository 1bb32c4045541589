"""What a switch really holds against what it shall hold, flow by flow, down to the actions.

The differ (:mod:`flowrules.diff`) trusts cookies; here nothing is trusted.  A cookie of ours is a hash of the flow's
content, so a flow that still is what we sent proves it by its own cookie, which is cheap; only one that does not is
compared with the bytes that we would send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from flowrules.decode import DecodeError, InstalledFlow
from flowrules.diff import Key, as_installed
from flowrules.encode import flow_add
from flowrules.fields import Field
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG, Flow, Match
from flowrules.oxm import canonical, read_entry
from flowrules.text import match_text

#: One ``struct ofp_flow_stats`` (OpenFlow 1.3, section 7.3.5.2) up to the length of its match.
_ENTRY = Struct("!HBx8xHHHH4xQ16xHH")
_FIXED = 48
_MATCH_OXM = 1
#: Of a flow-mod: idle and hard timeout, flags, length of the match.
_TIMEOUTS = Struct("!26xHH14xH4xH")
_MOD_FIXED = 48
_APPLY_ACTIONS = Struct("!HH4x")
_APPLY = 4
_CONTENT = Struct("!BHH")
_HASH = (1 << COOKIE_HASH_BITS) - 1

#: NXAST_REG_MOVE from its subtype on, up to the headers of its two fields.
_MOVE = Struct("!HHIHHHHII")
_MOVE_SUBTYPE = 6
_NICIRA = 0x00002320
_EXPERIMENTER = 0xFFFF
#: Open vSwitch gives the fields of a move back by their older names (``ovs-fields(7)``): class and field by the number
#: that OpenFlow's basic class has for them.
_OLDER_NAMES = {
    **{3: (0, 1), 4: (0, 2), 5: (0, 3), 10: (0, 6), 11: (0, 7), 12: (0, 8), 13: (0, 9), 14: (0, 10), 15: (0, 11)},
    **{16: (0, 12), 19: (0, 13), 20: (0, 14), 21: (0, 15), 22: (0, 16), 23: (0, 17), 24: (1, 17), 25: (1, 18)},
    **{26: (1, 19), 27: (1, 20), 29: (1, 21), 30: (1, 22), 31: (1, 23), 32: (1, 24), 33: (1, 25)},
}


class LiveFlow(NamedTuple):
    """One flow as a switch reports it, whole.  ``instructions`` are bytes; timeouts are seconds, 0 = none."""

    table: int
    priority: int
    cookie: int
    match_bytes: bytes
    instructions: bytes
    idle: int
    hard: int
    flags: int

    @property
    def installed(self) -> InstalledFlow:
        """What names it for a deletion."""
        return InstalledFlow(self.table, self.priority, self.cookie, self.match_bytes)


class Change(StrEnum):
    """How a live table differs from the desired one."""

    MISSING = "missing flow"
    ALTERED = "altered flow"
    EXTRA = "extra flow"
    FOREIGN = "foreign flow"


class FlowDifference(NamedTuple):
    """``wanted`` is ours (missing, altered), ``live`` the switch's; ``parts`` name what was altered."""

    change: Change
    wanted: Flow | None
    live: LiveFlow | None
    parts: tuple[str, ...] = ()


def decode_live_flows(body: bytes) -> list[LiveFlow]:
    """Read the body of one ``OFPMP_FLOW`` reply whole; raises :class:`flowrules.decode.DecodeError`."""
    flows: list[LiveFlow] = []
    offset, end = 0, len(body)
    while offset < end:
        if end - offset < _ENTRY.size:
            raise DecodeError(f"flow entry at byte {offset} is cut short")
        length, table, priority, idle, hard, flags, cookie, kind, match_length = _ENTRY.unpack_from(body, offset)
        behind = _FIXED + (match_length + 7 & ~7)
        if length & 7 or length > end - offset or behind > length or kind != _MATCH_OXM or match_length < 4:
            raise DecodeError(f"flow entry at byte {offset}: length {length}, match length {match_length}")
        match_bytes = body[offset + _ENTRY.size : offset + _FIXED + match_length]
        instructions = body[offset + behind : offset + length]
        flows.append(LiveFlow(table, priority, cookie, match_bytes, instructions, idle, hard, flags))
        offset += length
    return flows


def as_live(flow: Flow) -> LiveFlow:
    """Tell how a switch that holds ``flow`` unchanged reports it."""
    message = flow_add(flow)
    idle, hard, flags, match_length = _TIMEOUTS.unpack_from(message)
    start = _MOD_FIXED + 4
    match_bytes = message[start : start + match_length - 4]
    instructions = message[_MOD_FIXED + (match_length + 7 & ~7) :]
    return LiveFlow(flow.table, flow.priority, flow.cookie, match_bytes, instructions, idle, hard, flags)


class Comparison:
    """Takes a live table in pieces, then tells the differences; linear in the number of flows."""

    def __init__(self, desired: Mapping[Key, Flow]) -> None:
        self._missing = {(flow.table, flow.priority, flow.cookie): flow for flow in desired.values()}
        self._suspects: list[LiveFlow] = []

    def take(self, live: Iterable[LiveFlow]) -> None:
        """Compare some more flows."""
        for item in live:
            wanted = self._missing.get(item[:3])
            if wanted is not None and _genuine(wanted, item):
                del self._missing[item[:3]]
            else:
                self._suspects.append(item)

    def finish(self) -> list[FlowDifference]:
        """The differences, once all flows have been taken; each flow, ours or the switch's, is in one at most."""
        slots = {_slot(as_installed(flow)): flow for flow in self._missing.values()} if self._missing else {}
        found = []
        for item in self._suspects:
            wanted = slots.pop(_slot(item.installed), None)
            if wanted is not None:
                found.append(FlowDifference(Change.ALTERED, wanted, item, _parts(as_live(wanted), item)))
            elif item.cookie >> COOKIE_HASH_BITS == OWNER_TAG:
                found.append(FlowDifference(Change.EXTRA, None, item))
            else:
                found.append(FlowDifference(Change.FOREIGN, None, item))
        return [*(FlowDifference(Change.MISSING, flow, None) for flow in slots.values()), *found]


def compare(desired: Mapping[Key, Flow], live: Iterable[LiveFlow]) -> list[FlowDifference]:
    """The differences between what a switch shall hold and what it holds."""
    comparison = Comparison(desired)
    comparison.take(live)
    return comparison.finish()


def live_text(flow: LiveFlow) -> str:
    """Name a live flow within its table for a person: priority and match."""
    return f"priority {flow.priority}, {_match_words(flow.match_bytes) or 'everything'}"


def field_values(match_bytes: bytes, field: Field) -> list[int]:
    """The exact values that a match tests ``field`` for: one or none."""
    return [item.value for item in _matches(match_bytes)[0] if item.name == field.name and item.exact]


def _genuine(wanted: Flow, live: LiveFlow) -> bool:
    """Is ``live``, which has the cookie of ``wanted``, what we sent?"""
    if not live.idle and not live.hard and not live.flags:
        head = _CONTENT.pack(live.table, live.priority, len(live.match_bytes))
        content = head + live.match_bytes + _actions(live.instructions)
        digest = blake2b(content, digest_size=COOKIE_HASH_BITS // 8).digest()
        if int.from_bytes(digest, "big") == live.cookie & _HASH and _only_actions(live.instructions):
            return True
    return _comparable(as_live(wanted)) == _comparable(live)


def _comparable(flow: LiveFlow) -> tuple[object, ...]:
    """All that matters of a flow, in one spelling."""
    return (*flow._replace(match_bytes=b"", instructions=_spelled(flow.instructions)), canonical(flow.match_bytes))


def _spelled(instructions: bytes) -> bytes:
    """The instructions with the fields of every move by their older names."""
    if not instructions or not _only_actions(instructions):
        return instructions
    parts, offset = [instructions[: _APPLY_ACTIONS.size]], _APPLY_ACTIONS.size
    while offset < len(instructions):
        length = max(int.from_bytes(instructions[offset + 2 : offset + 4], "big"), 8)
        parts.append(_spelled_action(instructions[offset : offset + length]))
        offset += length
    return b"".join(parts)


def _spelled_action(action: bytes) -> bytes:
    if len(action) != _MOVE.size:
        return action
    kind, length, vendor, subtype, *bits, source, target = _MOVE.unpack(action)
    if (kind, vendor, subtype) != (_EXPERIMENTER, _NICIRA, _MOVE_SUBTYPE):
        return action
    return _MOVE.pack(kind, length, vendor, subtype, *bits, _older(source), _older(target))


def _older(header: int) -> int:
    field_class, field = _OLDER_NAMES.get(header >> 9 & 0x7F, (0, 0)) if header >> 16 == 0x8000 else (0, 0)
    return field_class << 16 | field << 9 | header & 0x1FF if field else header


def _only_actions(instructions: bytes) -> bool:
    return not instructions or _APPLY_ACTIONS.unpack_from(instructions) == (_APPLY, len(instructions))


def _actions(instructions: bytes) -> bytes:
    return instructions[_APPLY_ACTIONS.size :]


def _parts(expected: LiveFlow, live: LiveFlow) -> tuple[str, ...]:
    parts = [
        ("actions", _spelled(expected.instructions) != _spelled(live.instructions)),
        ("cookie", expected.cookie != live.cookie),
        ("timeouts", (expected.idle, expected.hard) != (live.idle, live.hard)),
        ("flags", expected.flags != live.flags),
    ]
    return tuple(name for name, differs in parts if differs)


def _slot(flow: InstalledFlow) -> tuple[int, int, tuple[bytes, ...]]:
    return (flow.table, flow.priority, canonical(flow.match_bytes))


def _matches(match_bytes: bytes) -> tuple[list[Match], list[bytes]]:
    """What a match tests, and the entries of fields that the pipeline does not know."""
    found: list[Match] = []
    unknown: list[bytes] = []
    for entry in canonical(match_bytes):
        item = read_entry(entry)
        if item is None:
            unknown.append(entry)
        else:
            found.append(item)
    return found, unknown


def _match_words(match_bytes: bytes) -> str:
    known, unknown = _matches(match_bytes)
    try:
        words = match_text(known)
    except (KeyError, ValueError):
        words = ",".join(f"{item.name}={item.value:#x}/{item.mask:#x}" for item in known)
    return ",".join(filter(None, [words, *(f"oxm:{entry.hex()}" for entry in unknown)]))
