"""Matches on the wire: OXM type-length-value entries (OpenFlow 1.3 section 7.2.3) with Nicira's extensions.

Fields are written in the order in which Open vSwitch itself writes them into a flow dump, and 64-bit registers as the
two 32-bit registers they consist of, as Open vSwitch does.  So a match of ours and the dump of the flow that it made
are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from flowrules import fields
from flowrules.fields import Field, Style, Subfield

_MASKED = 1 << 8
_LAST = 1 << 16
_PACKET_REGISTERS = fields.XREG4.oxm_class
_REGISTER_CLASS = fields.REG0.oxm_class

#: Open vSwitch's order in a dump; anything else is a register or comes last, by header.
_DUMP_ORDER = (
    fields.IN_PORT,
    fields.ETH_SRC,
    fields.ETH_DST,
    fields.ETH_TYPE,
    fields.VLAN_VID,
    fields.IPV4_SRC,
    fields.IPV4_DST,
    fields.IPV6_SRC,
    fields.IPV6_DST,
    fields.IP_PROTO,
    fields.TCP_SRC,
    fields.TCP_DST,
    fields.UDP_SRC,
    fields.UDP_DST,
    fields.SCTP_SRC,
    fields.SCTP_DST,
    fields.ICMP_TYPE,
    fields.ICMP_CODE,
    fields.ICMPV6_TYPE,
    fields.ICMPV6_CODE,
    fields.ND_TARGET,
    fields.ND_SLL,
    fields.ND_TLL,
    fields.ARP_OP,
    fields.ARP_SPA,
    fields.ARP_TPA,
    fields.ARP_SHA,
    fields.ARP_THA,
    fields.TUN_ID,
    fields.TUN_SRC,
    fields.TUN_DST,
)
_AFTER_REGISTERS = (fields.CT_STATE, fields.CT_ZONE, fields.CT_MARK, fields.METADATA)


class Match(NamedTuple):
    """One field test: ``packet[field] & mask == value``.

    A named tuple, since some are made for every flow and a frozen dataclass takes three times as long.
    """

    name: str
    value: int
    mask: int
    field: Field

    @property
    def exact(self) -> bool:
        """True when every bit of the field is tested."""
        return self.mask == (1 << self.field.bits) - 1


class Slot:
    """Stands for a value to come: argument number ``place`` of a declaration (:mod:`flowrules.template`).

    Nothing can be asked of it, so nothing can depend on what it will be.
    """

    def __init__(self, place: int) -> None:
        self.place = place

    def __bool__(self) -> bool:
        """Refuse: TypeError."""
        raise TypeError("a declaration puts its values into a flow and does not look at them")

    def __eq__(self, _other: object) -> bool:
        """Refuse: TypeError."""
        return bool(self)

    __hash__ = None  # type: ignore[assignment]


def match(target: Field | Subfield, value: int | Slot, mask: int | None = None) -> Match:
    """Test ``target`` against ``value``; ``mask`` (for a whole field only) leaves bits out.

    Raises ValueError when ``value`` does not fit the field or sets bits outside ``mask``.
    """
    if isinstance(value, Slot):
        return _match_slot(target, value, mask)
    if isinstance(target, Field):
        field, bits, shifted = target, target.ones if mask is None else mask, value
    else:
        field, bits, shifted = target.field, target.mask, value << target.offset
    if value < 0 or shifted & ~bits:
        raise ValueError(f"{value:#x} does not fit {field.name} with mask {bits:#x}")
    return Match(field.name, shifted, bits, field)


def _match_slot(target: Field | Subfield, slot: Any, mask: int | None) -> Match:
    field = target if isinstance(target, Field) else target.field
    if mask is not None or field.bits % 8 or target.bits != field.bits:
        raise TypeError(f"a value to come is that of a whole field, without a mask: {field.name}")
    return Match(field.name, slot, field.ones, field)


class _Layout(NamedTuple):
    """What the encoder needs of one field; ``halves`` are the two registers of a 64-bit one."""

    rank: int
    width: int
    exact: bytes
    masked: bytes
    all_ones: int
    halves: tuple[_Layout, _Layout] | None


def _rank(field: Field) -> int:
    if field in _DUMP_ORDER:
        return _DUMP_ORDER.index(field)
    if field in _AFTER_REGISTERS:
        return _LAST + _AFTER_REGISTERS.index(field)
    return len(_DUMP_ORDER) + field.oxm_field


def _layout(field: Field) -> _Layout:
    halves = None
    if field.oxm_class == _PACKET_REGISTERS:
        high, low = (
            Field(f"reg{2 * field.oxm_field + n}", _REGISTER_CLASS, 2 * field.oxm_field + n, 32) for n in (0, 1)
        )
        halves = (_layout(high), _layout(low))
    # A mask doubles the length of the entry (its low 8 bits).
    masked = (field.header & ~0xFF) | _MASKED | 2 * field.bytes
    return _Layout(
        rank=halves[0].rank if halves else _rank(field),
        width=field.bytes,
        exact=field.header.to_bytes(4, "big"),
        masked=masked.to_bytes(4, "big"),
        all_ones=(1 << field.bits) - 1,
        halves=halves,
    )


#: By field name: a string's hash is kept by the interpreter, a dataclass's is worked out at every look-up.
_LAYOUTS: dict[str, _Layout] = {}


def _find(field: Field) -> _Layout:
    found = _LAYOUTS.get(field.name)
    if found is None:
        found = _LAYOUTS[field.name] = _layout(field)
    return found


def _entry(layout: _Layout, value: int, mask: int) -> bytes:
    if mask == layout.all_ones:
        return layout.exact + value.to_bytes(layout.width, "big")
    return layout.masked + value.to_bytes(layout.width, "big") + mask.to_bytes(layout.width, "big")


def encode_match(matches: Iterable[Match]) -> bytes:
    """Write ``matches`` as OXM entries, in Open vSwitch's dump order, without the ``ofp_match`` header and padding.

    A test with an empty mask says nothing and is left out.  Prerequisites (``dl_type`` for ``nw_src``...) are the
    caller's business.
    """
    found: list[tuple[int, bytes]] = []
    for name, value, mask, field in matches:
        rank, width, exact, masked, all_ones, halves = _LAYOUTS.get(name) or _find(field)
        if halves is not None:
            high, low = halves
            for half, part, bits in (
                (high, value >> 32, mask >> 32),
                (low, value & low.all_ones, mask & low.all_ones),
            ):
                if bits:
                    found.append((half.rank, _entry(half, part, bits)))
        elif mask == all_ones:
            found.append((rank, exact + value.to_bytes(width, "big")))
        elif mask:
            found.append((rank, masked + value.to_bytes(width, "big") + mask.to_bytes(width, "big")))
    found.sort()
    return b"".join([entry for _, entry in found])


def half_headers(field: Field) -> tuple[bytes, bytes] | None:
    """The headers of the two registers that a 64-bit one is written as, the high half first; None for other fields."""
    found = _find(field).halves
    return None if found is None else (found[0].exact, found[1].exact)


def entries(match_bytes: bytes) -> list[bytes]:
    """Split OXM entries; one that is cut short is kept as it is."""
    found: list[bytes] = []
    offset, end = 0, len(match_bytes)
    while offset < end:
        length = 4 + match_bytes[offset + 3] if offset + 4 <= end else end - offset
        found.append(match_bytes[offset : offset + length])
        offset += length
    return found


def canonical(match_bytes: bytes) -> tuple[bytes, ...]:
    """The entries in order: equal for two matches that differ in the order of their entries only.

    Unreadable matches equal only themselves.
    """
    return tuple(sorted(entries(match_bytes)))


def known_fields() -> dict[int, Field]:
    """Every field of :mod:`flowrules.fields`, and all registers, by OXM header."""
    known = [item for item in vars(fields).values() if isinstance(item, Field)]
    registers = [Field(f"reg{n}", _REGISTER_CLASS, n, 32, Style.HEXADECIMAL) for n in range(16)]
    # The declared ones last: they win over the generated.
    return {field.header: field for field in (*registers, *known)}


FIELDS = known_fields()
_HALVES = {2 * fields.XREG4.oxm_field + n: 32 * (1 - n) for n in (0, 1)}
"""How far the 32-bit registers of the 64-bit one are shifted in it, by register number."""


def read_entry(entry: bytes) -> Match | None:
    """One OXM entry; None when the pipeline does not know its field."""
    header, value = int.from_bytes(entry[:4], "big"), entry[4:]
    masked = bool(header & _MASKED)
    width = len(value) // 2 if masked else len(value)
    field = FIELDS.get(header & ~0x1FF | width)
    if field is None or len(entry) < 4:
        return None
    mask = int.from_bytes(value[width:], "big") if masked else (1 << field.bits) - 1
    return Match(field.name, int.from_bytes(value[:width], "big"), mask, field)


def decode_match(match_bytes: bytes) -> tuple[Match, ...]:
    """The tests that :func:`encode_match` has written, by name; those with an empty mask are gone.

    Raises ValueError when there is a field that the pipeline does not know.
    """
    found: dict[str, Match] = {}
    for entry in canonical(match_bytes):
        item = read_entry(entry)
        if item is None:
            raise ValueError(f"no field of ours: {entry.hex()}")
        if item.field.oxm_class == _REGISTER_CLASS and item.field.oxm_field in _HALVES:
            shift = _HALVES[item.field.oxm_field]
            whole = fields.XREG4
            other = found.get(whole.name, Match(whole.name, 0, 0, whole))
            item = Match(whole.name, other.value | item.value << shift, other.mask | item.mask << shift, whole)
        found[item.name] = item
    return tuple(sorted(found.values()))
