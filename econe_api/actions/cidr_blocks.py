"""Address ranges of VPCs and subnets as requests name them."""

from __future__ import annotations

import ipaddress
import re

from econe_api.errors import Ec2Error

#: "VPC CIDR blocks" in the Amazon VPC user guide: from /28 to /16, for VPCs and subnets alike.
LARGEST, SMALLEST = 16, 28
_FORM = re.compile(r"[0-9.]+/[0-9]{1,2}", re.ASCII)
_IPV6_FORM = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", re.ASCII)
#: "This" network, loopback, link-local, multicast and reserved: no host may have such an address (RFC 6890).
_NOBODYS = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))


def ipv4_block(text: str, parameter: str = "cidrBlock") -> ipaddress.IPv4Network:
    """A range in canonical form: 10.0.0.5/16 is 10.0.0.0/16.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    try:
        if _FORM.fullmatch(text):
            return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        pass
    raise invalid(text, parameter)


def ipv6_block(text: str, parameter: str) -> ipaddress.IPv6Network:
    """A range of IPv6 in canonical form.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    try:
        if _IPV6_FORM.fullmatch(text):
            return ipaddress.IPv6Network(text, strict=False)
    except ValueError:
        pass
    raise invalid(text, parameter)


def invalid(text: str, parameter: str) -> Ec2Error:
    """The refusal of what is no range."""
    return Ec2Error(
        "InvalidParameterValue", f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block."
    )


def usable(block: ipaddress.IPv4Network) -> bool:
    """May a VPC or subnet have the range: its size, and addresses that hosts can have?"""
    return LARGEST <= block.prefixlen <= SMALLEST and not any(block.overlaps(other) for other in _NOBODYS)
