"""Repaired ICMP errors against scapy, which computes every checksum anew."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, icmptypes
from scapy.layers.inet import IPOption_Router_Alert as RouterAlert
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from flowrules.addresses import ipv4_to_int, ipv4_to_text
from flowrules.icmp_repair import ERROR_TYPES, repair_inbound, repair_outbound

ADDRESSES = st.integers(1, 2**32 - 1).map(ipv4_to_text)
PORTS = st.integers(0, 65535)
PAYLOADS = st.binary(max_size=60)
OPTIONS = st.sampled_from([[], [IPOption_NOP()], [RouterAlert()]])
#: How much of a quoted packet behind its header there is: at least the ports, possibly everything.  After 17 bytes half
#: of TCP's checksum is there, which cannot follow.
QUOTED = st.integers(8, 80).filter(lambda size: size != 17)
KINDS = st.sampled_from(ERROR_TYPES)


@st.composite
def transports(draw):
    kind = draw(st.sampled_from(["tcp", "udp", "udp without checksum", "icmp", "other"]))
    if kind == "tcp":
        return TCP(sport=draw(PORTS), dport=draw(PORTS), seq=draw(st.integers(0, 2**32 - 1)))
    if kind == "icmp":
        return ICMP(id=draw(PORTS), seq=draw(PORTS))
    if kind == "other":
        return Raw(draw(st.binary(min_size=8, max_size=8)))
    return UDP(sport=draw(PORTS), dport=draw(PORTS), chksum=0 if "without" in kind else None)


@st.composite
def quotations(draw):
    """A packet as its sender made it, and how to make it again between other addresses."""
    transport, payload, options = draw(transports()), draw(PAYLOADS), draw(OPTIONS)
    size = draw(QUOTED)
    first_fragment = draw(st.booleans())
    head = {"options": options, "ttl": draw(st.integers(0, 255)), "id": draw(PORTS)}
    if isinstance(transport, Raw):
        head["proto"] = draw(st.sampled_from([47, 50, 112, 132]))

    def between(src, dst):
        whole = bytes(IP(src=src, dst=dst, flags="MF" if first_fragment else "DF", **head) / transport / payload)
        header = (whole[0] & 15) * 4
        return whole[: header + size]

    return between


def error(quoted, src, dst, kind, trailer=b"", **more):
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst, **more)
    return bytes(head / ICMP(type=kind, code=4, nexthopmtu=1280) / Raw(quoted)) + trailer


def same(one, other):
    assert one is not None
    assert one.hex() == other.hex()


@given(quotations(), ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, KINDS, OPTIONS, st.sampled_from([b"", bytes(10)]))
def test_inbound_equals_what_scapy_makes_from_scratch(between, public, private, client, router, kind, options, trailer):
    arrived = error(between(public, client), router, private, kind, trailer, options=options)
    wanted = error(between(private, client), router, private, kind, trailer, options=options)
    same(repair_inbound(arrived, ipv4_to_int(public)), wanted)


@given(quotations(), ADDRESSES, ADDRESSES, ADDRESSES, KINDS)
def test_outbound_equals_what_scapy_makes_from_scratch(between, public, private, client, kind):
    sent = error(between(client, private), public, client, kind)
    wanted = error(between(client, public), public, client, kind)
    same(repair_outbound(sent, ipv4_to_int(private)), wanted)


@given(quotations(), ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, KINDS)
def test_there_and_back_is_the_identity(between, public, private, client, router, kind):
    arrived = error(between(public, client), router, private, kind)
    repaired = repair_inbound(arrived, ipv4_to_int(public))
    # Seen from the other side the private address is what is to be replaced.
    readdressed = error(between(private, client), router, public, kind)
    assert repaired is not None
    same(repair_inbound(readdressed, ipv4_to_int(private)), error(between(public, client), router, public, kind))


@given(quotations(), ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES)
def test_a_quotation_of_another_address_is_refused(between, public, private, client, other):
    assume(other != public)
    arrived = error(between(other, client), "192.0.2.1", private, 3)
    assert repair_inbound(arrived, ipv4_to_int(public)) is None
    assert repair_outbound(error(between(client, other), public, client, 3), ipv4_to_int(public)) is None


@given(
    quotations(),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), min_size=1, max_size=5),
    st.integers(0, 60),
)
def test_mutated_errors_are_repaired_soundly_or_refused(between, changed, cut):
    public, private, client = "198.51.100.64", "172.31.0.4", "203.0.113.10"
    frame = bytearray(error(between(public, client), "192.0.2.1", private, 3))
    for position, value in changed:
        frame[position % len(frame)] ^= value
    frame = bytes(frame[: len(frame) - cut])
    repaired = repair_inbound(frame, ipv4_to_int(public))
    if repaired is not None:
        assert len(repaired) == len(frame)
        assert sound(repaired)


def sound(frame):
    """Are the outer checksums right, as scapy computes them?"""
    said = Ether(frame)
    made = Ether(frame)
    del made[IP].chksum, made[ICMP].chksum
    made = Ether(bytes(made))
    return (said[IP].chksum, said[ICMP].chksum) == (made[IP].chksum, made[ICMP].chksum)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    for prefix in (b"", bytes(12) + b"\x08\x00", bytes(12) + b"\x08\x00E\x00"):
        assert repair_inbound(prefix + noise, 1) is None
        assert repair_outbound(prefix + noise, 1) is None


UDP_QUOTE = bytes(IP(src="198.51.100.64", dst="203.0.113.10") / UDP(sport=1, dport=2) / b"payload")
PUBLIC, PRIVATE = ipv4_to_int("198.51.100.64"), "172.31.0.4"


@pytest.mark.parametrize(
    "frame",
    [
        *(error(UDP_QUOTE, "192.0.2.1", PRIVATE, kind) for kind in icmptypes if kind not in ERROR_TYPES),
        error(UDP_QUOTE[:27], "192.0.2.1", PRIVATE, 3),
        error(UDP_QUOTE[:19], "192.0.2.1", PRIVATE, 3),
        error(b"", "192.0.2.1", PRIVATE, 3),
        error(b"\x65" + UDP_QUOTE[1:], "192.0.2.1", PRIVATE, 3),
        error(b"\x44" + UDP_QUOTE[1:], "192.0.2.1", PRIVATE, 3),
        error(b"\x4f" + UDP_QUOTE[1:], "192.0.2.1", PRIVATE, 3),
        error(
            bytes(IP(src="198.51.100.64", dst="203.0.113.10", frag=9, proto=17) / UDP_QUOTE), "192.0.2.1", PRIVATE, 3
        ),
        error(UDP_QUOTE, "192.0.2.1", PRIVATE, 3, flags="MF"),
        error(UDP_QUOTE, "192.0.2.1", PRIVATE, 3, frag=1),
        error(UDP_QUOTE, "192.0.2.1", PRIVATE, 3, chksum=1),
        error(UDP_QUOTE, "192.0.2.1", PRIVATE, 3, len=400),
        error(UDP_QUOTE, "192.0.2.1", PRIVATE, 3)[:60],
        bytes(Ether() / IP(src="192.0.2.1", dst=PRIVATE) / ICMP(type=3, chksum=1) / UDP_QUOTE),
        bytes(Ether() / IP(src="192.0.2.1", dst=PRIVATE) / UDP() / UDP_QUOTE),
        bytes(Ether(type=0x86DD) / IP(src="192.0.2.1", dst=PRIVATE) / ICMP(type=3) / UDP_QUOTE),
    ],
    ids=lambda frame: f"{len(frame)} bytes",  # scapy draws some of the bytes anew each time
)
def test_what_is_no_sound_error_is_refused(frame):
    assert repair_inbound(frame, PUBLIC) is None


def test_a_udp_checksum_that_comes_to_zero_is_written_as_ones():
    """RFC 768: zero would say that there is none."""
    # The port is chosen so that it comes out so.
    base = bytes(IP(src=PRIVATE, dst="203.0.113.10") / UDP(sport=0, dport=2) / b"xy")
    checksum = int.from_bytes(base[26:28], "big")
    inside = bytes(IP(src=PRIVATE, dst="203.0.113.10") / UDP(sport=checksum, dport=2) / b"xy")
    assert inside[26:28] == b"\xff\xff"
    outside = bytes(IP(src="198.51.100.64", dst="203.0.113.10") / UDP(sport=checksum, dport=2) / b"xy")
    same(repair_inbound(error(outside, "192.0.2.1", PRIVATE, 3), PUBLIC), error(inside, "192.0.2.1", PRIVATE, 3))
