"""The filters of the Describe actions: AND between filters, OR between the values of one.

Values are case-sensitive; ``*`` stands for any run of characters, ``?`` for one, a backslash takes the next character
as it is ("List and filter your resources" in the EC2 user guide).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement

from econe_api.errors import Ec2Error

T = TypeVar("T")
_TagReader = Callable[[Mapping[str, str]], Iterable[str | None]]

MAX_VALUES = 200


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """What a filter looks at: ``read`` gives the item's values as text (None: it has none).

    ``column`` is a text column that holds the only value an item can have; values without wildcards are then compared
    by the database already.
    """

    read: Callable[[T], Iterable[str | None]]
    column: ColumnElement[Any] | None = None


@dataclass(frozen=True, slots=True)
class _Condition(Generic[T]):
    field: Field[T] | None
    tags: _TagReader | None
    pattern: re.Pattern[str]
    exact: tuple[str, ...] | None  # the values, when none of them has a wildcard


class Filters(Generic[T]):
    """The filters of one request."""

    def __init__(
        self,
        asked: Iterable[Mapping[str, Any]] | None,
        fields: Mapping[str, Field[T]],
        *,
        tagged: bool = False,
    ) -> None:
        """``asked``: botocore's Filters; ``fields``: by filter name; ``tagged``: tag:K, tag-key and
        tag-value (documented until 2017, and still sent) are filters too.

        Raises:
            Ec2Error: InvalidParameterValue (unknown filter, no value), FilterLimitExceeded.

        """
        self._conditions: list[_Condition[T]] = []
        count = 0
        for item in asked or ():
            name, values = item.get("Name"), [str(value) for value in item.get("Values") or ()]
            field = fields.get(name or "")
            tags = _tag_reader(name or "") if tagged else None
            if field is None and tags is None:
                raise Ec2Error("InvalidParameterValue", f"The filter '{name or 'null'}' is invalid")
            if not values:
                raise Ec2Error("InvalidParameterValue", f"The filter '{name}' must have at least one value")
            count += len(values)
            if count > MAX_VALUES:
                raise Ec2Error("FilterLimitExceeded", f"The request has more than {MAX_VALUES} filter values")
            parts = [_parts(value) for value in values]
            exact = tuple("".join(part[1] for part in value) for value in parts if all(p[0] for p in value))
            self._conditions.append(
                _Condition(
                    field,
                    tags,
                    re.compile("|".join(_expression(value) for value in parts), re.DOTALL),
                    exact if len(exact) == len(parts) else None,
                )
            )

    def clauses(self) -> list[ColumnElement[bool]]:
        """What the database can compare already; ``matches`` is still needed."""
        return [
            condition.field.column.in_(condition.exact)
            for condition in self._conditions
            if condition.field is not None and condition.field.column is not None and condition.exact is not None
        ]

    def matches(self, item: T, tags: Mapping[str, str] = MappingProxyType({})) -> bool:
        """Does the item, with its tags, pass every filter?"""
        return all(
            any(value is not None and condition.pattern.fullmatch(value) for value in _values(condition, item, tags))
            for condition in self._conditions
        )


def _values(condition: _Condition[T], item: T, tags: Mapping[str, str]) -> Iterable[str | None]:
    if condition.field is not None:
        return condition.field.read(item)
    return condition.tags(tags) if condition.tags is not None else ()


def _tag_reader(name: str) -> _TagReader | None:
    """What of an item's tags a filter looks at; None for a name that is no tag filter."""
    if name == "tag-key":
        return lambda tags: tags
    if name == "tag-value":
        return lambda tags: tags.values()
    key = name.removeprefix("tag:") if name.startswith("tag:") else ""
    return (lambda tags: (tags.get(key),)) if key else None


def _parts(value: str) -> Sequence[tuple[bool, str]]:
    """The characters of a filter value: (literal?, character)."""
    parts, escaped = [], False
    for character in value:
        if not escaped and character == "\\":
            escaped = True
            continue
        parts.append((escaped or character not in "*?", character))
        escaped = False
    return [*parts, (True, "\\")] if escaped else parts


def _expression(parts: Sequence[tuple[bool, str]]) -> str:
    wildcards = {"*": ".*", "?": "."}
    return "".join(re.escape(character) if literal else wildcards[character] for literal, character in parts)
