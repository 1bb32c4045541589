"""Flat parameter names (``IpPermissions.1.Groups.2.GroupId``) as a tree."""

from __future__ import annotations

from collections.abc import Mapping

from econe_api.protocol.faults import malformed, shorten

MAX_DEPTH = 32
"""More dots than any operation needs; keeps the walk over the tree off the recursion limit."""


class Node:
    """A value, or what follows the next dot of a name; never both.

    ``name`` is the whole name as far as this node, for messages.
    """

    __slots__ = ("children", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: str | None = None
        self.children: dict[str, Node] = {}


def build(parameters: Mapping[str, str]) -> Node:
    """Return the root of the tree of ``parameters``.

    Raises :class:`Ec2Error` when a name is both a value and the beginning of another name, or too deep.
    """
    root = Node("")
    for name, value in parameters.items():
        node = _descend(root, name)
        if node.children:
            raise _ambiguous(name)
        node.value = value
    return root


def _descend(root: Node, name: str) -> Node:
    segments = name.split(".", MAX_DEPTH)
    if len(segments) > MAX_DEPTH:
        raise malformed(f"The parameter {shorten(name)} is nested too deeply.")
    node = root
    for segment in segments:
        if node.value is not None:
            raise _ambiguous(node.name)
        child = node.children.get(segment)
        if child is None:
            child = node.children[segment] = Node(f"{node.name}.{segment}" if node.name else segment)
        node = child
    return node


def _ambiguous(name: str) -> Exception:
    return malformed(f"The parameter {shorten(name)} is there as a value and as a structure.")
