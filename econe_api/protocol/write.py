"""Answers as XML elements, by the output shapes of the model.

A writer per shape is made when the shape is first met and kept.  A value that the shape does not allow is a bug of the
handler and raises TypeError: nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from econe_api.protocol import scalars
from econe_api.protocol.model import output_name, service
from econe_api.protocol.xml import escape

#: Appends the content of an element, without its tags, to the pieces of a document.
Writer = Callable[[Any, list[str]], None]


_NESTED = ("list", "map", "structure")


@cache
def has_output(action: str) -> bool:
    """Tell whether the model gives an operation's answer any members."""
    shape = service().operation_model(action).output_shape
    return shape is not None and bool(shape.members)


@cache
def has_return(action: str) -> bool:
    """Tell whether an operation's answer has the member ``Return`` of type boolean."""
    return has_output(action) and _is_boolean(service().operation_model(action).output_shape.members.get("Return"))


def _is_boolean(shape: Any) -> bool:
    return shape is not None and shape.type_name == "boolean"


@cache
def output_writer(action: str) -> Writer:
    """Return the writer of an operation's answer; ``action`` must be in the model."""
    shape = service().operation_model(action).output_shape
    return _write_nothing if shape is None else _structure(shape.name)


def _write_nothing(value: Mapping[str, Any], pieces: list[str]) -> None:
    if value:
        raise TypeError(f"the model knows no output here, but there is {sorted(value)}")


@cache
def _structure(shape_name: str) -> Writer:
    members = service().shape_for(shape_name).members
    # boto 2 takes the end of a list's item for the end of what holds the list: it reads nothing that comes after.
    ordered = sorted(members, key=lambda member: (members[member].type_name in _NESTED, member != "Tags"))
    names = {member: output_name(members[member], member) for member in ordered}
    writers: dict[str, Writer] = {}  # filled as members are met, since structures may contain themselves

    def write(value: Mapping[str, Any], pieces: list[str]) -> None:
        if not value.keys() <= names.keys():
            raise TypeError(f"{shape_name} has no member {sorted(value.keys() - names.keys())}")
        for member, name in names.items():
            item = value.get(member)
            if item is None:
                continue
            writer = writers.get(member)
            if writer is None:
                writer = writers[member] = _writer(members[member])
            _element(name, item, writer, pieces)

    return write


def _element(name: str, value: Any, writer: Writer, pieces: list[str]) -> None:
    pieces.append(f"<{name}>")
    before = len(pieces)
    writer(value, pieces)
    if len(pieces) == before:
        pieces[-1] = f"<{name}/>"
    else:
        pieces.append(f"</{name}>")


def _writer(shape: Any) -> Writer:
    if shape.type_name == "structure":
        return _structure(shape.name)
    if shape.type_name == "list":
        return _list(shape.name)
    return _scalar(scalars.writer(shape))


@cache
def _list(shape_name: str) -> Writer:
    shape = service().shape_for(shape_name)
    element = _writer(shape.member)
    name = output_name(shape.member, "item")

    def write(value: Any, pieces: list[str]) -> None:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{shape_name} is a list, not {value!r}")
        for item in value:
            _element(name, item, element, pieces)

    return write


def _scalar(convert: scalars.ScalarWriter) -> Writer:
    def write(value: Any, pieces: list[str]) -> None:
        text = escape(convert(value))
        if text:
            pieces.append(text)

    return write
