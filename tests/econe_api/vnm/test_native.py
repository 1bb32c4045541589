"""OpenNebula's rules against an oracle that asks, packet by packet, what the text of a rule says."""

import ipaddress
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econe_api.vnm.native import NativeRule, RefusedError, group_rules, template_rules

IN = {"PROTOCOL": "TCP", "RULE_TYPE": "inbound"}
MANY = {"IP": "10.0.0.1", "SIZE": "16777214", "RANGE": ",".join(map(str, range(30)))}
NUMBERS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPV6": 58, "IPSEC": 50}
PORTS = st.integers(0, 65535)
PARTS = st.one_of(PORTS.map(str), st.tuples(PORTS, PORTS).map(lambda two: f"{min(two)}:{max(two)}"))
FIRSTS = st.one_of(
    st.integers(0x0A000000, 0x0A000400).map(ipaddress.IPv4Address),
    st.integers(0x20010DB8 << 96, (0x20010DB8 << 96) + 0x400).map(ipaddress.IPv6Address),
)


@st.composite
def rules(draw):
    protocol = draw(st.sampled_from(["ALL", *NUMBERS]))
    rule = {"PROTOCOL": draw(st.sampled_from([protocol, protocol.lower()]))}
    rule["RULE_TYPE"] = draw(st.sampled_from(["inbound", "OUTBOUND", "INBOUND", "outbound"]))
    if protocol in ("TCP", "UDP") and draw(st.booleans()):
        rule["RANGE"] = ",".join(draw(st.lists(PARTS, min_size=1, max_size=4)))
    name = {"ICMP": "ICMP_TYPE", "ICMPV6": "ICMPV6_TYPE"}.get(protocol)
    if name and draw(st.booleans()):
        rule[name] = draw(st.sampled_from(["0", "8", "128", "3/4", "255/0"]))
    if draw(st.booleans()):
        first = draw(FIRSTS)
        if {"ICMP": 4, "ICMPV6": 6}.get(protocol, first.version) == first.version:
            rule["IP" if first.version == 4 else draw(st.sampled_from(["IP6", "IP6_GLOBAL", "IP6_ULA"]))] = str(first)
            rule["SIZE"] = str(draw(st.integers(1, 700)))
    return rule


@st.composite
def packets(draw, rule):
    """A packet near the rule's edges: direction, protocol number, remote address, port or (type, code)."""
    edges = {0, 1, 22, 80, 443, 65535}
    for part in rule.get("RANGE", "").replace(",", ":").split(":"):
        edges |= {int(part) - 1, int(part), int(part) + 1} if part else set()
    first = next((rule[name] for name in ("IP", "IP6", "IP6_GLOBAL", "IP6_ULA") if name in rule), None)
    far = [ipaddress.ip_address("192.0.2.9"), ipaddress.ip_address("2001:db8:ffff::9")]
    if first:
        begin, size = ipaddress.ip_address(first), int(rule["SIZE"])
        far += [begin, begin - 1, begin + (size - 1), begin + size, begin + size // 2]
    remote = draw(st.sampled_from(far))
    numbers = [6, 17, 50, 47, 1 if remote.version == 4 else 58]
    said = draw(st.sampled_from(sorted(edge for edge in edges if 0 <= edge <= 65535)))
    kinds = st.tuples(st.sampled_from([0, 3, 8, 128, 255]), st.sampled_from([0, 4, 7]))
    return draw(st.booleans()), draw(st.sampled_from(numbers)), remote, said, draw(kinds)


def says(rule, packet):
    """The oracle: does OpenNebula's text let the packet pass?"""
    egress, number, remote, port, (kind, code) = packet
    if egress != (rule["RULE_TYPE"].upper() == "OUTBOUND"):
        return False
    protocol = rule["PROTOCOL"].upper()
    if protocol != "ALL" and NUMBERS[protocol] != number:
        return False
    if "RANGE" in rule:
        ends = [[int(end) for end in part.split(":")] for part in rule["RANGE"].split(",")]
        if not any(end[0] <= port <= end[-1] for end in ends):
            return False
    wanted = rule.get("ICMP_TYPE") or rule.get("ICMPV6_TYPE")
    if wanted:
        numbers = [int(one) for one in wanted.split("/")]
        if numbers[0] != kind or (len(numbers) == 2 and numbers[1] != code):
            return False
    firsts = [ipaddress.ip_address(rule[name]) for name in ("IP", "IP6", "IP6_GLOBAL", "IP6_ULA") if name in rule]
    return not firsts or any(
        first.version == remote.version and 0 <= int(remote) - int(first) < int(rule["SIZE"]) for first in firsts
    )


def passes(made, packet):
    """Do the rules that were made let the packet pass, read as EC2 reads them?"""
    egress, number, remote, port, (kind, code) = packet
    for one in made:
        if one.egress != egress or one.protocol not in (-1, number):
            continue
        if remote not in ipaddress.ip_network(one.cidr):
            continue
        if one.protocol in (6, 17) and not one.from_port <= port <= one.to_port:
            continue
        if one.protocol in (1, 58) and (one.from_port not in (-1, kind) or one.to_port not in (-1, code)):
            continue
        return True
    return False


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_group_lets_pass_what_its_text_says(data):
    texts = data.draw(st.lists(rules(), max_size=3))
    made = group_rules(texts)
    for text in texts or [{}]:
        packet = data.draw(packets(text))
        assert passes(made, packet) == any(says(each, packet) for each in texts)


@settings(max_examples=100, deadline=None)
@given(FIRSTS, st.integers(1, 5000))
def test_ranges_of_addresses_become_the_fewest_blocks(first, size):
    name = "IP" if first.version == 4 else "IP6"
    made = group_rules(
        [{"PROTOCOL": "TCP", "RULE_TYPE": "inbound", "RANGE": "80", name: str(first), "SIZE": str(size)}]
    )
    blocks = sorted(ipaddress.ip_network(rule.cidr) for rule in made)
    held = [(int(block[0]), int(block[-1])) for block in blocks]
    assert held[0][0] == int(first)
    assert held[-1][1] == int(first) + size - 1
    assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(held))
    assert list(ipaddress.collapse_addresses(blocks)) == blocks


def test_a_network_as_the_source_is_its_ranges():
    # One rule per address range of the network, with what oned copies from the range.
    base = {"PROTOCOL": "TCP", "RULE_TYPE": "inbound", "RANGE": "5432", "NETWORK_ID": "0"}
    ranges = [
        {
            "AR_ID": "0",
            "TYPE": "IP4_6",
            "MAC": "02:00:0a:00:00:0a",
            "SIZE": "2",
            "IP": "10.0.0.10",
            "IP6_ULA": "fd00::a",
        },
        {"AR_ID": "1", "TYPE": "IP4", "MAC": "02:00:0a:00:01:00", "SIZE": "256", "IP": "10.0.1.0"},
    ]
    made = group_rules([base | one for one in ranges])
    assert {rule.cidr for rule in made} == {"10.0.0.10/31", "fd00::a/127", "10.0.1.0/24"}
    assert {(rule.protocol, rule.from_port, rule.to_port, rule.egress) for rule in made} == {(6, 5432, 5432, False)}


def test_ipsec_is_esp():
    made = group_rules([{"PROTOCOL": "IPSEC", "RULE_TYPE": "outbound"}])
    assert made == tuple(NativeRule(True, 50, None, None, cidr) for cidr in ("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        pytest.param({"RULE_TYPE": "inbound"}, "protocol", id="no protocol"),
        pytest.param(IN | {"PROTOCOL": "SCTP"}, "protocol", id="strange protocol"),
        pytest.param({"PROTOCOL": "TCP"}, "RULE_TYPE", id="no direction"),
        pytest.param(IN | {"RULE_TYPE": "both"}, "RULE_TYPE", id="strange direction"),
        pytest.param(IN | {"RANGE": "80:22"}, "80:22", id="reversed range"),
        pytest.param(IN | {"RANGE": "22,,80"}, "RANGE", id="hole in the list"),
        pytest.param(IN | {"RANGE": "70000"}, "70000", id="no port"),
        pytest.param(IN | {"PROTOCOL": "ALL", "RANGE": "22"}, "RANGE", id="ports of all protocols"),
        pytest.param(IN | {"ICMP_TYPE": "8"}, "ICMP_TYPE", id="type of TCP"),
        pytest.param(IN | {"PROTOCOL": "ICMPV6", "ICMP_TYPE": "8"}, "ICMP_TYPE", id="type of the other ICMP"),
        pytest.param(IN | {"PROTOCOL": "ICMP", "ICMP_TYPE": "300"}, "300", id="type over a byte"),
        pytest.param(IN | {"PROTOCOL": "ICMP", "IP6": "2001:db8::", "SIZE": "2"}, "IPv4", id="family of ICMP"),
        pytest.param(IN | {"IP": "10.0.0.1"}, "SIZE", id="address without size"),
        pytest.param(IN | {"SIZE": "4"}, "SIZE", id="size without address"),
        pytest.param(IN | {"IP": "10.0.0.1", "SIZE": "0"}, "range", id="empty range"),
        pytest.param(IN | {"IP": "255.255.255.0", "SIZE": "257"}, "range", id="range past the end"),
        pytest.param(IN | {"IP": "10.0.0", "SIZE": "4"}, "range", id="no address"),
        pytest.param(IN | {"NETWORK_ID": "4"}, "network 4", id="network without addresses"),
        pytest.param(IN | {"MAC": "02:00:00:00:00:01"}, "MAC", id="strange attribute"),
        pytest.param(IN | MANY, "1000", id="many"),
    ],
)
def test_what_has_no_equal_is_refused_by_name(rule, word):
    good = {"PROTOCOL": "UDP", "RULE_TYPE": "inbound"}
    with pytest.raises(RefusedError, match=word) as caught:
        group_rules([good, rule])
    assert "\n" not in str(caught.value)


def test_a_group_as_the_source_is_refused_where_it_can_be_seen():
    with pytest.raises(RefusedError, match="security group 5 as its source"):
        template_rules([IN, IN | {"SECURITY_GROUP_ID": "5"}])
    assert template_rules([IN | {"NETWORK_ID": "4"}]) == ()
    with pytest.raises(RefusedError, match="RANGE"):
        template_rules([IN | {"NETWORK_ID": "4", "RANGE": "x"}])
