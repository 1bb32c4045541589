"""A flow that was filled in is the flow encoded by itself, for every declaration there is and any values."""

import struct
from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrules import (
    compile_group,
    compile_host,
    compile_icmp,
    compile_ipv6,
    compile_metadata,
    compile_port,
    compile_share,
    fields,
)
from flowrules.actions import Load, Output, Resubmit, SetField
from flowrules.encode import flow_add
from flowrules.flow import match
from flowrules.intent import Direction
from flowrules.meters import Meter
from flowrules.template import Declaration, Template, template

MODULES = (
    compile_group,
    compile_host,
    compile_icmp,
    compile_ipv6,
    compile_metadata,
    compile_port,
    compile_share,
)
TEMPLATES = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": value
    for module in MODULES
    for name, value in sorted(vars(module).items())
    if isinstance(value, Template) and value.module == module.__name__
}


def numbers(bits):
    """All of that width; often the ends, and bytes that mean something to a formatter."""
    percents = int.from_bytes(b"%b%(" * 4, "big") >> (128 - bits)
    return st.integers(0, 2**bits - 1) | st.sampled_from([0, 2**bits - 1, percents])


VALUES = {
    "ofport": numbers(32),
    "fabric": numbers(32),
    "owner": numbers(16),
    "tag": numbers(16),
    "vpc": numbers(64),
    "vni": numbers(64),
    "remote": numbers(64),
    "peer": numbers(32),
    "public": numbers(32),
    "private": numbers(32),
    "named": numbers(32),
    "mac": numbers(48),
    "own": numbers(48),
    "gateway": numbers(48),
    "meter": st.builds(Meter, numbers(32), st.integers(1, 9), st.integers(1, 9)),
    "groups": st.lists(st.integers(1, 2**32 - 1), max_size=4).map(tuple),
    "direction": st.sampled_from(Direction),
}


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60)
@given(st.data())
def test_filled_in_or_plain_it_is_the_same_flow(name, data):
    maker = TEMPLATES[name]
    version = data.draw(st.sampled_from([4, 6]))
    expected = signature(maker.declare).parameters
    of_ipv6 = version == 6 if "version" in expected else name == "compile_ipv6.answer_solicitation"
    known = {**VALUES, "version": st.just(version), "address": numbers(128 if of_ipv6 else 32)}
    drawn = {key: data.draw(known[key]) for key in expected}
    form = {key: value for key, value in drawn.items() if expected[key].kind is expected[key].KEYWORD_ONLY}
    values = [value for key, value in drawn.items() if key not in form]
    filled, plain = maker(*values, **form), maker.plainly(*values, **form)
    assert filled == plain
    assert flow_add(filled) == flow_add(plain)


def test_the_declarations_of_all_fragments_that_come_in_thousands_are_found():
    assert len(TEMPLATES) >= 20


@pytest.mark.parametrize(
    "declare",
    [
        lambda value: Declaration(1, 1, [match(fields.REG0, value + 1)], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, 1 | value)], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, 1 if value else 2)], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, 1 if value == 7 else 2)], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, {7: 1}.get(value, 2))], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, value, 0xFF)], []),
        lambda value: Declaration(1, 1, [match(fields.VERDICT, value)], []),
        lambda value: Declaration(1, 1, [match(fields.SOURCE_ZONE, value)], []),
        lambda value: Declaration(1, 1, [match(fields.REG0, value), match(fields.REG0, value)], []),
        lambda value: Declaration(1, 1, [], [Load(fields.VERDICT, value)]),
        lambda value: Declaration(1, 1, [], [Resubmit(value)]),
        lambda value: Declaration(value, 1, [], []),
    ],
)
def test_a_declaration_that_does_more_than_place_its_values_is_refused(declare):
    with pytest.raises((TypeError, AttributeError, struct.error)):
        template(declare)(7)


@pytest.mark.parametrize("value", [-1, 2**64])
@pytest.mark.parametrize(
    "declare",
    [
        lambda value: Declaration(1, 1, [match(fields.REG0, value)], []),
        lambda value: Declaration(1, 1, [match(fields.REMOTE_SET, value)], []),
        lambda value: Declaration(1, 1, [], [Load(fields.SOURCE_PORT, value)]),
        lambda value: Declaration(1, 1, [], [Output(value)]),
        lambda value: Declaration(1, 1, [], [SetField(fields.IPV4_SRC, value)]),
    ],
)
def test_a_value_that_does_not_fit_is_refused(declare, value):
    with pytest.raises(OverflowError):
        template(declare)(value)


def test_actions_without_a_value_to_come_are_one_object_for_all():
    @template
    def sends(ofport: int) -> Declaration:
        return Declaration(10, 10, [match(fields.IN_PORT, ofport)], [Resubmit(15)])

    assert sends(1).action_bytes is sends(2).action_bytes


def test_a_form_is_encoded_once_for_each_value_of_its_keywords():
    asked = []

    @template
    def asks(ofport: int, *, groups: tuple[int, ...]) -> Declaration:
        asked.append(groups)
        return Declaration(10, 10, [match(fields.IN_PORT, ofport)], [Load(fields.GROUP, one) for one in groups])

    for number in range(5):
        assert asks(number, groups=(1, 2)).actions == (Load(fields.GROUP, 1), Load(fields.GROUP, 2))
        assert asks(number, groups=(3,)).actions == (Load(fields.GROUP, 3),)
    assert asked == [(1, 2), (3,)]
