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
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from flowrules.actions import Action
from flowrules.decode_actions import decode_actions
from flowrules.encode_actions import encode_actions
from flowrules.meters import Meter
from flowrules.oxm import Match, decode_match, encode_match, match

__all__ = ["COOKIE_HASH_BITS", "OWNER_TAG", "Flow", "Key", "Match", "flow", "match"]

#: The upper 16 bits of every cookie of ours; any other flow on the bridge is foreign.
OWNER_TAG = 0x51CE
COOKIE_HASH_BITS = 48
_PLACE = Struct("!BH")
_CONTENT = Struct("!BHH")
_METER = Struct("!HHI")
_METER_INSTRUCTION = 6
#: A cookie with nothing but the tag, the bytes of its hash, and how many bytes of a key come before its match.
TAG = OWNER_TAG << COOKIE_HASH_BITS
COOKIE_BYTES = COOKIE_HASH_BITS // 8
PLACE_BYTES = _PLACE.size


#: What makes a flow unique on a switch: table (1 byte), priority (2 bytes) and the match as on the wire.
Key = bytes


class Flow(NamedTuple):
    """One flow: where it sits and what it matches (``key``), what it does below which ``meter``, and its cookie.

    A controller holds hundreds of thousands, so match and actions are kept as the bytes that a switch is sent
    (no actions: the packet is dropped); :attr:`matches` and :attr:`actions` read them.
    """

    key: Key
    action_bytes: bytes
    meter: Meter | None
    cookie: int

    @property
    def table(self) -> int:
        """Number of the table."""
        return self.key[0]

    @property
    def priority(self) -> int:
        """Priority in the table."""
        return self.key[1] << 8 | self.key[2]

    @property
    def match_bytes(self) -> bytes:
        """The match as OXM entries."""
        return self.key[3:]

    @property
    def matches(self) -> tuple[Match, ...]:
        """The match, field by field, in the order of their names."""
        return decode_match(self.key[3:])

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions in order."""
        return decode_actions(self.action_bytes)


def meter_instruction(meter: Meter | None) -> bytes:
    """The OpenFlow instruction that puts a flow below its meter, the number of which comes last; nothing for None."""
    return b"" if meter is None else _METER.pack(_METER_INSTRUCTION, _METER.size, meter.id)


def content_head(table: int, priority: int, match_size: int) -> bytes:
    """What a cookie is worked out from begins with this; match, meter instruction and actions follow."""
    return _CONTENT.pack(table, priority, match_size)


def flow(
    table: int, priority: int, matches: Iterable[Match], actions: Iterable[Action], meter: Meter | None = None
) -> Flow:
    """Make a flow.

    Matches on the same field with disjoint masks are merged.  Raises ValueError when they overlap or when a value does
    not fit its target, struct.error when table or priority are out of range.
    """
    tests = tuple(matches)
    if len({test[0] for test in tests}) != len(tests):
        tests = _merged(tests)
    match_bytes, action_bytes = encode_match(tests), encode_actions(actions)
    head = content_head(table, priority, len(match_bytes))
    digest = blake2b(head + match_bytes + meter_instruction(meter) + action_bytes, digest_size=COOKIE_BYTES).digest()
    cookie = TAG | int.from_bytes(digest, "big")
    return Flow(_PLACE.pack(table, priority) + match_bytes, action_bytes, meter, cookie)


def _merged(tests: Iterable[Match]) -> tuple[Match, ...]:
    merged: dict[str, Match] = {}
    for item in tests:
        known = merged.get(item.name)
        if known is None:
            merged[item.name] = item
        elif known.mask & item.mask:
            raise ValueError(f"{item.name} is matched twice")
        else:
            merged[item.name] = Match(item.name, known.value | item.value, known.mask | item.mask, item.field)
    return tuple(merged.values())
