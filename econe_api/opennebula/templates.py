"""Writes OpenNebula's template language: ``NAME="value"`` lines, and vectors ``NAME=[KEY="value",...]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|\\\Z|]]>")

Attribute = tuple[str, str | Mapping[str, str]]


def quoted(value: str) -> str:
    r"""Return ``value`` as oned's parser reads it back: in double quotes, with ``\"`` for each of its own.

    The parser takes every other backslash for itself, so that there is no way to write one at the end
    (template_parser.l and template_syntax.y of OpenNebula).  Raises ValueError for that, for control characters other
    than tab and line feed, and for ``]]>``, which oned would put into its XML documents as it is.
    """
    if found := _UNWRITABLE.search(value):
        raise ValueError(f"a template's value cannot have {found[0]!r} there")
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def template(attributes: Iterable[Attribute]) -> str:
    """Return the text of a template; a name may come several times, as ``NIC`` does."""
    return "\n".join(_attribute(name, value) for name, value in attributes)


def _attribute(name: str, value: str | Mapping[str, str]) -> str:
    if isinstance(value, str):
        return f"{_name(name)}={quoted(value)}"
    members = ",".join(f"{_name(key)}={quoted(text)}" for key, text in value.items())
    return f"{_name(name)}=[{members}]"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of an attribute")
    return text
