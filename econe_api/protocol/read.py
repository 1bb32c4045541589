"""Parameters of a request in the shape that botocore's client takes, by the input shapes of the model.

A reader per shape is made when the shape is first met and kept: later requests walk readers, not the model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from econe_api.protocol import scalars
from econe_api.protocol.faults import invalid_value, malformed, missing_parameter, shorten, unknown_parameter
from econe_api.protocol.model import input_name, service
from econe_api.protocol.tree import Node

#: Reads what stands below a node; raises :class:`Ec2Error` when the shape does not allow it.
Reader = Callable[[Node], Any]

_INDEX_DIGITS = 10


@cache
def input_reader(action: str) -> Reader:
    """Return the reader of an operation's parameters; ``action`` must be in the model."""
    return _structure(service().operation_model(action).input_shape.name)


@cache
def _structure(shape_name: str) -> Reader:
    shape = service().shape_for(shape_name)
    names = {input_name(member_shape, member): member for member, member_shape in shape.members.items()}
    required = [(member, input_name(shape.members[member], member)) for member in shape.required_members]
    members = shape.members
    readers: dict[str, Reader] = {}  # filled as members are met, since structures may contain themselves

    def read(node: Node) -> dict[str, Any]:
        if node.value:
            raise invalid_value(node.name, node.value, "Expecting a structure.")
        values: dict[str, Any] = {}
        for wire_name, child in node.children.items():
            member = names.get(wire_name)
            if member is None:
                raise unknown_parameter(child.name)
            member_reader = readers.get(member)
            if member_reader is None:
                member_reader = readers[member] = _reader(members[member])
            values[member] = member_reader(child)
        for member, wire_name in required:
            if member not in values:
                raise missing_parameter(f"{node.name}.{wire_name}" if node.name else wire_name)
        return values

    return read


def _reader(shape: Any) -> Reader:
    if shape.type_name == "structure":
        return _structure(shape.name)
    if shape.type_name == "list":
        return _list(shape.name)
    return _scalar(scalars.reader(shape))


@cache
def _list(shape_name: str) -> Reader:
    shape = service().shape_for(shape_name)
    element = _reader(shape.member)
    most: int | None = shape.metadata.get("max")

    def read(node: Node) -> list[Any]:
        if node.value:
            raise malformed(f"The parameter {shorten(node.name)} is a list; number its values: {shorten(node.name)}.1")
        if most is not None and len(node.children) > most:
            raise invalid_value(node.name, f"{len(node.children)} values", f"Expecting at most {most}.")
        return [element(child) for child in _in_order(node)]

    return read


def _in_order(node: Node) -> list[Node]:
    """Return a list's elements by their numbers, which may begin anywhere and have gaps."""
    numbered: dict[int, Node] = {}
    for segment, child in node.children.items():
        if not (segment.isascii() and segment.isdigit() and len(segment) <= _INDEX_DIGITS):
            raise unknown_parameter(child.name)
        if numbered.setdefault(int(segment), child) is not child:
            raise malformed(f"The parameter {shorten(child.name)} is there more than once.")
    return [numbered[index] for index in sorted(numbered)]


def _scalar(convert: scalars.ScalarReader) -> Reader:
    def read(node: Node) -> Any:
        if node.value is None:
            raise unknown_parameter(next(iter(node.children.values())).name)
        return convert(node.name, node.value)

    return read
