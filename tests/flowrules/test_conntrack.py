"""The packets that mark connections, read back by two other programs; what they do to a tracker is a lab test."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from flowrules.conntrack import packet_of, set_blocked
from flowrules.judge import Connection

word = st.integers(0, 0xFFFF)
address = st.integers(1, 0xFFFFFFFE)
connections = (
    st.builds(Connection, st.sampled_from([6, 17]), address, address, word, word)
    | st.builds(Connection, st.just(1), address, address, st.sampled_from([8, 15]), st.just(0), word)
    | st.builds(Connection, st.sampled_from([2, 47, 50, 112, 132]), address, address)
)


@given(connections)
def test_every_checksum_is_right(connection):
    frame = packet_of(connection)
    again = Ether(frame)
    del again[IP].chksum
    if again[IP].payload:
        del again[IP].payload.chksum
    assert bytes(again) == frame
    assert again[IP].proto == connection.protocol


@given(
    st.builds(
        Connection,
        st.sampled_from([6, 17]),
        st.integers(1, 1 << 127),
        st.integers(1, 1 << 127),
        word,
        word,
        version=st.just(6),
    )
)
def test_every_checksum_of_ipv6_is_right(connection):
    frame = packet_of(connection)
    again = Ether(frame)
    del again[IPv6].payload.chksum
    assert bytes(again) == frame
    assert (again[IPv6].version, again[IPv6].tc, again[IPv6].fl) == (6, 0, 0)


def test_the_checksum_of_an_ipv6_query_is_right():
    frame = packet_of(Connection(58, 0xFD00 << 112 | 1, 0xFD00 << 112 | 2, 128, 0, 77, version=6))
    again = Ether(frame)
    del again[IPv6].payload.cksum
    assert bytes(again) == frame


def test_a_tcp_packet_has_no_flag():
    assert int(Ether(packet_of(Connection(6, 1, 2, 3, 4)))["TCP"].flags) == 0


@pytest.mark.parametrize("value", [0, 1])
def test_open_vswitch_reads_the_packet_out_as_meant(value):
    message = set_blocked(Connection(17, 0xCB007105, 0x0A000001, 5, 7), 3, value, xid=7)
    said = subprocess.run(
        ["ovs-ofctl", "ofp-print", "-"], input=message.hex(), capture_output=True, text=True, check=True
    ).stdout
    assert "OFPT_PACKET_OUT (OF1.3) (xid=0x7)" in said
    assert "load:0x3->NXM_NX_REG0[],ct(commit,zone=NXM_NX_REG0[0..15],exec(load:" in said
    assert f"exec(load:{'0x1' if value else '0'}->NXM_NX_CT_MARK[0])" in said
    assert "nw_src=203.0.113.5,nw_dst=10.0.0.1" in said
    assert "tp_src=5,tp_dst=7" in said
