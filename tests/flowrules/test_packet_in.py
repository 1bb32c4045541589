"""Packet-ins: right on what a switch sends, DecodeError on anything else; packet-outs as ovs-ofctl reads them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import fields
from flowrules.actions import Load, Resubmit
from flowrules.decode import DecodeError
from flowrules.flow import match
from flowrules.oxm import encode_match
from flowrules.packet_in import BY_ACTION, decode_packet_in, packet_out

FRAMES = st.binary(max_size=200)
MATCHES = st.lists(
    st.sampled_from([fields.IN_PORT, fields.METADATA, fields.REG0, fields.REG1, fields.REG6]),
    unique=True,
).flatmap(lambda chosen: st.tuples(*(st.tuples(st.just(field), st.integers(0, 2**32 - 1)) for field in chosen)))


def body(values, frame, table=6, cookie=7, buffer_id=0xFFFFFFFF, total=None, masked=()):
    entries = encode_match([match(field, value) for field, value in values]) + b"".join(masked)
    part = struct.pack("!HH", 1, 4 + len(entries)) + entries
    part += bytes(-len(part) % 8)
    total = len(frame) if total is None else total
    return struct.pack("!IHBBQ", buffer_id, total, BY_ACTION, table, cookie) + part + b"\0\0" + frame


@given(MATCHES, FRAMES, st.integers(0, 255), st.integers(0, 2**64 - 1))
def test_reads_what_was_written(values, frame, table, cookie):
    packet = decode_packet_in(body(values, frame, table, cookie))
    assert (packet.table, packet.cookie, packet.reason, packet.frame) == (table, cookie, BY_ACTION, frame)
    assert {field.name: packet.get(field.whole) for field, _ in values} == {
        field.name: value for field, value in values
    }
    assert packet.in_port == dict(values).get(fields.IN_PORT, 0)


def test_part_of_a_register_and_a_masked_entry():
    packet = decode_packet_in(
        body([(fields.REG6, 2)], b"", masked=[encode_match([match(fields.REG1, 0x30, 0xF0)])]),
    )
    assert packet.get(fields.FROM_FABRIC) == 1
    assert packet.get(fields.VIA_ELASTIC_IP) == 0
    assert packet.get(fields.DESTINATION_PORT) == 0x30
    assert packet.get(fields.VPC) == 0


@given(MATCHES, FRAMES, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.integers(0, 60))
def test_mutated_bytes_are_read_or_refused(values, frame, changed, cut):
    mutated = bytearray(body(values, frame))
    for position, value in changed:
        mutated[position % len(mutated)] = value
    mutated = bytes(mutated[: max(0, len(mutated) - cut)])
    try:
        packet = decode_packet_in(mutated)
    except DecodeError:
        return
    assert mutated.endswith(packet.frame)


@given(st.binary(max_size=120))
def test_noise_is_read_or_refused(noise):
    try:
        decode_packet_in(noise)
    except DecodeError:
        return


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        body([], b"abc", total=4),
        body([], b"abc", buffer_id=1),
        body([], b"", masked=[b"\x00\x01\x00\x05\x00"]),
        body([], b"", masked=[b"\x00\x01\x01\x05" + bytes(5)]),
        body([], b"", masked=[b"\x00"]),
    ],
    ids=["nothing", "cut frame", "buffered", "entry too long", "odd mask", "cut entry"],
)
def test_what_is_not_whole_is_refused(bad):
    with pytest.raises(DecodeError):
        decode_packet_in(bad)


def test_a_packet_out_into_the_pipeline_as_ofctl_reads_it(ofp_print):
    said = ofp_print(packet_out([Load(fields.DESTINATION_PORT, 3), Resubmit(40)], bytes(60), in_port=1, xid=9))
    assert said.startswith("OFPT_PACKET_OUT (OF1.3) (xid=0x9): in_port=1 actions=load:0x3->NXM_NX_REG1[],resubmit(,40)")
    assert "data_len=60" in said


def test_a_packet_out_too_long_is_refused():
    with pytest.raises(ValueError, match="packet-out of"):
        packet_out([], bytes(65536 - 24))
    assert len(packet_out([], bytes(65535 - 24))) == 65535
