"""Gratuitous ARP for an elastic IP that has come to a host."""

from __future__ import annotations

from struct import Struct

from flowrules.addresses import elastic_ip_mac

_ARP = Struct("!6s6sHHHBBH6sI6sI")
_BROADCAST = b"\xff" * 6


def announcement(public: int) -> bytes:
    """The Ethernet frame of an ARP announcement (RFC 5227 section 2.3) for the elastic IP ``public``."""
    mac = elastic_ip_mac(public).to_bytes(6, "big")
    return _ARP.pack(_BROADCAST, mac, 0x0806, 1, 0x0800, 6, 4, 1, mac, public, b"\0" * 6, public)
