"""Actions read back from what :mod:`flowrules.encode_actions` has written; of no use for what others have written."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from flowrules import actions as act
from flowrules.fields import Subfield
from flowrules.oxm import FIELDS

_HEAD = Struct("!HH")
_OUTPUT = Struct("!4xI8x")
_RESUBMIT = Struct("!12xB3x")
_LOAD = Struct("!10xHIQ")
_MOVE = Struct("!10xHHHII")
_OUTPUT_REG = Struct("!10xHI8x")
_CT = Struct("!10xHIHB5x")
_EXPERIMENTER = 0xFFFF
_SET_FIELD = 25
_SUBTYPE = slice(8, 10)
_IN_PORT = 0xFFFFFFF8
_CONTROLLER = 0xFFFFFFFD
_NO_TABLE = 0xFF


def _part(field: int, bits: int) -> Subfield:
    """A part of a field: its header; offset and width as Nicira's actions write them."""
    return Subfield(FIELDS[field], bits >> 6, (bits & 0x3F) + 1)


def _output(data: bytes) -> act.Action:
    (port,) = _OUTPUT.unpack(data)
    if port == _IN_PORT:
        return act.OutputInPort()
    return act.ToController() if port == _CONTROLLER else act.Output(port)


def _set_field(data: bytes) -> act.Action:
    field = FIELDS[int.from_bytes(data[4:8], "big")]
    return act.SetField(field, int.from_bytes(data[8 : 8 + field.bytes], "big"))


def _load(data: bytes) -> act.Load:
    bits, field, value = _LOAD.unpack(data)
    return act.Load(_part(field, bits), value)


def _move(data: bytes) -> act.Action:
    bits, source_offset, target_offset, source, target = _MOVE.unpack(data)
    return act.Move(Subfield(FIELDS[source], source_offset, bits), Subfield(FIELDS[target], target_offset, bits))


def _resubmit(data: bytes) -> act.Action:
    return act.Resubmit(*_RESUBMIT.unpack(data))


def _output_to(data: bytes) -> act.Action:
    bits, field = _OUTPUT_REG.unpack(data)
    return act.OutputTo(_part(field, bits))


def _ct(data: bytes) -> act.Action:
    commit, field, bits, table = _CT.unpack_from(data)
    mark = _load(data[_CT.size :]) if len(data) > _CT.size else None
    return act.Ct(_part(field, bits), bool(commit), None if table == _NO_TABLE else table, mark)


#: By OpenFlow's type, and by subtype of Nicira's.
_BASIC: dict[int, Callable[[bytes], act.Action]] = {
    0: _output,
    17: lambda _: act.PushVlan(),
    18: lambda _: act.PopVlan(),
    24: lambda _: act.DecTtl(),
    _SET_FIELD: _set_field,
}
_NICIRA: dict[int, Callable[[bytes], act.Action]] = {
    6: _move,
    7: _load,
    14: _resubmit,
    15: _output_to,
    35: _ct,
    43: lambda _: act.CtClear(),
}


def decode_actions(data: bytes) -> tuple[act.Action, ...]:
    """The actions in order; KeyError on what we never write."""
    found: list[act.Action] = []
    offset = 0
    while offset < len(data):
        kind, length = _HEAD.unpack_from(data, offset)
        one = data[offset : offset + length]
        found.append(_NICIRA[int.from_bytes(one[_SUBTYPE], "big")](one) if kind == _EXPERIMENTER else _BASIC[kind](one))
        offset += length
    return tuple(found)
