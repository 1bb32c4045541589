"""Devices, addresses and routes of the calling thread's network namespace by rtnetlink(7).

As :mod:`econe_api.compute.kernel` does: a message takes microseconds, a process of iproute2 milliseconds.  Numbers are
those of ``linux/rtnetlink.h``, ``linux/if_link.h`` and ``linux/if_addr.h``.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from types import TracebackType

_NEW_LINK, _DELETE_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 17, 20, 24  # RTM_*
_REQUEST, _WITH_ANSWER, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400  # NLM_F_*
_ERROR = 2  # NLMSG_ERROR, which says "done" as well
_LONGEST_ANSWER = 64 * 1024
_PATIENCE_S = 10.0

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NUMBER = struct.Struct("=I")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NO_DAD = 0x2  # IFA_F_NODAD
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_BY_ADMINISTRATOR, _UNICAST = 3, 1  # RTPROT_BOOT, RTN_UNICAST: as "ip route add" says
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
MAIN_TABLE = 254


class Rtnetlink:
    """A socket in the namespace in which it was made; every method raises OSError with what failed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_PATIENCE_S)
        self._number = 0

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._socket.close()

    def add_veth(self, name: str, mac: str, mtu: int, peer: str, namespace: int) -> None:
        """Make a pair: ``name`` here with ``mac``, ``peer`` in the namespace of a descriptor; both with ``mtu``."""
        there = _name(peer) + _number(_IFLA_MTU, mtu) + _number(_IFLA_NET_NS_FD, namespace)
        data = _attribute(_VETH_PEER, _LINK.pack(0, 0, 0, 0, 0) + there)
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, data)
        here = _name(name) + _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) + _number(_IFLA_MTU, mtu)
        body = _LINK.pack(0, 0, 0, 0, 0) + here + _attribute(_IFLA_LINKINFO, info)
        self._ask(_NEW_LINK, body, f"link add {name} type veth peer name {peer}")

    def delete_link(self, device: str) -> None:
        """Delete a device, with its peer if it is one of a pair; one that is not there is fine."""
        try:
            self._ask(_DELETE_LINK, _LINK.pack(0, 0, 0, 0, 0) + _name(device), f"link delete {device}", 0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def add_address(self, device: str, address: str, prefix_length: int) -> None:
        """Give a device an address; one of IPv6 is not looked for before it is used."""
        ip = ipaddress.ip_address(address)
        flags = _NO_DAD if ip.version == 6 else 0
        body = _ADDRESS.pack(_family(ip.version), prefix_length, flags, _SCOPE_UNIVERSE, socket.if_nametoindex(device))
        body += _attribute(_IFA_LOCAL, ip.packed) + _attribute(_IFA_ADDRESS, ip.packed)
        self._ask(_NEW_ADDRESS, body, f"address add {address}/{prefix_length} dev {device}")

    def add_route(self, device: str, network: str, gateway: str | None = None, table: int = MAIN_TABLE) -> None:
        """Send what is for ``network`` by a device, through a gateway if there is one."""
        to = ipaddress.ip_network(network)
        scope = _SCOPE_UNIVERSE if gateway is not None or to.version == 6 else _SCOPE_LINK
        numbers = (_family(to.version), to.prefixlen, 0, 0, min(table, 255), _BY_ADMINISTRATOR, scope, _UNICAST, 0)
        body = _ROUTE.pack(*numbers) + _number(_RTA_TABLE, table) + _number(_RTA_OIF, socket.if_nametoindex(device))
        if to.prefixlen:
            body += _attribute(_RTA_DST, to.network_address.packed)
        if gateway is not None:
            body += _attribute(_RTA_GATEWAY, ipaddress.ip_address(gateway).packed)
        self._ask(_NEW_ROUTE, body, f"route add {network} via {gateway} dev {device} table {table}")

    def _ask(self, kind: int, body: bytes, what: str, further: int = _CREATE | _EXCLUSIVE) -> None:
        self._number += 1
        flags = _REQUEST | _WITH_ANSWER | further
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._number, 0) + body)
        answer = self._socket.recv(_LONGEST_ANSWER)
        _, said, _, number, _ = _HEADER.unpack_from(answer)
        if said != _ERROR or number != self._number:
            raise OSError(errno.EPROTO, f"{what}: the kernel answers something else")
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if code:
            raise OSError(-code, f"{what}: {os.strerror(-code)}")


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, _NUMBER.pack(value))


def _name(device: str) -> bytes:
    return _attribute(_IFLA_IFNAME, device.encode() + b"\0")
