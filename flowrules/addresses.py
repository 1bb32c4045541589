"""Addresses that are computed, never configured."""

from __future__ import annotations

from ipaddress import IPv6Address

#: Where links have their own addresses (RFC 4291 section 2.5.6), and all multicast ones: address and mask.
LINK_LOCAL = (0xFE80 << 112, 0xFFC0 << 112)
IPV6_MULTICAST = (0xFF << 120, 0xFF << 120)
#: MAC of the virtual router of every VPC on every host (locally administered, RFC 7042 section 2.1).
ROUTER_MAC = 0x025C_E000_0001
_ELASTIC_IP_MAC = 0x02E1
_PAIRS = [2] * 6


def elastic_ip_mac(public: int) -> int:
    """MAC that answers for an elastic IP: derived from the address, so that it moves between hosts with it."""
    return _ELASTIC_IP_MAC << 32 | public


def mac_to_int(text: str) -> int:
    """``"02:00:00:00:00:01"`` as an integer; raises ValueError when it is none."""
    parts = text.split(":")
    digits = "".join(parts)
    if [len(part) for part in parts] != _PAIRS or not digits.isalnum():  # int() also takes signs and underscores
        raise ValueError(f"not a MAC address: {text!r}")
    return int(digits, 16)


def mac_to_text(mac: int) -> str:
    """An integer as ``"02:00:00:00:00:01"``."""
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def ipv4_to_int(text: str) -> int:
    """Dotted quad as an integer; raises ValueError when it is none."""
    parts = text.split(".")
    if len(parts) == 4 and "".join(parts).isdigit() and "" not in parts:
        first, second, third, fourth = map(int, parts)
        if first < 256 and second < 256 and third < 256 and fourth < 256:
            return first << 24 | second << 16 | third << 8 | fourth
    raise ValueError(f"not an IPv4 address: {text!r}")


def ipv4_to_text(address: int) -> str:
    """An integer as a dotted quad."""
    return ".".join(str(address >> shift & 0xFF) for shift in (24, 16, 8, 0))


def ipv6_to_int(text: str) -> int:
    """An IPv6 address (without a zone) as an integer; raises ValueError when it is none."""
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError(f"an address with a zone: {text!r}")
    return int(address)


def version_of(text: str) -> int:
    """4 or 6: the family of an address or prefix in text form."""
    return 6 if ":" in text else 4
