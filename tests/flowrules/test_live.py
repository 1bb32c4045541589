"""Every single change of a live table is named as what it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import document
from flowrules.compiler import compile_intent
from flowrules.decode import DecodeError
from flowrules.fields import REG0
from flowrules.flow import OWNER_TAG, flow
from flowrules.live import Change, LiveFlow, as_live, compare, decode_live_flows, field_values, live_text
from flowrules.oxm import canonical
from flowrules.text import match_text

FLOWS = {flow.key: flow for intent in document.example() for flow in compile_intent(intent)}
LIVE = [as_live(flow) for flow in FLOWS.values()]
numbers = st.integers(0, len(LIVE) - 1)
DROP = b""
FOREIGN = 0xBAD


def test_an_unchanged_table_in_any_order_has_no_differences():
    assert compare(FLOWS, LIVE) == []
    assert compare(FLOWS, reversed(LIVE)) == []


@given(numbers, st.randoms(use_true_random=False))
def test_the_order_of_match_fields_is_no_difference(number, rng):
    entries = list(canonical(LIVE[number].match_bytes))
    rng.shuffle(entries)
    table = [*LIVE]
    table[number] = LIVE[number]._replace(match_bytes=b"".join(entries))
    assert compare(FLOWS, table) == []


@given(numbers)
def test_a_deleted_flow_is_missing(number):
    found = compare(FLOWS, LIVE[:number] + LIVE[number + 1 :])
    assert [(one.change, one.wanted) for one in found] == [(Change.MISSING, list(FLOWS.values())[number])]


@given(
    numbers,
    st.sampled_from(["actions", "cookie", "timeouts", "flags"]),
    st.integers(1, 0xFFFF),
)
def test_an_altered_flow_is_named_with_what_was_altered(number, part, value):
    old = LIVE[number]
    other = LIVE[(number + 1) % len(LIVE)].instructions if not old.instructions else DROP
    new = {
        "actions": old._replace(instructions=other or bytes.fromhex("0004001800000000000000100000000100000000")),
        "cookie": old._replace(cookie=value),
        "timeouts": old._replace(idle=value),
        "flags": old._replace(flags=value),
    }[part]
    found = compare(FLOWS, [*LIVE[:number], new, *LIVE[number + 1 :]])
    assert [(one.change, one.live, one.parts) for one in found] == [(Change.ALTERED, new, (part,))]


@given(numbers, st.integers(0, 63))
def test_any_bit_of_the_actions_counts(number, bit):
    old = LIVE[number]
    if len(old.instructions) > 8:
        spoilt = bytearray(old.instructions)
        spoilt[8 + bit // 8] ^= 1 << bit % 8
        table = [*LIVE[:number], old._replace(instructions=bytes(spoilt)), *LIVE[number + 1 :]]
        assert [one.change for one in compare(FLOWS, table)] == [Change.ALTERED]


@given(numbers, st.booleans())
def test_one_more_flow_is_extra_with_our_tag_and_foreign_without(number, ours):
    more = LIVE[number]._replace(priority=LIVE[number].priority + 1)
    more = more if ours else more._replace(cookie=FOREIGN)
    (found,) = compare(FLOWS, [*LIVE, more])
    assert (found.change, found.live) == (Change.EXTRA if ours else Change.FOREIGN, more)
    assert (more.cookie >> 48 == OWNER_TAG) is ours


@given(st.sets(numbers, max_size=8), st.sets(numbers, max_size=8))
def test_many_changes_at_once_are_counted_one_by_one(gone, doubled):
    table = [flow for number, flow in enumerate(LIVE) if number not in gone]
    table += [LIVE[number]._replace(priority=9999) for number in doubled]
    kinds = [one.change for one in compare(FLOWS, table)]
    assert (kinds.count(Change.MISSING), kinds.count(Change.EXTRA)) == (len(gone), len(doubled))
    assert len(kinds) == len(gone) + len(doubled)


def test_a_new_action_of_a_desired_flow_makes_the_old_one_altered():
    old = next(flow for flow in FLOWS.values() if flow.actions)
    desired = {**FLOWS, old.key: flow(old.table, old.priority, old.matches, (), old.meter)}
    assert [one.change for one in compare(desired, LIVE)] == [Change.ALTERED]


@pytest.mark.parametrize("flow", FLOWS.values(), ids=lambda flow: f"{flow.table}-{flow.cookie & 0xFFFF:x}")
def test_a_live_flow_is_named_in_the_words_of_its_match(flow):
    assert live_text(as_live(flow)) == f"priority {flow.priority}, {match_text(flow.matches) or 'everything'}"


def test_fields_that_nobody_knows_are_named_by_their_bytes():
    assert live_text(LiveFlow(3, 1, 0, bytes.fromhex("80002c0106"), b"", 0, 0, 0)) == "priority 1, oxm:80002c0106"


def test_exact_values_are_found():
    assert {value for flow in LIVE for value in field_values(flow.match_bytes, REG0)} == {3}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_statistics_are_refused_or_read(body):
    try:
        decode_live_flows(body)
    except DecodeError as error:
        assert "flow entry" in str(error)
