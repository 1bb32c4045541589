"""ICMP errors that cross an elastic IP, repaired: bytes in, bytes out.

An ICMP error quotes the beginning of the packet that it is about (RFC 792, RFC 1812 section 4.3.2.3).  The switch
rewrites the addresses of the packet but not those of the quotation, so the receiver could not tell which connection is
meant: path-MTU discovery and traceroute would not work.  Here the quoted address is rewritten as the switch would have
rewritten the quoted packet, with every checksum that covers it (RFC 1624, as RFC 5508 section 4 asks of a NAT).

The quoted checksums are changed by the difference, not computed anew: what was wrong when it was quoted stays wrong,
and most of the quoted packet is not there to be summed up.
"""

from __future__ import annotations

from flowrules.ipv4_packet import internet_sum, whole_packet

_ETHERNET = 14
_IPV4 = b"\x08\x00"
_SMALLEST_IP = 20
_ICMP_HEADER = 8
_ICMP, _TCP, _UDP = 1, 6, 17
#: Destination unreachable, time exceeded, parameter problem: the errors that still quote a packet.
ERROR_TYPES = (3, 11, 12)
#: RFC 792: at least 64 bits of what follows the quoted header are quoted too; they hold the ports.
_QUOTED_PAYLOAD = 8
_SOURCE, _DESTINATION = 12, 16
_FRAGMENT = 0x3FFF
_FRAGMENT_OFFSET = 0x1FFF
_CHECKSUM_OF = {_TCP: 16, _UDP: 6}


def repair_inbound(frame: bytes, public: int) -> bytes | None:
    """Repair an error about a packet that left by the elastic IP ``public``; None when it is no such thing.

    ``frame`` is an untagged Ethernet frame whose IP destination is the private address already: it becomes the quoted
    source as well.
    """
    return _repair(frame, _SOURCE, public, _DESTINATION)


def repair_outbound(frame: bytes, private: int) -> bytes | None:
    """Repair an error about a packet that came to ``private`` by an elastic IP; None when it is no such thing.

    ``frame`` is an untagged Ethernet frame whose IP source is the elastic IP already: it becomes the quoted
    destination as well.
    """
    return _repair(frame, _DESTINATION, private, _SOURCE)


def _repair(frame: bytes, quoted_field: int, expected: int, outer_field: int) -> bytes | None:
    """Replace the address ``expected`` at ``quoted_field`` of the quoted header by the one at ``outer_field``."""
    packet = whole_packet(frame[_ETHERNET:]) if frame[12:_ETHERNET] == _IPV4 else None
    if packet is None or _word(packet, 6) & _FRAGMENT or packet[9] != _ICMP:
        return None
    icmp_at = (packet[0] & 0xF) * 4
    icmp = packet[icmp_at:]
    if len(icmp) < _ICMP_HEADER or icmp[0] not in ERROR_TYPES or internet_sum(icmp):
        return None
    quoted = bytearray(icmp[_ICMP_HEADER:])
    old, new = expected.to_bytes(4, "big"), packet[outer_field : outer_field + 4]
    if not _is_quotation(quoted) or quoted[quoted_field : quoted_field + 4] != old:
        return None
    _readdress(quoted, quoted_field, old, new)
    head = icmp[:2] + b"\0\0" + icmp[4:_ICMP_HEADER]
    checksum = (0xFFFF - internet_sum(head + quoted)) % 0xFFFF
    repaired = head[:2] + checksum.to_bytes(2, "big") + head[4:] + quoted
    # What fills a short frame up to Ethernet's least length stays where it is.
    rest = frame[_ETHERNET + len(packet) :]
    return frame[:_ETHERNET] + packet[:icmp_at] + repaired + rest


def _is_quotation(quoted: bytes | bytearray) -> bool:
    """Does an IPv4 header with the ports behind it begin here?

    A later fragment has no ports, so nobody could tell what it belongs to.
    """
    if len(quoted) < _SMALLEST_IP + _QUOTED_PAYLOAD or quoted[0] >> 4 != 4:
        return False
    header = (quoted[0] & 0xF) * 4
    later_fragment = _word(quoted, 6) & _FRAGMENT_OFFSET
    return header >= _SMALLEST_IP and len(quoted) >= header + _QUOTED_PAYLOAD and not later_fragment


def _readdress(quoted: bytearray, field: int, old: bytes, new: bytes) -> None:
    """Write ``new`` over the address at ``field`` of a quoted packet and let its checksums follow."""
    header, protocol = (quoted[0] & 0xF) * 4, quoted[9]
    quoted[field : field + 4] = new
    _adjust(quoted, 10, old, new)
    place = header + _CHECKSUM_OF.get(protocol, len(quoted))
    if place + 2 > len(quoted):
        return  # no checksum over the addresses, or it is not quoted whole
    if protocol == _UDP:
        if _word(quoted, place) == 0:
            return  # RFC 768: the sender made none
        _adjust(quoted, place, old, new)
        if _word(quoted, place) == 0:
            quoted[place : place + 2] = b"\xff\xff"
    else:
        _adjust(quoted, place, old, new)


def _adjust(data: bytearray, place: int, old: bytes, new: bytes) -> None:
    """Change the checksum at ``place`` for data in which ``new`` has taken the place of ``old`` (RFC 1624, eqn. 3)."""
    inverse = bytes(byte ^ 0xFF for byte in old)
    total = (0xFFFF - _word(data, place)) + sum(_word(part, at) for part in (inverse, new) for at in (0, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[place : place + 2] = (0xFFFF - total).to_bytes(2, "big")


def _word(data: bytes | bytearray, at: int) -> int:
    return data[at] << 8 | data[at + 1]
