"""Permissions in canonical form."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.actions.permissions import (
    AskedRule,
    GroupReference,
    Permission,
    SourceKind,
    added,
    parse,
    ports,
    prefix,
    protocol_name,
    protocol_number,
    removed,
)
from econe_api.errors import Ec2Error


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("tcp", 6),
        ("TCP", 6),
        ("6", 6),
        ("Udp", 17),
        ("17", 17),
        ("icmp", 1),
        ("1", 1),
        ("icmpv6", 58),
        ("58", 58),
        ("-1", -1),
        ("0", 0),
        ("47", 47),
        ("255", 255),
    ],
)
def test_protocols(text: str, number: int) -> None:
    assert protocol_number(text) == number
    assert protocol_number(protocol_name(number)) == number


@pytest.mark.parametrize("text", ["all", "256", "-2", "6.0", " tcp", "tcp ", "٦", "²"])
def test_unknown_protocol(text: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        protocol_number(text)
    assert caught.value.code == "InvalidParameterValue"
    assert "Unknown protocol" in caught.value.message


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ((6, 80, 80), (80, 80)),
        ((17, 0, 65535), (0, 65535)),
        ((1, 8, 0), (8, 0)),
        ((1, 8, -1), (8, -1)),
        ((1, -1, -1), (-1, -1)),
        ((1, -1, None), (-1, -1)),
        ((58, None, None), (None, None)),
        ((58, 128, 0), (128, 0)),
        ((-1, 0, 0), (None, None)),
        ((-1, 1, 65535), (None, None)),
        ((47, 3, 4), (None, None)),
    ],
)
def test_ports(asked: tuple[int, int | None, int | None], meant: tuple[int | None, int | None]) -> None:
    assert ports(*asked) == meant


@pytest.mark.parametrize(
    "asked",
    [
        (6, None, None),
        (6, 80, None),
        (6, None, 80),
        (17, -1, -1),
        (6, 0, 65536),
        (6, 90, 80),
        (1, None, None),
        (1, 8, None),
        (1, -1, 0),
        (1, 256, 0),
        (1, -2, -1),
        (1, 8, 256),
        (1, 8, -2),
    ],
)
def test_refused_ports(asked: tuple[int, int | None, int | None]) -> None:
    with pytest.raises(Ec2Error) as caught:
        ports(*asked)
    assert caught.value.code == "InvalidParameterValue"


def test_prefix_clears_host_bits() -> None:
    assert prefix("100.68.0.18/18") == "100.68.0.0/18"
    assert prefix("2001:DB8::1/32", 6) == "2001:db8::/32"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "10.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/08",
        "10.0.0.0/-1",
        "10.0.0/8",
        "::/0",
        "010.0.0.0/8",
        "10.0.0.0/8 ",
        "0.0.0.0/0\n",
        "10.0.0.0/٨",
        "any",
    ],
)
def test_malformed_prefix(text: str | None) -> None:
    with pytest.raises(Ec2Error) as caught:
        prefix(text)
    assert caught.value.code == "InvalidParameterValue"


def test_every_source_is_a_rule() -> None:
    rules = parse(
        [
            {
                "IpProtocol": "TCP",
                "FromPort": 1,
                "ToPort": 2,
                "IpRanges": [{"CidrIp": "10.1.2.3/8", "Description": "ten"}, {"CidrIp": "0.0.0.0/0"}],
                "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
                "PrefixListIds": [{"PrefixListId": "pl-1"}],
                "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "123456789012"}],
            }
        ]
    )
    assert rules == [
        AskedRule(6, 1, 2, SourceKind.CIDR, "10.0.0.0/8", "ten"),
        AskedRule(6, 1, 2, SourceKind.CIDR, "0.0.0.0/0"),
        AskedRule(6, 1, 2, SourceKind.CIDR6, "::/0"),
        AskedRule(6, 1, 2, SourceKind.PREFIX_LIST, "pl-1"),
        AskedRule(6, 1, 2, SourceKind.GROUP, GroupReference("sg-1", None, "123456789012")),
    ]
    assert rules[-1].permission("sg-1") == Permission(6, 1, 2, SourceKind.GROUP, "sg-1")
    with pytest.raises(ValueError, match="reference"):
        rules[-1].permission()


@pytest.mark.parametrize(
    "sources",
    [
        {},
        {"IpRanges": []},
        {"IpRanges": [], "UserIdGroupPairs": []},
        {"UserIdGroupPairs": [{"UserId": "123456789012"}]},
        {"PrefixListIds": [{}]},
    ],
)
def test_a_rule_without_source_is_never_anyone(sources: dict[str, Any]) -> None:
    with pytest.raises(Ec2Error) as caught:
        parse([{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, **sources}])
    assert caught.value.code == "MissingParameter"
    assert "exactly one of: cidrIp" in caught.value.message


def test_refused_descriptions() -> None:
    for text in ("x" * 256, "tab\t", "naïve"):
        with pytest.raises(Ec2Error) as caught:
            parse([{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": text}]}])
        assert caught.value.code == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        (
            Permission(6, 80, 81, SourceKind.CIDR, "0.0.0.0/0"),
            "peer: 0.0.0.0/0, TCP, from port: 80, to port: 81, ALLOW",
        ),
        (Permission(-1, None, None, SourceKind.GROUP, "sg-1"), "peer: sg-1, ALL, ALLOW"),
        (Permission(1, 8, -1, SourceKind.CIDR, "0.0.0.0/0"), "peer: 0.0.0.0/0, ICMP, type: 8, code: -1, ALLOW"),
        (Permission(47, None, None, SourceKind.CIDR, "0.0.0.0/0"), "peer: 0.0.0.0/0, 47, ALLOW"),
    ],
)
def test_words_of_a_duplicate(permission: Permission, words: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        added(frozenset({permission}), [permission])
    assert caught.value.code == "InvalidPermission.Duplicate"
    assert caught.value.message == f'the specified rule "{words}" already exists'


# --- properties ---------------------------------------------------------------------------------------------------

_cidrs = st.builds(
    lambda address, length: f"{ipaddress.IPv4Address(address)}/{length}", st.integers(0, 7), st.integers(27, 32)
)
_protocols = st.sampled_from(["tcp", "TCP", "6", "udp", "17", "icmp", "1", "-1", "47"])


@st.composite
def _permission(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(_protocols)
    shape: dict[str, Any] = {"IpProtocol": name}
    if name in {"icmp", "1"}:
        shape |= {"FromPort": 8, "ToPort": draw(st.sampled_from([0, -1]))}
    elif name in {"-1", "47"}:
        shape |= draw(st.sampled_from([{}, {"FromPort": 0, "ToPort": 0}, {"FromPort": 1, "ToPort": 65535}]))
    else:
        first = draw(st.integers(0, 3))
        shape |= {"FromPort": first, "ToPort": draw(st.integers(first, 4))}
    return shape | {"IpRanges": [{"CidrIp": draw(_cidrs)}]}


def _meant(asked: dict[str, Any]) -> Permission:
    (rule,) = parse([asked])
    return rule.permission()


def _after(calls: Sequence[tuple[bool, dict[str, Any]]]) -> frozenset[Permission]:
    """The stored set after calls of authorise (True) and revoke, refused ones changing nothing."""
    stored: frozenset[Permission] = frozenset()
    for authorise, asked in calls:
        try:
            stored = added(stored, [_meant(asked)]) if authorise else removed(stored, [_meant(asked)])[0]
        except Ec2Error as error:
            assert error.code == "InvalidPermission.Duplicate"
    return stored


@given(_permission())
def test_canonical_form_is_a_fixed_point(asked: dict[str, Any]) -> None:
    first = _meant(asked)
    again = {"IpProtocol": protocol_name(first.protocol), "IpRanges": [{"CidrIp": first.source}]}
    if first.from_port is not None:
        again |= {"FromPort": first.from_port, "ToPort": first.to_port}
    assert _meant(again) == first


@given(st.lists(_permission(), max_size=8).flatmap(lambda calls: st.tuples(st.just(calls), st.permutations(calls))))
def test_any_order_of_authorisations_gives_one_set(calls: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    asked, shuffled = calls
    assert _after([(True, one) for one in asked]) == _after([(True, one) for one in shuffled])


@given(st.lists(st.tuples(st.booleans(), _permission()), max_size=12))
def test_the_last_call_about_a_permission_decides(calls: list[tuple[bool, dict[str, Any]]]) -> None:
    last = {_meant(asked): authorise for authorise, asked in calls}
    assert _after(calls) == {permission for permission, authorise in last.items() if authorise}


@given(st.lists(_permission(), max_size=6), st.lists(_permission(), max_size=6))
def test_revocation_tells_what_was_not_there(present: list[dict[str, Any]], asked: list[dict[str, Any]]) -> None:
    stored = frozenset(map(_meant, present))
    meant = list(map(_meant, asked))
    left, unknown = removed(stored, meant)
    assert left == stored.difference(meant)
    assert set(unknown) == set(meant).difference(stored)


@given(_permission(), _permission())
def test_one_call_may_not_say_a_thing_twice(first: dict[str, Any], second: dict[str, Any]) -> None:
    meant = [_meant(first), _meant(second)]
    if meant[0] != meant[1]:
        assert added(frozenset(), meant) == set(meant)
        return
    with pytest.raises(Ec2Error) as caught:
        added(frozenset(), meant)
    assert caught.value.code == "InvalidParameterValue"
