"""Gratuitous ARP for an elastic IP that has come to a host, as an OpenFlow packet-out."""

from __future__ import annotations

from struct import Struct

from flowrules.actions import Output
from flowrules.addresses import elastic_ip_mac
from flowrules.encode import VERSION
from flowrules.encode_actions import encode_actions

_PACKET_OUT_TYPE = 13
_PACKET_OUT = Struct("!BBHIIIH6x")
_NO_BUFFER = 0xFFFFFFFF
_FROM_CONTROLLER = 0xFFFFFFFD
_ARP = Struct("!6s6sHHHBBH6sI6sI")
_BROADCAST = b"\xff" * 6


def announcement(public: int) -> bytes:
    """The Ethernet frame of an ARP announcement (RFC 5227 section 2.3) for the elastic IP ``public``."""
    mac = elastic_ip_mac(public).to_bytes(6, "big")
    return _ARP.pack(_BROADCAST, mac, 0x0806, 1, 0x0800, 6, 4, 1, mac, public, b"\0" * 6, public)


def packet_out(port: int, frame: bytes, xid: int = 0) -> bytes:
    """``OFPT_PACKET_OUT``: send ``frame`` out of OpenFlow port ``port`` (OpenFlow 1.3 section 7.3.7)."""
    actions = encode_actions((Output(port),))
    length = _PACKET_OUT.size + len(actions) + len(frame)
    head = _PACKET_OUT.pack(VERSION, _PACKET_OUT_TYPE, length, xid, _NO_BUFFER, _FROM_CONTROLLER, len(actions))
    return head + actions + frame
