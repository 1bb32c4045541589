"""All mistakes of a configuration file at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.config import ConfigError, document_of, parse
from econe_api.config_check import Mistake, key_lines, mistakes

BASE = Path("/etc/sluice")

GOOD = [
    'region = "north-1"',
    "settle_timeout = 2",
    "ipv6 = true",
    "[api]",
    'bind = "127.0.0.1:80"',
    "threads = 4",
    "[controller]",
    "audit_interval = 5.5",
    'revoked_connections = "keep"',
    "[dhcp]",
    "dns = [",
    '  "192.0.2.1", # [first]',
    "]",
    "mtu = 1450",
    "[[hypervisor]]",
    'name = "hv1"',
    "vcpus = 1",
    "memory_mib = 1",
    "[[hypervisor]]",
    'name = "hv2"',
    "vcpus = 4",
    "memory_mib = 2048",
    "options = { x = 'y' }",
]

BREAKS = {  # line of GOOD (from 0) -> what to write there, the key that is then wrong
    0: ("region = 7", "region"),
    1: ("settle_timeout = -1", "settle_timeout"),
    2: ("ipv5 = true", "ipv5"),
    4: ('bind = "x"', "api.bind"),
    5: ("threads = 0", "api.threads"),
    7: ("audit_interval = 'often'", "controller.audit_interval"),
    8: ('revoked_connections = "perhaps"', "controller.revoked_connections"),
    13: ("mtu = 1", "dhcp.mtu"),
    15: ("# no name", "hypervisor[1].name"),
    16: ("vcpus = 0", "hypervisor[1].vcpus"),
    19: ('name = ""', "hypervisor[2].name"),
    21: ("memory_mib = true", "hypervisor[2].memory_mib"),
    22: ("options = 1", "hypervisor[2].options"),
}


def whole(broken: set[int]) -> str:
    return "\n".join(BREAKS[number][0] if number in broken else line for number, line in enumerate(GOOD))


@given(st.sets(st.sampled_from(sorted(BREAKS))))
def test_every_mistake_is_named_with_its_line(broken: set[int]) -> None:
    found = mistakes(whole(broken), "f", BASE)
    # What is missing is named at the head of its table.
    expected = [(number if number == 15 else number + 1, BREAKS[number][1]) for number in broken]
    assert sorted((mistake.line, mistake.text.split(":")[0]) for mistake in found) == sorted(expected)


@given(st.text(alphabet="[]{}=\"'\n#.,ab1 ", max_size=40))
def test_whatever_the_services_refuse_has_a_mistake_and_nothing_else_has(text: str) -> None:
    try:
        parse(document_of(text, "f"), "f", BASE)
        refused = False
    except ConfigError:
        refused = True
    assert bool(mistakes(text, "f", BASE)) == refused


def test_text_that_is_no_toml_has_the_line_where_it_ends_to_be() -> None:
    (mistake,) = mistakes('region = "a"\nipv6 = yes\n', "f", BASE)
    assert mistake.line == 2
    assert mistake.text.startswith("is not TOML (")


def test_a_missing_value_is_named_at_its_table() -> None:
    assert mistakes("[[hypervisor]]\nname = 'a'\nmemory_mib = 1\n", "f", BASE) == [
        Mistake(1, "hypervisor[1].vcpus: is missing; add vcpus with an integer")
    ]


def test_a_name_that_is_there_twice_is_named_once_at_the_second() -> None:
    host = "[[hypervisor]]\nname = 'a'\nvcpus = 1\nmemory_mib = 1\n"
    (mistake,) = mistakes(host * 2, "f", BASE)
    assert (mistake.line, mistake.text) == (6, "hypervisor[2].name: 'a' is there twice; rename one")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\n\nb.c = 2", {"a": 1, "b.c": 3}),
        ('a = """\nb = 1\n"""\nc = 2', {"a": 1, "c": 4}),
        ("a = [\n 'b = ]',\n]\nc = 2", {"a": 1, "c": 4}),
        ("[t]\n'x' = '''\n[u]\n''' # y\nz = 1", {"t": 1, "t.x": 2, "t.z": 5}),
        ("[[t]]\na = 1\n[[t]]\na = 2", {"t[1]": 1, "t[1].a": 2, "t[2]": 3, "t[2].a": 4}),
    ],
    ids=["dots", "long string", "array", "literal string", "tables"],
)
def test_lines_of_keys(text: str, expected: dict[str, int]) -> None:
    assert key_lines(text) == expected
