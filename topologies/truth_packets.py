"""The packets of real probes: an ICMP query to send, and what an ear has heard.

A probe is told from all others by its key: source port (TCP, UDP), identifier (ICMP queries: RFC 792, RFC 4443), or a
token in the payload (protocols without ports).
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_QUERIES = {(_ICMP, 8): 0, (_ICMP, 13): 14, (_ICMPV6, 128): 129}
_ANSWERS = {(protocol, answer): query for (protocol, query), answer in _QUERIES.items()}
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet of a probe, or the ``answer`` to one; ``service`` is the port or type asked for, None = has none."""

    key: int
    protocol: int
    service: int | None
    source: str
    destination: str
    answer: bool


def echo_request(kind: int, code: int, key: int) -> bytes:
    """An ICMP or ICMPv6 query; the kernel fills in the checksum of the latter."""
    body = struct.pack("!HH", key, 1) + bytes(12 if kind == 13 else 8)
    head = struct.pack("!BBH", kind, code, 0)
    return struct.pack("!BBH", kind, code, _checksum(head + body)) + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read(frame: bytes, token: bytes) -> Heard | None:
    """What a frame is to us; None for everything that no probe of ours can be."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        length = (frame[14] & 0x0F) * 4
        protocol, source, destination, payload = frame[23], frame[26:30], frame[30:34], frame[14 + length :]
    elif kind == b"\x86\xdd" and len(frame) >= 54:
        protocol, source, destination, payload = frame[20], frame[22:38], frame[38:54], frame[54:]
    else:
        return None
    found = _service(protocol, payload, token)
    if found is None:
        return None
    key, service, answer = found
    ends = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))
    return Heard(key, protocol, service, *ends, answer)


def _service(protocol: int, payload: bytes, token: bytes) -> tuple[int, int | None, bool] | None:
    """Key, service and whether it is an answer."""
    if protocol in (_TCP, _UDP, _ICMP, _ICMPV6):
        if len(payload) < 8:
            return None
        return _of_query(protocol, payload) if protocol in (_ICMP, _ICMPV6) else _of_ports(protocol, payload, token)
    at = payload.find(token)
    return (_number(payload, at + len(token)), None, False) if at >= 0 else None


def _of_ports(protocol: int, payload: bytes, token: bytes) -> tuple[int, int, bool] | None:
    source, destination = struct.unpack_from("!HH", payload)
    if protocol == _UDP:
        if payload[8:].startswith(token):
            asked = source == _number(payload, 8 + len(token))
            return (source, destination, False) if asked else (destination, source, True)
        return None
    asked = len(payload) > 13 and payload[13] & (_SYN | _ACK) == _SYN
    return (source, destination, False) if asked else (destination, source, True)


def _of_query(protocol: int, payload: bytes) -> tuple[int, int, bool] | None:
    """An error that quotes a probe is no probe."""
    kind, key = payload[0], int.from_bytes(payload[4:6], "big")
    if (protocol, kind) in _QUERIES:
        return key, kind, False
    return (key, _ANSWERS[protocol, kind], True) if (protocol, kind) in _ANSWERS else None


def _number(payload: bytes, at: int) -> int:
    return int.from_bytes(payload[at : at + 4], "big")
