"""DHCP for one client with one address: request in, answer out, both Ethernet frames (RFC 2131, RFC 2132).

There is no lease to remember: an interface has its address as long as it lives, so the answer follows from the request
and the interface alone, and any controller gives the same.

Goals: (1) what is not sound to the last byte is nothing (None), never half understood; (2) the answer never depends on
who the packet says it is, only on the :class:`Lease` of the port that it came from; (3) a client that asks for anything
but its own address is told no, so that it begins anew and gets the right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from flowrules.addresses import ROUTER_MAC
from flowrules.ipv4_packet import internet_sum, whole_packet

SERVER_PORT, CLIENT_PORT = 67, 68
#: Where a client that knows no server sends to.
EVERYONE = 0xFFFFFFFF


class Kind(IntEnum):
    """DHCP message types (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class _Code(IntEnum):
    """DHCP options (RFC 2132)."""

    PAD = 0
    MASK = 1
    ROUTER = 3
    DNS = 6
    HOSTNAME = 12
    DOMAIN = 15
    MTU = 26
    REQUESTED = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    KIND = 53
    SERVER = 54
    LARGEST = 57
    CLIENT_ID = 61
    END = 255


_ETHERNET = Struct("!6s6sH")
_IP = Struct("!BBHHHBBHII")
_UDP = Struct("!HHHH")
_PSEUDO = Struct("!IIHH")
#: op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, cookie.
_BOOTP = Struct("!BBBBIHHIIII16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))
_IPV4, _UDP_PROTOCOL, _TTL = 0x0800, 17, 64
_FRAGMENT = 0x3FFF
_ASKS, _ANSWERS, _ETHERNET_KIND, _MAC_LENGTH = 1, 2, 1, 6
_BROADCAST_FLAG = 0x8000
_BROADCAST_MAC = b"\xff" * 6
#: What every client must be able to take, IP header included (RFC 2131 section 2), and the least that BOOTP sends.
_LARGEST, _LEAST_BOOTP = 576, 300
_CLIENTS_SAY = frozenset({Kind.DISCOVER, Kind.REQUEST, Kind.DECLINE, Kind.RELEASE, Kind.INFORM})
_LENGTHS = {_Code.REQUESTED: 4, _Code.SERVER: 4, _Code.LARGEST: 2, _Code.KIND: 1}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    ``target`` is the IP address that it sent to, ``mac`` its own.  Addresses are integers; ``ciaddr`` 0 = has none yet;
    ``requested``, ``server`` and ``client_id`` are None when the option is not there; ``largest`` is the size of an IP
    packet that it can take.
    """

    kind: Kind
    xid: int
    broadcast: bool
    ciaddr: int
    mac: int
    target: int
    requested: int | None
    server: int | None
    client_id: bytes | None
    largest: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What one interface is told; the ``gateway`` is the server as well.  ``domain`` "" = none, ``seconds`` below 2^32.

    At most 63 ``dns`` servers, and names of at most 255 bytes.
    """

    mac: int
    address: int
    prefix_length: int
    gateway: int
    mtu: int
    seconds: int
    hostname: str
    domain: str = ""
    dns: tuple[int, ...] = ()


def read_request(frame: bytes) -> Request | None:
    """Read what a client says; None when the frame is not whole, not addressed so, or not DHCP to the last byte."""
    if len(frame) < _ETHERNET.size:
        return None
    _, sender, ethertype = _ETHERNET.unpack_from(frame)
    packet = whole_packet(frame[_ETHERNET.size :]) if ethertype == _IPV4 else None
    body = _datagram(packet) if packet is not None else None
    if packet is None or body is None or len(body) < _BOOTP.size:
        return None
    op, htype, hlen, _, xid, _, flags, ciaddr, _, _, giaddr, chaddr, sname, file, cookie = _BOOTP.unpack_from(body)
    if (op, htype, hlen, giaddr, cookie) != (_ASKS, _ETHERNET_KIND, _MAC_LENGTH, 0, _COOKIE):
        return None
    options = _all_options(body[_BOOTP.size :], file, sname)
    if chaddr[:_MAC_LENGTH] != sender or options is None or not _sound(options):
        return None
    client_id = options.get(_Code.CLIENT_ID)
    return Request(
        Kind(options[_Code.KIND][0]),
        xid,
        bool(flags & _BROADCAST_FLAG),
        ciaddr,
        int.from_bytes(sender, "big"),
        int.from_bytes(packet[16:20], "big"),
        _number(options, _Code.REQUESTED),
        _number(options, _Code.SERVER),
        client_id,
        max(_LARGEST, _number(options, _Code.LARGEST) or 0),
    )


def _datagram(packet: bytes) -> bytes | None:
    """The payload of a sound UDP datagram from the client's port to the server's."""
    header = (packet[0] & 0xF) * 4
    udp = packet[header:]
    if packet[9] != _UDP_PROTOCOL or (packet[6] << 8 | packet[7]) & _FRAGMENT or len(udp) < _UDP.size:
        return None
    source, target, length, checksum = _UDP.unpack_from(udp)
    if (source, target, length) != (CLIENT_PORT, SERVER_PORT, len(udp)):
        return None
    pseudo = packet[12:20] + _UDP_PROTOCOL.to_bytes(2, "big") + length.to_bytes(2, "big")
    if checksum and internet_sum(pseudo + udp):
        return None
    return udp[_UDP.size :]


def _all_options(field: bytes, file: bytes, sname: bytes) -> dict[int, bytes] | None:
    """Options of the options field and of the fields that it says hold options too (RFC 2132 section 9.3)."""
    options = _options(field)
    if options is None:
        return None
    overload = options.pop(_Code.OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        return None
    for bit, part in ((1, file), (2, sname)):
        more = _options(part) if overload[0] & bit else {}
        if more is None:
            return None
        for code, value in more.items():
            options[code] = options.get(code, b"") + value
    return options


def _options(field: bytes) -> dict[int, bytes] | None:
    """Values by code; an option in several parts is one (RFC 3396).  None when it does not end as it should."""
    options: dict[int, bytes] = {}
    at = 0
    while at < len(field):
        code = field[at]
        if code == _Code.END:
            return options
        if code == _Code.PAD:
            at += 1
            continue
        value = field[at + 2 : at + 2 + field[at + 1]] if at + 1 < len(field) else None
        if value is None or len(value) != field[at + 1]:
            return None
        options[code] = options.get(code, b"") + value
        at += 2 + len(value)
    return None


def _sound(options: dict[int, bytes]) -> bool:
    """Has every option that matters its length, and is there a message type that clients use?"""
    if any(code in options and len(options[code]) != length for code, length in _LENGTHS.items()):
        return False
    if len(options.get(_Code.CLIENT_ID, b"ok")) not in range(2, 256):
        return False
    return _Code.KIND in options and options[_Code.KIND][0] in _CLIENTS_SAY


def _number(options: dict[int, bytes], code: _Code) -> int | None:
    return int.from_bytes(options[code], "big") if code in options else None


def answer(request: Request, lease: Lease) -> bytes | None:
    """The frame that answers ``request``; None when the server has nothing to say."""
    kind = _verdict(request, lease)
    if kind is None:
        return None
    # Who is refused must not be taken to have an address, and is not spoken to by one (RFC 2131 section 4.3.2).
    everyone = kind is Kind.NAK or (request.broadcast and not request.ciaddr)
    given = lease.address if kind is Kind.OFFER or (kind is Kind.ACK and request.kind is Kind.REQUEST) else 0
    mac = request.mac.to_bytes(6, "big")
    head = _BOOTP.pack(
        _ANSWERS,
        _ETHERNET_KIND,
        _MAC_LENGTH,
        0,
        request.xid,
        0,
        _BROADCAST_FLAG if request.broadcast else 0,
        request.ciaddr if kind is Kind.ACK else 0,
        given,
        0,
        0,
        mac,
        b"",
        b"",
        _COOKIE,
    )
    body = (head + _fitting(kind, request, lease)).ljust(_LEAST_BOOTP, b"\0")
    return _frame(_BROADCAST_MAC if everyone else mac, lease.gateway, EVERYONE if everyone else lease.address, body)


def _verdict(request: Request, lease: Lease) -> Kind | None:
    if request.mac != lease.mac or request.target not in (EVERYONE, lease.gateway):
        return None
    if request.kind is Kind.DISCOVER:
        return Kind.OFFER
    if request.kind is Kind.INFORM:
        return Kind.ACK if request.ciaddr == lease.address else None
    if request.kind is not Kind.REQUEST or request.server not in (None, lease.gateway):
        return None
    # Selecting and after a reboot it is the option, when renewing the field (RFC 2131 section 4.3.2).
    claimed = {request.requested or 0, request.ciaddr} - {0}
    if not claimed:
        return None
    return Kind.ACK if claimed == {lease.address} else Kind.NAK


def _fitting(kind: Kind, request: Request, lease: Lease) -> bytes:
    """The options, the most important first, as many as the client can take."""
    room = min(request.largest, max(_LARGEST, lease.mtu)) - _IP.size - _UDP.size - _BOOTP.size - 1
    field = b""
    for code, value in _told(kind, request, lease):
        if value and len(field) + 2 + len(value) <= room:
            field += bytes((code, len(value))) + value
    return field + bytes((_Code.END,))


def _told(kind: Kind, request: Request, lease: Lease) -> Iterator[tuple[_Code, bytes]]:
    gateway = lease.gateway.to_bytes(4, "big")
    yield _Code.KIND, bytes((kind,))
    yield _Code.SERVER, gateway
    yield _Code.CLIENT_ID, request.client_id or b""  # RFC 6842
    if kind is Kind.NAK:
        return
    if request.kind is not Kind.INFORM:
        yield _Code.LEASE_TIME, lease.seconds.to_bytes(4, "big")
    yield _Code.MASK, (0xFFFFFFFF << 32 - lease.prefix_length & 0xFFFFFFFF).to_bytes(4, "big")
    yield _Code.ROUTER, gateway
    yield _Code.MTU, lease.mtu.to_bytes(2, "big")
    yield _Code.DNS, b"".join(server.to_bytes(4, "big") for server in lease.dns)
    yield _Code.HOSTNAME, lease.hostname.encode("ascii")
    yield _Code.DOMAIN, lease.domain.encode("ascii")


def _frame(mac: bytes, source: int, target: int, body: bytes) -> bytes:
    """``body`` from the server to the client in UDP, IPv4 and Ethernet, with every checksum."""
    length = _UDP.size + len(body)
    udp = _UDP.pack(SERVER_PORT, CLIENT_PORT, length, 0) + body
    total = internet_sum(_PSEUDO.pack(source, target, _UDP_PROTOCOL, length) + udp)
    # A checksum of 0 would mean that there is none (RFC 768).
    udp = udp[:6] + ((0xFFFF - total) or 0xFFFF).to_bytes(2, "big") + udp[8:]
    ip = _IP.pack(0x45, 0, _IP.size + length, 0, 0, _TTL, _UDP_PROTOCOL, 0, source, target)
    ip = ip[:10] + (0xFFFF - internet_sum(ip)).to_bytes(2, "big") + ip[12:]
    return _ETHERNET.pack(mac, ROUTER_MAC.to_bytes(6, "big"), _IPV4) + ip + udp
