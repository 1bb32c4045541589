"""What is installed on a switch, read from the answers to :func:`flowrules.encode.flow_stats_request`.

Only the fixed part of an entry and its match are read; the actions are told apart by the cookie.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

#: length, table, priority, cookie, match type and match length of one ``struct ofp_flow_stats``.
_ENTRY = Struct("!HBx8xH10xQ16xHH")
_FIXED = 48
_MATCH_OXM = 1


class DecodeError(ValueError):
    """The switch sent bytes that are no flow statistics."""


class InstalledFlow(NamedTuple):
    """One flow as a switch reports it.

    ``match_bytes`` are the OXM entries without ``ofp_match`` header and padding.  A named tuple, since a hundred
    thousand are made at every reconnect and a frozen dataclass takes three times as long.
    """

    table: int
    priority: int
    cookie: int
    match_bytes: bytes


def decode_flow_stats(body: bytes) -> list[InstalledFlow]:
    """Read the body of one ``OFPMP_FLOW`` reply (what follows the 16 bytes of multipart header).

    Raises :class:`DecodeError` when a length is zero, too small for its content, or leads past the end.
    """
    flows: list[InstalledFlow] = []
    offset, end = 0, len(body)
    unpack, size, append = _ENTRY.unpack_from, _ENTRY.size, flows.append
    while offset < end:
        if end - offset < size:
            raise DecodeError(f"flow entry at byte {offset} is cut short")
        length, table, priority, cookie, match_type, match_length = unpack(body, offset)
        # The match is padded to 8 bytes and is followed by whole instructions, all multiples of 8 as well.
        if length & 7 or length > end - offset or _FIXED + (match_length + 7 & ~7) > length:
            raise DecodeError(f"flow entry at byte {offset}: length {length}, match length {match_length}")
        if match_type != _MATCH_OXM or match_length < 4:
            raise DecodeError(f"flow entry at byte {offset}: match type {match_type}, length {match_length}")
        append(InstalledFlow(table, priority, cookie, body[offset + size : offset + _FIXED + match_length]))
        offset += length
    return flows
