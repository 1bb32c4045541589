"""Meters: what Open vSwitch reads of ours, what we read of its answers, and flows below them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import encode, fields
from flowrules.actions import ToController
from flowrules.decode import DecodeError
from flowrules.diff import as_installed, changes
from flowrules.encode import HEADER, flow_add
from flowrules.flow import flow, match
from flowrules.meters import (
    UPLINK_METER,
    Meter,
    decode_meter_config,
    meter_add,
    meter_config_request,
    meter_delete,
    meter_modify,
    ours,
    sent_by,
    sent_to,
)
from flowrules.text import flow_text

METERS = st.builds(Meter, st.integers(1, 0xFFFF0000), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def entry(meter):
    band = struct.pack("!HHII4x", 1, 16, meter.packets_per_second, meter.burst)
    return struct.pack("!HHI", 8 + len(band), 6, meter.id) + band


@given(st.integers(1, 0xFFFF))
def test_every_port_has_two_meters_of_its_own(ofport):
    numbers = {UPLINK_METER.id, sent_by(ofport).id, sent_to(ofport).id, sent_by(ofport - 1).id, sent_to(ofport - 1).id}
    assert len(numbers) == 5
    assert all(ours(number) for number in numbers)
    assert not ours(0)
    assert not ours(0x30000)


def test_ofctl_reads_them_as_meant(ofp_print):
    meter = Meter(0x10003, 100, 50)
    shown = "meter=65539 pktps burst bands=\ntype=drop rate=100 burst_size=50"
    assert ofp_print(meter_add(meter, 5)) == f"OFPT_METER_MOD (OF1.3) (xid=0x5): ADD {shown}"
    assert ofp_print(meter_modify(meter, 5)) == f"OFPT_METER_MOD (OF1.3) (xid=0x5): MOD {shown}"
    assert ofp_print(meter_delete(meter, 5)).startswith("OFPT_METER_MOD (OF1.3) (xid=0x5): DEL meter=65539")
    assert ofp_print(meter_config_request(5)) == "OFPST_METER_CONFIG request (OF1.3) (xid=0x5): meter=all"
    item = flow(9, 1, [match(fields.REG0, 3)], [ToController()], sent_by(3))
    assert ofp_print(flow_add(item, 5)).endswith("actions=meter:65539,CONTROLLER:65535")
    assert flow_text(item).endswith("actions=meter:65539,CONTROLLER:65535")


def test_a_switch_keeps_them_and_the_flows_below_them(bridges):
    bridge, _ = bridges()
    meters = [UPLINK_METER, sent_by(0xFEFF), sent_to(0xFEFF)]
    items = [flow(9, number, [], [ToController()], meter) for number, meter in enumerate(meters, 1)]
    assert len(bridge.bundle([flow_add(items[0])])) > 0, "a flow without its meter is refused"
    sent = b"".join(meter_add(meter, number) for number, meter in enumerate(meters, 1))
    _, errors = bridge.connection.ask(sent + encode.barrier_request(9), encode.MessageType.BARRIER_REPLY)
    assert errors == []
    assert bridge.bundle([flow_add(item) for item in items]) == []
    answer, _ = bridge.connection.ask(meter_config_request(7), encode.MessageType.MULTIPART_REPLY)
    assert sorted(decode_meter_config(answer[16:]), key=lambda meter: meter.id) == meters
    bridge.connection.ask(meter_delete(UPLINK_METER) + encode.barrier_request(9), encode.MessageType.BARRIER_REPLY)
    assert sorted(bridge.dump()) == sorted(as_installed(item) for item in items[1:])
    rest = b"".join(meter_delete(meter) for meter in meters[1:])
    bridge.connection.ask(rest + encode.barrier_request(9), encode.MessageType.BARRIER_REPLY)
    assert bridge.dump() == []


def test_the_meter_is_part_of_what_a_flow_is():
    bare, one, two = (flow(9, 1, [], [ToController()], meter) for meter in (None, sent_by(1), sent_by(2)))
    assert len({item.cookie for item in (bare, one, two)}) == 3
    assert changes({one.key: one}, {two.key: two}).adds == (two,)
    assert changes({one.key: one}, {bare.key: bare}).adds == (bare,)
    faster = flow(9, 1, [], [ToController()], Meter(sent_by(1).id, 7, 7))
    assert changes({one.key: one}, {faster.key: faster}).empty, "figures belong to the meter, not to the flow"


@given(st.lists(METERS, max_size=5))
def test_reads_what_was_written(meters):
    assert decode_meter_config(b"".join(map(entry, meters))) == meters


def test_a_meter_of_another_make_equals_none_of_ours():
    kilobits = struct.pack("!HHIHHII4x", 24, 1, sent_by(1).id, 1, 16, 100, 100)
    bare = struct.pack("!HHI", 8, 6, sent_by(1).id)
    assert decode_meter_config(kilobits + bare) == [Meter(sent_by(1).id, -1, 0)] * 2


@given(
    st.lists(METERS, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), max_size=4),
    st.integers(0, 80),
)
def test_mutated_bytes_are_read_or_refused(meters, changed, cut):
    body = bytearray(b"".join(map(entry, meters)))
    for position, value in changed:
        body[position % len(body)] = value
    body = bytes(body[: max(0, len(body) - cut)])
    try:
        found = decode_meter_config(body)
    except DecodeError:
        return
    assert len(found) <= len(body) // 8


@pytest.mark.parametrize("body", [b"\0\0\0\6\0\0\0\1", b"\0\7\0\6\0\0\0\1", b"\0\x18\0\6\0\0\0\1", b"\0\x08"])
def test_bad_lengths_are_refused(body):
    with pytest.raises(DecodeError):
        decode_meter_config(body)


def test_the_xid_of_a_message_is_changed_alone():
    message = encode.with_xid(meter_add(sent_by(1)), 0x01020304)
    assert message == meter_add(sent_by(1), 0x01020304)
    assert HEADER.unpack_from(message)[3] == 0x01020304
