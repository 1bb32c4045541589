"""Which ranges a VPC or a subnet may have."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from econe_api.actions import cidr_blocks


@settings(max_examples=200)
@given(st.integers(0, (1 << 32) - 1), st.integers(0, 32))
def test_which_ranges_are_usable(address: int, length: int) -> None:
    """By its first and last address: neither nobody's, and as many as EC2 allows."""
    block = cidr_blocks.ipv4_block(f"{ipaddress.IPv4Address(address)}/{length}")
    assert ipaddress.IPv4Address(address) in block
    hosts = all(
        not (end.is_loopback or end.is_multicast or end.is_link_local or end.is_reserved or int(end) >> 24 == 0)
        for end in (block[0], block[-1])
    )
    assert cidr_blocks.usable(block) == (16 <= block.num_addresses <= 65536 and hosts)
