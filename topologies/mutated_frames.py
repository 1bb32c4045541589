"""Frames that nobody in their right mind would send: sound ones with something wrong, by seed.

Works on bytes alone, so that what comes out need not be anything that a packet library could build.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random

_SHORTEST, _LONGEST = 14, 1500
_ODD_TYPES = (
    0x0000,
    0x05DC,
    0x0600,
    0x0800,
    0x0806,
    0x8035,
    0x8100,
    0x86DD,
    0x8847,
    0x8863,
    0x88A8,
    0x88CC,
    0x88E5,
    0xFFFF,
)
_EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140, 253)  # RFC 8200, RFC 4302 and what IANA lists beside them
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"


def mutated(sound: Sequence[bytes], claims: Sequence[bytes], rng: Random, count: int) -> Iterator[bytes]:
    """``count`` frames, each a sound one with one to three things wrong.

    ``claims`` are MAC and IPv4 addresses (6 and 4 bytes) that a liar may take for its own or send to.
    """
    for _ in range(count):
        frame = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
            rng.choice(_OPERATORS)(frame, rng, claims)
        if rng.random() < 0.5:
            _right_checksum(frame)
        del frame[_LONGEST:]
        yield bytes(frame) + bytes(max(0, _SHORTEST - len(frame)))


def _flip(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    for _ in range(rng.randint(1, 8)):
        if frame:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)


def _truncate(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    del frame[rng.randrange(_SHORTEST, max(_SHORTEST + 1, len(frame))) :]


def _lengthen(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    frame += rng.randbytes(rng.choice((1, 3, 40, 700)))


def _ethertype(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    frame[12:14] = struct.pack("!H", rng.choice(_ODD_TYPES))


def _tag(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    for _ in range(rng.randint(1, 3)):
        tag = struct.pack("!HH", rng.choice((0x8100, 0x88A8, 0x9100)), rng.choice((0, 1, 101, 102, 4095, 0x2064)))
        frame[12:12] = tag


def _lie(frame: bytearray, rng: Random, claims: Sequence[bytes]) -> None:
    claim = rng.choice(claims)
    places = (0, 6, 22, 32) if len(claim) == 6 else (26, 30, 28, 38)
    at = rng.choice(places)
    if len(frame) >= at + len(claim):
        frame[at : at + len(claim)] = claim


def _length(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    at = rng.choice((16, 18, 38, 46))  # total length of IPv4, payload length of IPv6, length of UDP, offset of TCP
    if len(frame) >= at + 2:
        frame[at : at + 2] = struct.pack("!H", rng.choice((0, 1, 7, 8, 20, 28, 0x5000, 0x7FFF, 0xFFFF)))


def _header_length(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if len(frame) > 14:
        frame[14] = rng.choice((0x00, 0x40, 0x44, 0x45, 0x46, 0x4F, 0x55, 0x60, 0x6F))


def _options(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if frame[12:14] == _IPV4 and len(frame) >= 34:
        words = rng.randint(1, 10)
        kinds = (b"\x00", b"\x01", b"\x07\x04\x04", b"\x44\x04\x05", b"\x83\x07\x04", b"\x89\x07\x04", b"\x94\x04\x00")
        frame[34:34] = (rng.choice(kinds) + rng.randbytes(40))[: 4 * words]
        frame[14] = 0x45 + words
        frame[16:18] = struct.pack("!H", len(frame) - 14)


def _fragment(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if frame[12:14] == _IPV4 and len(frame) >= 34:
        field = rng.choice((0x2000, 0x2001, 0x0001, 0x0002, 0x1FFF, 0x3FFF, 0x8000, 0x6000, rng.randrange(0x10000)))
        frame[20:22] = struct.pack("!H", field)


def _protocol(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if len(frame) > 23:
        frame[23 if frame[12:14] == _IPV4 else 20] = rng.randrange(256)


def _extensions(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if frame[12:14] != _IPV6 or len(frame) < 54:
        return
    for _ in range(rng.randint(1, 6)):
        size = rng.choice((0, 0, 0, 1, 4, 255))
        body = bytes([frame[20], size]) + (rng.randbytes(6) if rng.random() < 0.5 else b"\x01\x04\0\0\0\0")
        frame[20] = rng.choice(_EXTENSIONS)
        frame[54:54] = body + rng.randbytes(8 * (size if size < 8 else 0))
    frame[18:20] = struct.pack("!H", len(frame) - 54)


def _ports(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    if len(frame) >= 38:
        frame[34:38] = struct.pack("!HH", *rng.choices((0, 7, 22, 53, 67, 68, 80, 81, 546, 547, 4789, 65535), k=2))


def _quotation(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    """An ICMP error or redirect that quotes whatever follows."""
    if frame[12:14] == _IPV4 and len(frame) >= 42:
        frame[23] = 1
        error = bytes([rng.choice((3, 4, 5, 11, 12)), rng.randrange(16), 0, 0]) + rng.randbytes(4)
        frame[34:42] = error
        frame[36:38] = struct.pack("!H", _sum(bytes(frame[34:])))


def _noise(frame: bytearray, rng: Random, _claims: Sequence[bytes]) -> None:
    at = rng.choice((14, 34, 42))
    frame[at:] = rng.randbytes(rng.choice((0, 1, 20, 60, 300)))


_Operator = Callable[[bytearray, Random, Sequence[bytes]], None]
_OPERATORS: tuple[_Operator, ...] = (
    *(_flip, _truncate, _lengthen, _ethertype, _tag, _lie, _lie, _length, _header_length, _options, _fragment),
    *(_protocol, _extensions, _ports, _quotation, _noise),
)


def _right_checksum(frame: bytearray) -> None:
    """Of the IPv4 header, so that more than the first check is met."""
    size = (frame[14] & 0x0F) * 4 if len(frame) > 14 else 0
    if frame[12:14] == _IPV4 and size >= 20 and len(frame) >= 14 + size:
        frame[24:26] = bytes(2)
        frame[24:26] = struct.pack("!H", _sum(bytes(frame[14 : 14 + size])))


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
