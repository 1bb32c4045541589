"""Frames: any chunking, any damage."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channel.frames import MAX_DEPTH, MAX_ITEMS, FrameError, FrameReader, pack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_chunking_gives_the_same_messages(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    stream = b"".join(pack(message) for message in messages)
    reader = FrameReader()
    assert [message for chunk in chunks_of(stream, cuts) for message in reader.feed(chunk)] == messages


@given(st.lists(MESSAGES, max_size=3))
def test_byte_by_byte_gives_the_same_messages(messages: list[dict[str, Any]]) -> None:
    stream = b"".join(pack(message) for message in messages)
    reader = FrameReader()
    got = [message for at in range(len(stream)) for message in reader.feed(stream[at : at + 1])]
    assert got == messages


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_frame_is_read_or_refused_and_nothing_else(
    message: dict[str, Any], damage: list[tuple[int, int]]
) -> None:
    frame = bytearray(pack(message))
    for position, value in damage:
        frame[position % len(frame)] = value
    reader = FrameReader(limit=4096)
    try:
        got = reader.feed(bytes(frame))
    except FrameError as error:
        assert "\n" not in str(error)
        with pytest.raises(FrameError):
            reader.feed(b"")
    else:
        assert all(isinstance(one, dict) for one in got)


@given(st.binary(max_size=200))
@example(b"\x81\xa1a" + b"\xdd\xff\xff\xff\xff" * 40)
@example(b"\x81\xa1a" + b"\xdf\xff\xff\xff\xff" * 40)
@example(b"\x81\xa1a\xc7\x00\x05")
@example(b"\x81\xa1a\xc7\x00\xff")
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        (got,) = FrameReader().feed(framed(body))
    except FrameError:
        return
    assert FrameReader().feed(pack(got))


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"v": value}


def test_depth_is_bounded() -> None:
    assert FrameReader().feed(pack(nested(MAX_DEPTH))) == [nested(MAX_DEPTH)]
    with pytest.raises(FrameError, match="nested deeper"):
        FrameReader().feed(pack(nested(MAX_DEPTH + 1)))
    with pytest.raises(FrameError):
        FrameReader().feed(framed(b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01"))


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "not valid msgpack"),
        (msgpack.packb([1]), "a list where a map belongs"),
        (msgpack.packb(None), "a NoneType where a map belongs"),
        (msgpack.packb({"a": {1: 2}}), "not valid msgpack"),
        (msgpack.packb({b"a": 1}), "key that is not a string"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"xy")}), "not valid msgpack"),
        (b"\x81\xa1a\xc7\x00\x05", "extension type"),
        (msgpack.packb({"a": msgpack.Timestamp(1)}), "not valid msgpack"),
        (msgpack.packb({"a": 1}) + b"\x01", "extra data"),
        (msgpack.packb({"a": "text"})[:-1], "No more data"),
        (b"\x81\xa1a\xa1\xff", "utf-8"),
        (b"\xc1", "not valid msgpack"),
    ],
)
def test_what_a_frame_may_not_hold(body: bytes, cause: str) -> None:
    with pytest.raises(FrameError, match=cause):
        FrameReader().feed(framed(body))


def test_an_oversize_frame_is_refused_by_its_prefix_alone() -> None:
    reader = FrameReader(limit=100)
    with pytest.raises(FrameError, match="101 bytes is over the limit of 100"):
        reader.feed(struct.pack(">I", 101))


def test_a_frame_of_exactly_the_limit_passes() -> None:
    frame = pack({"a": "x" * 50})
    assert FrameReader(limit=len(frame) - 4).feed(frame) == [{"a": "x" * 50}]


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa1a" + b"\xdd\x00\xff\xff\xff" * 200 + b"\x00" * 500_000,
        b"\x81\xa1a\xdd" + struct.pack(">I", 2_000_000) + b"\x80" * 2_000_000,
        b"\x81\xa1a\xdc\x00\x20" + (b"\xdc\xff\xff" + b"\x80" * 65_535) * 32,
    ],
    ids=["claims without bytes", "one huge list", "many lists of empty maps"],
)
def test_a_frame_cannot_make_memory_grow(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            FrameReader().feed(framed(body))
        assert tracemalloc.get_traced_memory()[1] < 10 * len(body) + MAX_ITEMS * 150
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("message", [{"a": object()}, {"a": 2**64}, {"a": "\ud800"}])
def test_what_cannot_be_packed_is_a_frame_error(message: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="cannot be packed"):
        pack(message)


def test_a_message_over_the_limit_cannot_be_packed() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        pack({"a": b"\0" * (16 * 1024 * 1024)})
