"""Addresses as text and as integers, held against the standard library."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules.addresses import ipv4_to_int, ipv4_to_text, mac_to_int, mac_to_text


@given(st.integers(0, 2**32 - 1))
def test_ipv4_addresses_come_back(number):
    assert ipv4_to_text(number) == str(ipaddress.IPv4Address(number))
    assert ipv4_to_int(ipv4_to_text(number)) == number


@given(st.lists(st.integers(0, 400) | st.sampled_from(["", "x", "-1", "1e1"]), min_size=3, max_size=5))
def test_only_ipv4_addresses_are_read(parts):
    text = ".".join(map(str, parts))
    try:
        wanted = int(ipaddress.IPv4Address(text))
    except ValueError:
        with pytest.raises(ValueError, match="not an IPv4 address"):
            ipv4_to_int(text)
    else:
        assert ipv4_to_int(text) == wanted


@pytest.mark.parametrize("place", range(4))
def test_each_part_of_an_ipv4_address_has_eight_bits(place):
    parts = ["1"] * 4
    parts[place] = "256"
    with pytest.raises(ValueError, match="not an IPv4 address"):
        ipv4_to_int(".".join(parts))


@given(st.integers(0, 2**48 - 1))
def test_mac_addresses_come_back(number):
    assert mac_to_int(mac_to_text(number)) == number


@pytest.mark.parametrize(
    "text", ["", "1:2:3:4:5:6", "02:00:00:00:00", "02:00:00:00:00:0g", "+1:00:00:00:00:00", "00:1_:00:00:00:00"]
)
def test_only_mac_addresses_are_read(text):
    with pytest.raises(ValueError, match=r"MAC|literal"):
        mac_to_int(text)
