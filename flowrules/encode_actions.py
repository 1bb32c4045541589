"""Actions on the wire: OpenFlow 1.3 (section 7.2.5) and Nicira's extensions (``ovs-actions(7)``, ``nicira-ext.h``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any

from flowrules import actions as act
from flowrules.fields import EtherType, Field, Subfield

_IN_PORT = 0xFFFFFFF8
_CONTROLLER = 0xFFFFFFFD
_WHOLE_PACKET = 0xFFFF
_TO_CONTROLLER_MAX = 0
_NICIRA = 0x00002320
_EXPERIMENTER = 0xFFFF
_CT_COMMIT = 0x1
_NO_TABLE = 0xFF
_ORIGINAL_IN_PORT = 0xFFF8

_OUTPUT = Struct("!HHIH6x")
_PLAIN = Struct("!HHI")
_HEADER = Struct("!HHI")
_RESUBMIT = Struct("!HHIHHB3x")
_REG_LOAD = Struct("!HHIHHIQ")
_REG_MOVE = Struct("!HHIHHHHII")
_OUTPUT_REG = Struct("!HHIHHIH6x")
_CT = Struct("!HHIHHIHB3xH")
_CT_CLEAR = Struct("!HHIH6x")
_SET_FIELD = Struct("!HHI")
_PADDING = tuple(b"\0" * n for n in range(8))

# Subtypes of Nicira's actions.
_NX_REG_MOVE = 6
_NX_REG_LOAD = 7
_NX_RESUBMIT_TABLE = 14
_NX_OUTPUT_REG = 15
_NX_CT = 35
_NX_CT_CLEAR = 43

_TTL_ACTION = _PLAIN.pack(24, 8, 0)
_PUSH_VLAN_ACTION = _PLAIN.pack(17, 8, EtherType.VLAN << 16)
_POP_VLAN_ACTION = _PLAIN.pack(18, 8, 0)
_CT_CLEAR_ACTION = _CT_CLEAR.pack(_EXPERIMENTER, 16, _NICIRA, _NX_CT_CLEAR)
_OUTPUT_IN_PORT_ACTION = _OUTPUT.pack(0, 16, _IN_PORT, _TO_CONTROLLER_MAX)
_TO_CONTROLLER_ACTION = _OUTPUT.pack(0, 16, _CONTROLLER, _WHOLE_PACKET)


def _bits(target: Subfield) -> int:
    return target.offset << 6 | (target.bits - 1)


def _load(action: act.Load) -> bytes:
    target, value = action.target, action.value
    width = target.bits
    if value >> width:
        raise ValueError(f"{value:#x} does not fit {width} bits of {target.field.name}")
    part = target.offset << 6 | (width - 1)
    return _REG_LOAD.pack(_EXPERIMENTER, 24, _NICIRA, _NX_REG_LOAD, part, target.field.header, value)


def _move(action: act.Move) -> bytes:
    source, target = action.source, action.target
    return _REG_MOVE.pack(
        _EXPERIMENTER,
        24,
        _NICIRA,
        _NX_REG_MOVE,
        source.bits,
        source.offset,
        target.offset,
        source.field.header,
        target.field.header,
    )


def _set_field(action: act.SetField) -> bytes:
    field: Field = action.field
    length = (8 + field.bytes + 7) // 8 * 8
    value = action.value.to_bytes(field.bytes, "big")
    return _SET_FIELD.pack(25, length, field.header) + value + _PADDING[length - 8 - field.bytes]


def _ct(action: act.Ct) -> bytes:
    # Commits are the only packets that may carry an exec().
    nested = _load(action.mark) if action.mark is not None else b""
    return (
        _CT.pack(
            _EXPERIMENTER,
            24 + len(nested),
            _NICIRA,
            _NX_CT,
            _CT_COMMIT if action.commit else 0,
            action.zone.field.header,
            _bits(action.zone),
            _NO_TABLE if action.table is None else action.table,
            0,
        )
        + nested
    )


def _output_to(action: act.OutputTo) -> bytes:
    source = action.source
    return _OUTPUT_REG.pack(_EXPERIMENTER, 24, _NICIRA, _NX_OUTPUT_REG, _bits(source), source.field.header, 0)


_RESUBMITS = tuple(
    _RESUBMIT.pack(_EXPERIMENTER, 16, _NICIRA, _NX_RESUBMIT_TABLE, _ORIGINAL_IN_PORT, table) for table in range(256)
)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    act.Output: lambda action: _OUTPUT.pack(0, 16, action.port, _TO_CONTROLLER_MAX),
    act.OutputTo: _output_to,
    act.OutputInPort: lambda _: _OUTPUT_IN_PORT_ACTION,
    act.ToController: lambda _: _TO_CONTROLLER_ACTION,
    act.Resubmit: lambda action: _RESUBMITS[action.table],
    act.Load: _load,
    act.Move: _move,
    act.SetField: _set_field,
    act.DecTtl: lambda _: _TTL_ACTION,
    act.PushVlan: lambda _: _PUSH_VLAN_ACTION,
    act.PopVlan: lambda _: _POP_VLAN_ACTION,
    act.Ct: _ct,
    act.CtClear: lambda _: _CT_CLEAR_ACTION,
}


def encode_actions(actions: Iterable[act.Action]) -> bytes:
    """Write ``actions`` one after the other.

    Raises ValueError when a value does not fit its target, KeyError on something that is no action.
    """
    return b"".join([_ENCODERS[action.__class__](action) for action in actions])
