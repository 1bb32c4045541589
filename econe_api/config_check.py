"""Finds every mistake of a configuration file at once, with its line.

The services stop at the first mistake.  Here what is wrong is noted, taken out and the rest read again, until nothing
is left to complain of: the same rules, with no second reader that could disagree.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econe_api.config import ConfigError, document_of, parse

_FILLINGS = ("filling-", 1, "ami-")
"""What a value may be that must be there: any text, a number, an image's id."""
_STEP = re.compile(r"([^.\[\]]+)(?:\[(\d+)\])?")
_SYNTAX = re.compile(r"\(at line (\d+), column \d+\)")
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_STRINGS_AND_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')
_FENCE = re.compile(r'"""|' + "'''")


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong: ``text`` names key and mend; ``line`` counts from 1, None when no line can be named."""

    line: int | None
    text: str


def mistakes(text: str, origin: str, base: Path) -> list[Mistake]:
    """Return what is wrong with the TOML ``text``, by line; ``origin`` and ``base`` as ``config.parse`` has them."""
    try:
        document = document_of(text, origin)
    except ConfigError as error:
        place = _SYNTAX.search(str(error))
        return [Mistake(int(place[1]) if place else len(text.splitlines()), _without(origin, error))]
    lines = key_lines(text)
    found = [Mistake(_line(lines, key), _without(origin, error)) for key, error in _all(document, origin, base)]
    return sorted(found, key=lambda mistake: mistake.line or 0)


def _without(origin: str, error: ConfigError) -> str:
    return str(error).removeprefix(f"{origin}: ")


def _all(document: Mapping[str, Any], origin: str, base: Path) -> Iterator[tuple[str, ConfigError]]:
    rest = _Remainder(document)
    while True:
        try:
            parse(rest.document, origin, base)
            return
        except ConfigError as error:
            key = rest.original(error.key)
            if key not in rest.removed:  # else it is missing only because it was wrong
                yield key, ConfigError(str(error).replace(error.key, key, 1), key)
            rest.remove(error.key)


class _Remainder:
    """A document from which the mistakes found so far have been taken; positions in arrays are remembered.

    What a table must have is filled in where it is missing, so that the rest of the table is looked at too.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document: dict[str, Any] = copy.deepcopy(dict(document))
        self.removed: set[str] = set()
        self._fillings: Counter[str] = Counter()
        self._positions = {
            name: list(range(1, len(value) + 1)) for name, value in document.items() if isinstance(value, list)
        }

    def original(self, key: str) -> str:
        """Return ``key`` with the position that its table had in the file."""
        name, position = _STEP.match(key).groups()  # type: ignore[union-attr]
        if position is None:
            return key
        return key.replace(f"[{position}]", f"[{self._positions[name][int(position) - 1]}]", 1)

    def remove(self, key: str) -> None:
        """Take ``key`` out, or fill it in when it is missing; the table goes when no filling does."""
        known = self.original(key)
        self.removed.add(known)
        steps = [(match[1], match[2]) for match in _STEP.finditer(key)]
        holder: Any = self.document
        for depth, (name, position) in enumerate(steps):
            last = depth == len(steps) - 1
            if last and name in holder and not self._fillings[known]:
                del holder[name]
                return
            if last and self._fillings[known] < len(_FILLINGS):
                filling = _FILLINGS[self._fillings[known]]
                self._fillings[known] += 1
                holder[name] = f"{filling}{len(self.removed)}" if isinstance(filling, str) else filling
                return
            if last or name not in holder:
                break
            holder = holder[name][int(position) - 1] if position else holder[name]
        self._drop_table(*steps[0])

    def _drop_table(self, name: str, position: str | None) -> None:
        if position is None:
            del self.document[name]
            return
        del self.document[name][int(position) - 1]
        del self._positions[name][int(position) - 1]


def _line(lines: Mapping[str, int], key: str) -> int | None:
    """Return the line of ``key``, or of the nearest table around it."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None


def key_lines(text: str) -> dict[str, int]:
    """Return the line, from 1, of every key and table that begins one; keys as in :attr:`ConfigError.key`.

    For TOML that has been read without an error: what is no key there is not looked at twice.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    fence = ""  # the quotes of the string that runs over lines
    depth = 0  # of brackets that are open at the line's beginning
    for number, line in enumerate(text.splitlines(), start=1):
        value = line
        if not fence and not depth:
            header, key = _HEADER.match(line), _KEY.match(line)
            if header:
                table = _plain(header[2])
                if header[1] == "[[":
                    counts[table] = counts.get(table, 0) + 1
                    table = f"{table}[{counts[table]}]"
                lines.setdefault(table, number)
                continue
            if key:
                name = _plain(key[1])
                lines[f"{table}.{name}" if table else name] = number
                value = line[key.end() :]
        fence, depth = _open_at_end(value, fence, depth)
    return lines


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _open_at_end(line: str, fence: str, depth: int) -> tuple[str, int]:
    while True:
        if fence:
            _inside, end, line = line.partition(fence)
            if not end:
                return fence, depth
            fence = ""
        opening = _FENCE.search(line)
        code = line[: opening.start()] if opening else line
        bare = _STRINGS_AND_COMMENTS.sub("", code)
        depth += bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}")
        if not opening:
            return "", depth
        fence, line = opening[0], line[opening.end() :]
