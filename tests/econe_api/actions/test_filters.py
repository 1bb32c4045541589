"""The filter engine, pages of answers, id forms."""

from __future__ import annotations

import base64
import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import column

from econe_api.actions import identifiers, pagination
from econe_api.actions.filters import Field, Filters
from econe_api.errors import Ec2Error

_Item = dict[str, Any]
_FIELDS: dict[str, Field[_Item]] = {
    "name": Field(lambda item: (item.get("name"),), column("name")),
    "port": Field(lambda item: map(str, item.get("ports", ()))),
}


def _chosen(items: list[_Item], *filters: tuple[str, list[str]]) -> list[_Item]:
    asked = [{"Name": name, "Values": values} for name, values in filters]
    chosen: Filters[_Item] = Filters(asked, _FIELDS, tagged=True)
    return [item for item in items if chosen.matches(item, item.get("tags", {}))]


def test_and_between_filters_or_inside() -> None:
    items = [{"name": "a", "ports": [1, 2]}, {"name": "b", "ports": [2]}, {"name": "a", "ports": []}, {}]
    assert _chosen(items) == items
    assert _chosen(items, ("name", ["a", "b"])) == items[:3]
    assert _chosen(items, ("name", ["a", "b"]), ("port", ["2"])) == items[:2]
    assert _chosen(items, ("port", ["1"]), ("port", ["2"])) == items[:1]
    assert _chosen(items, ("name", ["A"])) == []


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("w*", ["w", "web", "w\nb"], ["a-web", "W"]),
        ("w?b", ["web", "w*b"], ["wb", "weeb"]),
        (r"w\*b", ["w*b"], ["web", r"w\*b"]),
        (r"w\?", ["w?"], ["wa"]),
        (r"a\\b", [r"a\b"], ["ab"]),
        (r"a\b", ["ab"], [r"a\b"]),
        ("a\\", ["a\\"], ["a"]),
        ("a.c", ["a.c"], ["abc"]),
        ("", [""], ["a"]),
        ("*", ["", "anything"], []),
    ],
)
def test_wildcards(pattern: str, matches: list[str], others: list[str]) -> None:
    items = [{"name": name} for name in matches + others]
    assert [item["name"] for item in _chosen(items, ("name", [pattern]))] == matches


def test_tags() -> None:
    items: list[_Item] = [{"tags": {"Owner": "me", "Env": "x"}}, {"tags": {"Owner": "you"}}, {}]
    assert _chosen(items, ("tag:Owner", ["m*"])) == items[:1]
    assert _chosen(items, ("tag-key", ["Owner"])) == items[:2]
    assert _chosen(items, ("tag-key", ["owner"])) == []
    assert _chosen(items, ("tag-value", ["x", "you"])) == items[:2]
    assert _chosen(items, ("tag-value", ["?"]), ("tag-key", ["Owner"])) == items[:1]
    assert _chosen(items, ("tag-value", ["Owner"])) == []


def test_database_compares_what_has_no_wildcard() -> None:
    def clauses(*values: str) -> list[str]:
        chosen = Filters([{"Name": "name", "Values": list(values)}], _FIELDS)
        return [str(clause.compile(compile_kwargs={"literal_binds": True})) for clause in chosen.clauses()]

    assert clauses("a", r"b\*") == ["name IN ('a', 'b*')"]
    assert clauses("a", "b*") == []
    assert Filters([{"Name": "port", "Values": ["1"]}], _FIELDS).clauses() == []


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ([{"Name": "colour", "Values": ["red"]}], "InvalidParameterValue", "The filter 'colour' is invalid"),
        ([{"Values": ["red"]}], "InvalidParameterValue", "The filter 'null' is invalid"),
        ([{"Name": "tag:", "Values": ["red"]}], "InvalidParameterValue", "The filter 'tag:' is invalid"),
        ([{"Name": "name", "Values": []}], "InvalidParameterValue", "at least one value"),
        ([{"Name": "name", "Values": ["x"] * 201}], "FilterLimitExceeded", "200"),
        ([{"Name": "name", "Values": ["x"] * 200}, {"Name": "port", "Values": ["1"]}], "FilterLimitExceeded", "200"),
    ],
)
def test_refused_filters(asked: list[dict[str, Any]], code: str, words: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        Filters(asked, _FIELDS, tagged=True)
    assert caught.value.code == code
    assert words in caught.value.message


@given(st.text("ab*?", max_size=6), st.lists(st.text("ab*?", max_size=6), max_size=4))
def test_wildcards_equal_those_of_the_shell(pattern: str, names: list[str]) -> None:
    items = [{"name": name} for name in names]
    assert [item["name"] for item in _chosen(items, ("name", [pattern]))] == [
        name for name in names if fnmatch.fnmatchcase(name, pattern)
    ]


@given(st.sets(st.integers(0, 1000), max_size=60), st.integers(5, 12))
def test_pages_show_everything_once(numbers: set[int], size: int) -> None:
    shown: list[int] = []
    token: str | None = ""
    while token is not None:
        params = {"MaxResults": size, "NextToken": token}
        page, token = pagination.page(list(numbers), lambda number: (number,), params, "Test")
        assert len(page) <= size
        shown += page
    assert shown == sorted(numbers)


def test_a_page_does_not_depend_on_what_went_before_it() -> None:
    first, token = pagination.page(list("abcdefgh"), lambda text: (text,), {"MaxResults": 5}, "Test")
    left = [text for text in "abcdefgh" if text not in {"a", "e"}]
    second, end = pagination.page(left, lambda text: (text,), {"NextToken": token}, "Test")
    assert (first, second, end) == (list("abcde"), list("fgh"), None)


def _forged(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!",
        "a===",
        "é",
        _forged("Test"),
        _forged(5),
        _forged(["Other", "a"]),
        _forged(["Test"]),
        _forged(["Test", None]),
        _forged(["Test", 5]),
        base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_refused_tokens(token: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        pagination.page(["a", "b"], lambda text: (text,), {"NextToken": token}, "Test")
    assert caught.value.code == "InvalidNextToken"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MaxResults": 4}, "InvalidParameterValue"),
        ({"MaxResults": 1001}, "InvalidParameterValue"),
        ({"MaxResults": 5, "Ids": ["a"]}, "InvalidParameterCombination"),
    ],
)
def test_refused_sizes(params: dict[str, Any], code: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        pagination.check(params, "Ids")
    assert caught.value.code == code
    pagination.check({"Ids": ["a"]}, "Ids")
    pagination.check({"MaxResults": 5, "Ids": []}, "Ids")


def test_id_forms() -> None:
    assert identifiers.check("sg", ["sg-01234567", "sg-0123456789abcdef0", "sg-01234567"]) == [
        "sg-01234567",
        "sg-0123456789abcdef0",
    ]
    # Clients of long ago name what cannot be there by few digits, and expect to hear that it is not there.
    assert identifiers.check("sg", ["sg-0", "sg-123abc"]) == ["sg-0", "sg-123abc"]
    for text, words in (
        ("foo", 'Invalid id: "foo" (expecting "sg-...")'),
        ("sgr-01234567", 'Invalid id: "sgr-01234567" (expecting "sg-...")'),
        ("sg-", 'Invalid id: "sg-"'),
        ("sg-0123456789abcdef01", 'Invalid id: "sg-0123456789abcdef01"'),
        ("sg-0123456G", 'Invalid id: "sg-0123456G"'),
        ("sg-01234567\n", 'Invalid id: "sg-01234567\n"'),
    ):
        with pytest.raises(Ec2Error) as caught:
            identifiers.check("sg", [text])
        assert (caught.value.code, caught.value.message) == ("InvalidGroupId.Malformed", words)
