"""Reading dumped flows: right on good bytes, DecodeError on bad ones, never a hang or another exception."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import fields
from flowrules.decode import DecodeError, InstalledFlow, decode_flow_stats
from flowrules.flow import match
from flowrules.oxm import encode_match

INSTALLED = st.builds(
    InstalledFlow,
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1).map(lambda value: encode_match([match(fields.REG0, value)])) | st.just(b""),
)


def entry(item, instructions=b""):
    """One ``struct ofp_flow_stats``."""
    match_part = struct.pack("!HH", 1, 4 + len(item.match_bytes)) + item.match_bytes
    match_part += bytes(-len(match_part) % 8)
    length = 48 + len(match_part) + len(instructions)
    head = struct.pack("!HBxIIHHHH4xQQQ", length, item.table, 1, 2, item.priority, 3, 4, 5, item.cookie, 6, 7)
    return head + match_part + instructions


@given(st.lists(st.tuples(INSTALLED, st.binary(max_size=5).map(lambda part: part * 8)), max_size=20))
def test_reads_what_was_written(items):
    body = b"".join(entry(item, instructions) for item, instructions in items)
    assert decode_flow_stats(body) == [item for item, _ in items]


@given(
    st.lists(INSTALLED, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    st.integers(0, 400),
)
def test_mutated_bytes_are_read_or_refused(items, changes, cut):
    body = bytearray(b"".join(entry(item) for item in items))
    for position, value in changes:
        body[position % len(body)] = value
    body = bytes(body[: len(body) - cut] if cut < len(body) else body)
    try:
        flows = decode_flow_stats(body)
    except DecodeError:
        return
    assert len(flows) <= len(body) // 56


@given(st.binary(max_size=300))
def test_noise_is_read_or_refused(body):
    try:
        decode_flow_stats(body)
    except DecodeError:
        return


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, struct.pack("!H", 0), "length 0,"),
        (0, struct.pack("!H", 48), "length 48,"),
        (0, struct.pack("!H", 57), "length 57,"),
        (0, struct.pack("!H", 0xFFF8), "length 65528,"),
        (48, struct.pack("!H", 0), "match type 0,"),
        (50, struct.pack("!H", 0), "match type 1, length 0"),
        (50, struct.pack("!H", 0xFFFF), "match length 65535"),
    ],
)
def test_bad_lengths_are_named(position, value, reason):
    body = bytearray(entry(InstalledFlow(1, 2, 3, b"")))
    body[position : position + 2] = value
    with pytest.raises(DecodeError, match=reason):
        decode_flow_stats(bytes(body))


def test_a_cut_entry_is_named():
    with pytest.raises(DecodeError, match="byte 56 is cut short"):
        decode_flow_stats(entry(InstalledFlow(1, 2, 3, b"")) + b"\0\x38")
