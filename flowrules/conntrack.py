"""Sets the mark of one connection from outside, as an OpenFlow packet-out.

The packet-out carries a packet of the connection's original direction through ``ct(commit, exec(mark))`` and nowhere
else.  The packet is made so that the tracker finds the connection by it and learns nothing from it: a TCP segment
without any flag is invalid whatever its sequence number, so that state, windows and timeout stay what they are, and the
mark is set nevertheless.  Other protocols have no state that it could disturb.
"""

from __future__ import annotations

from struct import Struct, pack, unpack

from flowrules.actions import Action, Ct, Load
from flowrules.encode import VERSION
from flowrules.encode_actions import encode_actions
from flowrules.fields import BLOCKED, SOURCE_PORT, SOURCE_ZONE, EtherType, IpProtocol
from flowrules.judge import Connection

_PACKET_OUT_TYPE = 13
_PACKET_OUT = Struct("!BBHIIIH6x")
_NO_BUFFER = 0xFFFFFFFF
_FROM_CONTROLLER = 0xFFFFFFFD
_ETHERNET = Struct("!6s6sH")
_NOBODY = b"\x02\0\0\0\0\0"
_IPV4 = Struct("!BBHHHBBHII")
_IPV6 = Struct("!IHBB16s16s")
_TTL = 64


def set_blocked(connection: Connection, zone: int, value: int, xid: int = 0) -> bytes:
    """``OFPT_PACKET_OUT`` that gives the connection's mark in conntrack ``zone`` the bit ``value`` (1 = blocked)."""
    mark = Ct(zone=SOURCE_ZONE, commit=True, mark=Load(BLOCKED, value))
    chain: tuple[Action, ...] = (Load(SOURCE_PORT, zone), mark)
    actions, frame = encode_actions(chain), packet_of(connection)
    length = _PACKET_OUT.size + len(actions) + len(frame)
    head = _PACKET_OUT.pack(VERSION, _PACKET_OUT_TYPE, length, xid, _NO_BUFFER, _FROM_CONTROLLER, len(actions))
    return head + actions + frame


def packet_of(connection: Connection) -> bytes:
    """An Ethernet frame of the connection's original direction, with right checksums."""
    payload = _payload(connection)
    if connection.version == 6:
        fixed = _IPV6.pack(6 << 28, len(payload), connection.protocol, _TTL, *_addresses(connection))
        return _ETHERNET.pack(_NOBODY, _NOBODY, EtherType.IPV6) + fixed + payload
    addresses = (connection.source, connection.destination)
    fields = (0x45, 0, _IPV4.size + len(payload), 0, 0, _TTL, connection.protocol)
    header = _IPV4.pack(*fields, _checksum(_IPV4.pack(*fields, 0, *addresses)), *addresses)
    return _ETHERNET.pack(_NOBODY, _NOBODY, EtherType.IPV4) + header + payload


def _addresses(connection: Connection) -> tuple[bytes, bytes]:
    length = 4 if connection.version == 4 else 16
    return connection.source.to_bytes(length, "big"), connection.destination.to_bytes(length, "big")


def _payload(connection: Connection) -> bytes:
    ports = (connection.first, connection.second)
    if connection.protocol == IpProtocol.TCP:
        return _summed(connection, pack("!HHIIBBHHH", *ports, 0, 0, 5 << 4, 0, 0, 0, 0), 16)
    if connection.protocol == IpProtocol.UDP:
        return _summed(connection, pack("!HHHH", *ports, 8, 0), 6)
    if connection.protocol == IpProtocol.ICMP:
        message = pack("!BBHHH", *ports, 0, connection.identifier, 0)
        return _with_sum(message, 2, _checksum(message))
    if connection.protocol == IpProtocol.ICMPV6:
        return _summed(connection, pack("!BBHHH", *ports, 0, connection.identifier, 0), 2)
    return b""


def _summed(connection: Connection, segment: bytes, at: int) -> bytes:
    pseudo = b"".join(_addresses(connection)) + pack("!HH", connection.protocol, len(segment))
    # UDP writes a sum of zero as all ones (RFC 768); for TCP the two mean the same.
    return _with_sum(segment, at, _checksum(pseudo + segment) or 0xFFFF)


def _with_sum(message: bytes, at: int, total: int) -> bytes:
    return message[:at] + total.to_bytes(2, "big") + message[at + 2 :]


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
