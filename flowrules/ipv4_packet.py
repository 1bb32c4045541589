"""Internet packets in bytes: whole or not, and what their checksums say."""

from __future__ import annotations

_SMALLEST = 20


def internet_sum(data: bytes | bytearray) -> int:
    """The Internet checksum's sum of ``data``, 0 when a checksum that it contains is right (RFC 1071).

    The ones' complement sum of 16-bit words is the number that they make together modulo 0xffff.
    """
    return int.from_bytes(data if len(data) % 2 == 0 else bytes(data) + b"\0", "big") % 0xFFFF


def whole_packet(data: bytes) -> bytes | None:
    """The IPv4 packet at the beginning of ``data``, if it is whole and its header is sound."""
    if len(data) < _SMALLEST or data[0] >> 4 != 4:
        return None
    header, total = (data[0] & 0xF) * 4, data[2] << 8 | data[3]
    if not _SMALLEST <= header <= total <= len(data) or internet_sum(data[:header]):
        return None
    return data[:total]
