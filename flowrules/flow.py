"""The flow value: what the compiler makes, the differ compares and the encoder writes.

Cookie layout (64 bits)::

    63            48 47                                             0
    +---------------+------------------------------------------------+
    |   owner tag   |  BLAKE2b of table, priority, match and actions |
    +---------------+------------------------------------------------+

Two flows with one cookie are the same flow, so a switch's own table can be compared with the desired one by table,
priority and cookie alone.  The number of a flow's meter counts as an action; its figures are compared by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as member
from functools import cached_property
from hashlib import blake2b
from struct import Struct

from flowrules.actions import Action
from flowrules.encode_actions import encode_actions
from flowrules.fields import Field, Subfield
from flowrules.meters import Meter
from flowrules.oxm import encode_match

#: The upper 16 bits of every cookie of ours; any other flow on the bridge is foreign.
OWNER_TAG = 0x51CE
COOKIE_HASH_BITS = 48
_PLACE = Struct("!BH")
_CONTENT = Struct("!BHH")
_METER = Struct("!HHI")
_METER_INSTRUCTION = 6


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """One field test: ``packet[field] & mask == value``."""

    name: str
    value: int
    mask: int
    field: Field = member(compare=False)  # the name says which

    @property
    def exact(self) -> bool:
        """True when every bit of the field is tested."""
        return self.mask == (1 << self.field.bits) - 1


def match(target: Field | Subfield, value: int, mask: int | None = None) -> Match:
    """Test ``target`` against ``value``; ``mask`` (for a whole field only) leaves bits out.

    Raises ValueError when ``value`` does not fit the field or sets bits outside ``mask``.
    """
    if isinstance(target, Subfield):
        field, bits, shift = target.field, target.mask, target.offset
    else:
        field, bits, shift = target, (1 << target.bits) - 1 if mask is None else mask, 0
    shifted = value << shift
    if value < 0 or shifted & ~bits:
        raise ValueError(f"{value:#x} does not fit {field.name} with mask {bits:#x}")
    return Match(field.name, shifted, bits, field)


@dataclass(frozen=True)
class Flow:
    """One flow: where it sits, what it matches, what it does (an empty ``actions`` drops) below which ``meter``."""

    table: int
    priority: int
    matches: tuple[Match, ...]
    actions: tuple[Action, ...]
    meter: Meter | None = None

    @cached_property
    def key(self) -> bytes:
        """What makes a flow unique on a switch: table, priority and match, as bytes, which remember their hash."""
        return _PLACE.pack(self.table, self.priority) + encode_match(self.matches)

    @property
    def match_bytes(self) -> bytes:
        """The match as OXM entries."""
        return self.key[_PLACE.size :]

    @cached_property
    def cookie(self) -> int:
        """Owner tag and content hash."""
        match_bytes = self.match_bytes
        head = _CONTENT.pack(self.table, self.priority, len(match_bytes))
        content = head + match_bytes + self.meter_instruction + encode_actions(self.actions)
        digest = blake2b(content, digest_size=COOKIE_HASH_BITS // 8).digest()
        return OWNER_TAG << COOKIE_HASH_BITS | int.from_bytes(digest, "big")

    @property
    def meter_instruction(self) -> bytes:
        """The OpenFlow instruction that puts the flow below its meter; nothing when it has none."""
        return b"" if self.meter is None else _METER.pack(_METER_INSTRUCTION, _METER.size, self.meter.id)


def flow(
    table: int, priority: int, matches: Iterable[Match], actions: Iterable[Action], meter: Meter | None = None
) -> Flow:
    """Make a flow with its matches in canonical order.

    Matches on the same field with disjoint masks are merged; raises ValueError when they overlap.
    """
    merged: dict[str, Match] = {}
    for item in matches:
        known = merged.get(item.name)
        if known is None:
            merged[item.name] = item
        elif known.mask & item.mask:
            raise ValueError(f"{item.name} is matched twice")
        else:
            merged[item.name] = Match(item.name, known.value | item.value, known.mask | item.mask, item.field)
    return Flow(table, priority, tuple(sorted(merged.values())), tuple(actions), meter)
