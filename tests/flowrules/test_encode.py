"""The encoder against ovs-ofctl's own reading of the same bytes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrules import encode, fields
from flowrules.actions import Load
from flowrules.diff import as_installed, encode_delete
from flowrules.encode import FlowAdds, flow_add
from flowrules.encode_actions import encode_actions
from flowrules.flow import flow, match
from flowrules.oxm import canonical, encode_match
from flowrules.text import actions_text, flow_text, match_text

NOTHING_SHARED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def as_ofctl_prints(item):
    """The line of ofp-print for a flow-mod that adds ``item``."""
    table = f" table:{item.table}" if item.table else ""
    tests = match_text(item.matches)
    priority = "" if item.priority == 32768 else f"priority={item.priority}"
    middle = ",".join(part for part in (priority, tests) if part)
    middle = f" {middle}" if middle else ""
    return (
        f"OFPT_FLOW_MOD (OF1.3) (xid=0x5): ADD{table}{middle} cookie:{item.cookie:#x} "
        f"actions={actions_text(item.actions)}"
    )


@NOTHING_SHARED
@given(data=st.data())
def test_flow_add_is_read_by_ofctl_as_our_text(data, random_flows, ofp_print):
    item = data.draw(random_flows)
    assert ofp_print(encode.flow_add(item, xid=5)) == as_ofctl_prints(item)


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        (encode.bundle_open(5, 9), "ONFT_BUNDLE_CONTROL (OF1.3) (xid=0x9):\n bundle_id=0x5 type=OPEN_REQUEST"),
        (encode.bundle_commit(5, 9), "ONFT_BUNDLE_CONTROL (OF1.3) (xid=0x9):\n bundle_id=0x5 type=COMMIT_REQUEST"),
        (encode.bundle_discard(5, 9), "ONFT_BUNDLE_CONTROL (OF1.3) (xid=0x9):\n bundle_id=0x5 type=DISCARD_REQUEST"),
    ],
)
def test_bundle_control(message, printed, ofp_print):
    assert ofp_print(message) == printed + " flags=atomic ordered"


def test_bundle_add_wraps_the_message_under_one_xid(ofp_print):
    inner = encode.flow_add(flow(1, 7, [], []), xid=3)
    printed = ofp_print(encode.bundle_add(5, inner, 0x77))
    assert printed.splitlines() == [
        "ONFT_BUNDLE_ADD_MESSAGE (OF1.3) (xid=0x77):",
        " bundle_id=0x5 flags=atomic ordered",
        ofp_print(inner).replace("xid=0x3", "xid=0x77"),
    ]


def test_what_fills_up_a_match_is_zero():
    """OpenFlow 1.3.5, 7.2.3.1: up to a multiple of 8."""
    bare = encode.flow_add(flow(1, 1, [], []))
    for number in range(1, 4):
        tests = [match(field, 1) for field in (fields.REG0, fields.IN_PORT, fields.METADATA)[:number]]
        message, size = encode.flow_add(flow(1, 1, tests, [])), 4 + len(encode_match(tests))
        whole = -(-size // 8) * 8
        assert len(message) == len(bare) - 8 + whole
        assert message[48 : 48 + whole][size:] == bytes(whole - size)


def test_delete_strict_names_cookie_and_match(ofp_print):
    tests = encode_match([match(fields.IN_PORT, 3)])
    assert ofp_print(encode.flow_delete_strict(1, 2, 0x51CE000000000001, tests, 4)) == (
        "OFPT_FLOW_MOD (OF1.3) (xid=0x4): DEL_STRICT table:1 priority=2,in_port=3 "
        "cookie:0x51ce000000000001/0xffffffffffffffff actions=drop"
    )


def test_small_messages(ofp_print):
    assert ofp_print(encode.barrier_request(4)) == "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x4):"
    assert ofp_print(encode.flow_stats_request(3)).startswith("OFPST_FLOW request (OF1.3) (xid=0x3):")
    assert ofp_print(encode.ct_flush_zone(0xFFFE, 1)) == "NXT_CT_FLUSH_ZONE (OF1.3) (xid=0x1): zone_id=65534"


def test_empty_masks_say_nothing():
    assert encode_match([match(fields.METADATA, 0, 0), match(fields.XREG4, 0, 0xFF)]) == encode_match(
        [match(fields.XREG4, 0, 0xFF)]
    )


def test_a_value_too_wide_is_refused():
    with pytest.raises(ValueError, match="does not fit 1 bits of ct_mark"):
        encode_actions([Load(fields.BLOCKED, 2)])


@given(st.binary(max_size=60))
def test_canonical_keeps_every_byte(data):
    assert sorted(b"".join(canonical(data))) == sorted(data)


@given(st.permutations([fields.IN_PORT, fields.METADATA, fields.REG0, fields.CT_MARK, fields.ETH_SRC]))
def test_order_of_matches_does_not_matter(order):
    in_order = encode_match([match(field, 1) for field in sorted(order, key=lambda field: field.name)])
    assert encode_match([match(field, 1) for field in order]) == in_order
    shuffled = b"".join(encode_match([match(field, 1)]) for field in order)
    assert canonical(shuffled) == canonical(in_order)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bundle_on_a_real_switch_equals_add_flows_of_the_text(data, random_flows, bridges):
    slots = st.lists(random_flows, min_size=1, max_size=40, unique_by=lambda item: (item.table, item.priority))
    flows = data.draw(slots)
    ours, theirs = bridges()
    assert ours.bundle([encode.flow_add(item) for item in flows]) == []
    theirs.add_lines([flow_text(item) for item in flows])
    assert ours.lines() == theirs.lines()
    # What the switch reports is, byte for byte, what we sent.
    assert sorted(ours.dump()) == sorted(as_installed(item) for item in flows)
    assert ours.bundle([encode_delete(item) for item in ours.dump()]) == []
    assert ours.lines() == []


def test_flow_mods_are_the_same_one_by_one_in_part_or_in_turn():
    flows = [flow(1, 1, [match(fields.REG0, number)], []) for number in range(5)]
    adds = FlowAdds(flows)
    each = [flow_add(one) for one in flows]
    assert (list(adds), adds[:], [adds[place] for place in range(len(adds))]) == (each, each, each)
