"""A flow keeps bytes; its tests and actions, read back from them, are those that it was made of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrules import document, fields
from flowrules.actions import Ct, Load, Output, OutputInPort, SetField, ToController
from flowrules.compiler import compile_intent
from flowrules.encode_actions import encode_actions
from flowrules.flow import flow, match
from flowrules.oxm import decode_match, encode_match

FLOWS = [flow for intent in document.example() for flow in compile_intent(intent)]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_flow_is_made_again_from_what_is_read(data, random_flows):
    one = data.draw(random_flows)
    assert flow(one.table, one.priority, one.matches, one.actions, one.meter) == one


@pytest.mark.parametrize("one", FLOWS, ids=lambda one: f"{one.table}-{one.cookie & 0xFFFF:x}")
def test_every_flow_of_the_pipeline_is_made_again_from_what_is_read(one):
    assert flow(one.table, one.priority, one.matches, one.actions, one.meter) == one
    assert encode_match(one.matches) == one.match_bytes
    assert encode_actions(one.actions) == one.action_bytes


def test_what_is_read_is_what_was_written():
    tests = [match(fields.XREG4, 0xA0000000B), match(fields.VERDICT, 1), match(fields.IPV4_SRC, 0x0A000000, 0xFF000000)]
    actions = [
        *(Load(fields.XREG4.whole, 7 << 40), SetField(fields.ETH_DST, 5), Ct(fields.SOURCE_ZONE, table=18)),
        *(Ct(fields.SOURCE_ZONE, commit=True, mark=Load(fields.BLOCKED, 1)), Output(3), OutputInPort(), ToController()),
    ]
    made = flow(22, 0x1234, tests, actions)
    assert (made.table, made.priority) == (22, 0x1234)
    assert made.matches == tuple(sorted(tests))
    assert made.actions == tuple(actions)


def test_half_of_a_wide_register_is_read_as_what_it_is():
    for mask in (0xFFFFFFFF << 32, 0xFFFFFFFF, 0xFF << 28):
        test = match(fields.XREG4, mask & 0x123456789ABCDEF0, mask)
        assert decode_match(encode_match([test])) == (test,)


def test_a_field_that_is_not_ours_is_refused():
    with pytest.raises(ValueError, match="no field of ours"):
        decode_match(bytes.fromhex("80003a0400000001"))
