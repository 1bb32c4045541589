"""Reads and writes OpenNebula's template language as oned's own parser does; no code is shared with what it judges."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

Members = dict[str, str]
_SPACE = re.compile(r"[ \t\n]*")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_EQUAL = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"]|(?<=\\)")*)"')
_PLAIN = re.compile(r"[^=#\s,\[\]\"]+")


class ParseError(Exception):
    """The text is no template."""


@dataclass
class Template:
    """Attributes in order; a name may come several times."""

    items: list[tuple[str, str | Members]] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template; names come out in capitals."""
        made, at = cls(), 0
        while (at := _skip(text, at)) < len(text):
            name, at = _take(_NAME, text, at)
            _, at = _take(_EQUAL, text, at)
            if text[at : at + 1] == "[":
                members, at = _vector(text, at + 1)
                made.items.append((name.upper(), members))
            else:
                value, at = _value(text, at)
                made.items.append((name.upper(), value))
        return made

    def get(self, name: str) -> str:
        """The last plain value of a name; "" without one."""
        return next((value for key, value in reversed(self.items) if key == name and isinstance(value, str)), "")

    def vectors(self, name: str) -> list[Members]:
        """All vectors of a name."""
        return [value for key, value in self.items if key == name and isinstance(value, dict)]

    def merged(self, other: Template) -> Template:
        """Return this template, in which the other's attributes replace all of their names."""
        names = {name for name, _ in other.items}
        kept = [(name, value) for name, value in self.items if name not in names]
        return Template([*kept, *((name, dict(v) if isinstance(v, dict) else v) for name, v in other.items)])

    def xml(self) -> str:
        """The members of a TEMPLATE element, in order of their names."""
        return "".join(_element(name, value) for name, value in sorted(self.items, key=lambda item: item[0]))


def _element(name: str, value: str | Members) -> str:
    if isinstance(value, str):
        return f"<{name}><![CDATA[{value}]]></{name}>"
    return f"<{name}>{''.join(_element(key, text) for key, text in sorted(value.items()))}</{name}>"


def tag(name: str, value: object) -> str:
    """An element with plain text."""
    return f"<{name}>{escape(str(value))}</{name}>"


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _take(pattern: re.Pattern[str], text: str, at: int) -> tuple[str, int]:
    found = pattern.match(text, at)
    if found is None:
        raise ParseError(f"Parse error: syntax error at column {at}")
    return found[0], found.end()


def _value(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        return _take(_PLAIN, text, at)
    quoted, at = _take(_QUOTED, text, at)
    return quoted[1:-1].replace('\\"', '"'), at


def _vector(text: str, at: int) -> tuple[Members, int]:
    members: Members = {}
    while True:
        name, at = _take(_NAME, text, _skip(text, at))
        _, at = _take(_EQUAL, text, at)
        members[name.upper()], at = _value(text, at)
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise ParseError(f"Parse error: syntax error at column {at}")
        at += 1
