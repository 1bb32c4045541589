"""Flows of one form: declared once, encoded once, and then written by filling in what differs.

A thousand ports have flows of the same fields and actions, in which some bytes differ: a port number, an address, a
MAC.  A function under :func:`template` declares such a flow from its arguments and says what it is, no more::

    @template
    def sends(ofport: int, address: int) -> Declaration:
        return Declaration(SPOOF, 10, (match(IN_PORT, ofport), match(IPV4_SRC, address)), [Resubmit(EGRESS_TRACK)])

At the first call it is run with a :class:`Slot` for every positional argument, and what it declares is encoded with
holes where the slots are.  That call and every later one fill the holes.  What it takes by keyword is its form: for
each distinct one it is run anew, so there it may choose and compute.  With a slot it can do nothing but put it into a
match, a ``Load``, a ``SetField``, an ``Output`` or in the place of the meter; everything else raises TypeError, at the
first call.

``sends.plainly(...)`` makes the same flow without any of this, which is what the tests compare with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Generic, NamedTuple, ParamSpec

from flowrules.actions import Action, Load, Output, SetField
from flowrules.encode_actions import encode_actions
from flowrules.flow import COOKIE_BYTES, PLACE_BYTES, TAG, Flow, content_head, flow, meter_instruction
from flowrules.meters import Meter
from flowrules.oxm import Match, Slot, encode_match, entries, half_headers

_P = ParamSpec("_P")
_FORMS = 1024
"""Forms of one declaration that are kept encoded."""


class Declaration(NamedTuple):
    """What :func:`flowrules.flow.flow` takes."""

    table: int
    priority: int
    matches: Iterable[Match]
    actions: Iterable[Action]
    meter: Meter | None = None


class _Hole(NamedTuple):
    """The value of one slot, in so many bytes, big-endian."""

    place: int
    width: int


_Piece = bytes | _Hole


class _Form:
    """One encoded declaration."""

    def __init__(self, declared: Declaration, slots: int) -> None:
        self._derived: list[Callable[[tuple[Any, ...]], int]] = []  # values that follow from others; behind those
        self._slots = slots
        matches = self._matches(declared.matches)
        actions = [piece for action in declared.actions for piece in _action(action)]
        place = self._meter_place = _place(declared.meter)
        self._meter = declared.meter if place is None else None
        below: list[_Piece] = [meter_instruction(self._meter)]
        if place is not None:
            below = [meter_instruction(Meter(0, 0, 0))[:-4], self._derive(lambda values: values[place].id, 4)]
        size = _size(matches)
        head = content_head(declared.table, declared.priority, size)
        self._place = head[:PLACE_BYTES]
        self._match = slice(len(head), len(head) + size)
        self._act = len(head) + size + _size(below)
        self._actions = b"".join(piece for piece in actions if isinstance(piece, bytes))
        self._same_actions = not any(isinstance(piece, _Hole) for piece in actions)
        pieces = [head, *matches, *below, *actions]
        self._holes = [(piece.place, piece.width) for piece in pieces if isinstance(piece, _Hole)]
        self._pattern = b"".join(b"%b" if isinstance(piece, _Hole) else piece.replace(b"%", b"%%") for piece in pieces)

    def fill(self, values: tuple[Any, ...]) -> Flow:
        """The flow of these values, one for each slot."""
        if self._derived:
            values = (*values, *[derive(values) for derive in self._derived])
        content = self._pattern % tuple([values[place].to_bytes(width, "big") for place, width in self._holes])
        return Flow(
            self._place + content[self._match],
            self._actions if self._same_actions else content[self._act :],
            self._meter if self._meter_place is None else values[self._meter_place],
            TAG | int.from_bytes(blake2b(content, digest_size=COOKIE_BYTES).digest(), "big"),
        )

    def _derive(self, how: Callable[[tuple[Any, ...]], int], width: int) -> _Hole:
        self._derived.append(how)
        return _Hole(self._slots + len(self._derived) - 1, width)

    def _matches(self, matches: Iterable[Match]) -> list[_Piece]:
        """The entries in their order on the wire, in those of slots a hole behind the header."""
        tests = tuple(matches)
        holes: dict[bytes, _Hole] = {}
        for one in tests:
            place = _place(one.value)
            if place is None:
                continue
            parts = half_headers(one.field)
            if parts is None:
                holes[one.field.header.to_bytes(4, "big")] = _Hole(place, one.field.bytes)
            else:
                for header, half in zip(parts, (_high, _low), strict=True):
                    holes[header] = self._derive(partial(half, place), 4)
        if len({one.name for one in tests}) != len(tests):
            raise TypeError("a form matches every field once")
        pieces: list[_Piece] = []
        for entry in entries(encode_match([_blank(one) for one in tests])):
            hole = holes.get(entry[:4])
            pieces += [entry] if hole is None else [entry[:4], hole]
        return pieces


def _place(value: object) -> int | None:
    """Which argument it is; None when it is a value."""
    return value.place if isinstance(value, Slot) else None


def _high(place: int, values: tuple[int, ...]) -> int:
    return values[place] >> 32


def _low(place: int, values: tuple[int, ...]) -> int:
    return values[place] & 0xFFFFFFFF


def _blank(test: Match) -> Match:
    return test if _place(test.value) is None else test._replace(value=0)


def _size(pieces: Iterable[_Piece]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece.width for piece in pieces)


def _action(action: Action) -> list[_Piece]:
    """One encoded action, with a hole where its value is a slot."""
    blank: Action
    if isinstance(action, Load):
        place, width, end, blank = _place(action.value), action.target.bits // 8, 24, Load(action.target, 0)
        if place is not None and action.target.bits % 8:
            raise TypeError(f"a value to come is whole bytes: {action.target}")
    elif isinstance(action, Output):
        place, width, end, blank = _place(action.port), 4, 8, Output(0)
    elif isinstance(action, SetField):
        width = action.field.bytes
        place, end, blank = _place(action.value), 8 + width, SetField(action.field, 0)
    else:
        place = None
    if place is None:
        return [encode_actions([action])]
    encoded = encode_actions([blank])
    return [encoded[: end - width], _Hole(place, width), encoded[end:]]


class Template(Generic[_P]):
    """Makes flows; called as the declaration is.

    Raises OverflowError when a value does not fit.
    """

    def __init__(self, declare: Callable[_P, Declaration]) -> None:
        self.declare: Callable[..., Declaration] = declare
        self.module = declare.__module__
        kinds = [parameter.kind for parameter in inspect.signature(declare).parameters.values()]
        self._slots = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._form: Callable[..., _Form] = lru_cache(maxsize=_FORMS)(self._encode)

    def __call__(self, *values: _P.args, **form: _P.kwargs) -> Flow:
        """The flow of these values."""
        return self._form(**form).fill(values)

    def plainly(self, *values: _P.args, **form: _P.kwargs) -> Flow:
        """The same flow, encoded by itself."""
        return flow(*self.declare(*values, **form))

    def _encode(self, **form: Any) -> _Form:
        return _Form(self.declare(*[Slot(place) for place in range(self._slots)], **form), self._slots)


def template(declare: Callable[_P, Declaration]) -> Template[_P]:
    """Make flows of one form from a declaration; see above."""
    return Template(declare)
