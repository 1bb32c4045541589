"""What IPv6 adds to a bridge, object by object, and what the names of its remote sets hold apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import fields
from flowrules.addresses import ipv4_to_int, ipv6_to_int, mac_to_int
from flowrules.compile_group import remote_set_id
from flowrules.compiler import compile_all, compile_intent
from flowrules.fields import IpProtocol
from flowrules.flow import match
from flowrules.intent import (
    ANYWHERE,
    ANYWHERE_IPV6,
    Bridge,
    Direction,
    Gateway,
    Group,
    GroupMembers,
    Ipv6Bridge,
    Local,
    Member,
    Neighbour,
    Port,
    Prefix,
    PrefixList,
    Remote,
    Rule,
)
from flowrules.tables import EGRESS_ACT, EGRESS_TRACK, INGRESS_ACT, INGRESS_TRACK, ND, SENDER_ASKS, SPOOF, TABLES
from flowrules.text import actions_text, match_text

VM, PEER = mac_to_int("02:00:00:00:00:0a"), mac_to_int("02:00:00:00:00:0b")
VM_IP, PEER_IP = ipv6_to_int("fd00::a"), ipv6_to_int("fd00::b")
OFFICE = Prefix(ipv6_to_int("2001:db8::"), 32, 6)
WEB = GroupMembers(7)


def lines(intent):
    return [
        f"{TABLES[flow.table].name} {flow.priority} {match_text(flow.matches)}: {actions_text(flow.actions)}"
        for flow in compile_intent(intent)
    ]


def test_a_port_sends_as_itself():
    without = Port(10, VM, (1,), 5, (7,))
    more = [line for line in lines(Port(10, VM, (1,), 5, (7,), ipv6=(VM_IP,))) if line not in lines(without)]
    asks = "icmp_type=135,icmp_code=0,nd_sll=02:00:00:00:00:0a: resubmit(,35)"
    assert more == [
        f"SPOOF 110 icmp6,in_port=10,ipv6_src=fd00::a,{asks}",
        f"SPOOF 110 icmp6,in_port=10,ipv6_src=fe80::/10,{asks}",
        "SPOOF 10 ipv6,in_port=10,ipv6_src=fd00::a: resubmit(,15)",
    ]


def test_nobody_is_a_router_a_neighbour_or_a_server():
    shut = [line for line in lines(Ipv6Bridge()) if line.startswith("SPOOF")]
    assert shut == [
        *(f"SPOOF 100 icmp6,icmp_type={kind}: drop" for kind in range(133, 138)),
        "SPOOF 100 udp6,tp_src=547: drop",
        "SPOOF 100 ipv6,ipv6_dst=ff00::/8: drop",
    ]


def test_solicitations_pass_the_meter_before_they_are_made_answers():
    found = [line for line in lines(Ipv6Bridge()) if line.startswith(("SENDER_ASKS", "ND"))]
    assert found == [
        "SENDER_ASKS 10 icmp6: ct(table=38,zone=NXM_NX_REG0[0..15])",
        "ND 110 icmp6,icmp_type=135: set_field:136->icmpv6_type,resubmit(,38)",
    ]


UDP = match(fields.IP_PROTO, IpProtocol.UDP)


def test_both_sides_track_ipv6_as_they_do_ipv4():
    tables = (EGRESS_TRACK, EGRESS_ACT, INGRESS_TRACK, INGRESS_ACT)

    def tracked(intent):
        flows = [flow for flow in compile_intent(intent) if flow.table in tables and UDP not in flow.matches]  # no DHCP
        spelled = [(flow.table, match_text(flow.matches), flow.actions) for flow in flows if flow.matches]
        return sorted((table, text.replace("ipv6", "ip"), str(actions)) for table, text, actions in spelled)

    assert tracked(Ipv6Bridge()) == tracked(Bridge(1, 2))
    assert {flow.table for flow in compile_intent(Ipv6Bridge())} == {*tables, SPOOF, SENDER_ASKS, ND}
    compile_all([Bridge(1, 2), Ipv6Bridge()])  # no flow of the one is the other's


ANSWER = (
    "ND 100 icmp6,metadata=0x5,icmp_type=136,nd_target={address}: move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
    "set_field:{mac}->eth_src,move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:{address}->ipv6_src,"
    "set_field:1610612736->nd_reserved,set_field:2->nd_options_type,set_field:{mac}->nd_tll,IN_PORT"
)


def test_a_gateway_answers():
    before = lines(Gateway(5, ipv4_to_int("10.0.1.1")))
    answer = ANSWER.format(address="fd00::1", mac="02:5c:e0:00:00:01")
    assert lines(Gateway(5, ipv4_to_int("10.0.1.1"), ipv6_to_int("fd00::1"))) == [*before, answer]


@pytest.mark.parametrize(
    ("via", "match", "way"),
    [
        (Local(10), "", "load:0xa->NXM_NX_REG1[],ct_clear,resubmit(,40)"),
        (Remote(2, 105), "reg6=0/0x2,", "push_vlan:0x8100,set_field:4201->vlan_vid,output:2"),
        (Remote(2, None), "reg6=0/0x2,", "output:2"),
    ],
)
def test_a_neighbour_is_found(via, match, way):
    assert lines(Neighbour(5, PEER_IP, PEER, via, routed=True, version=6)) == [
        ANSWER.format(address="fd00::b", mac="02:00:00:00:00:0b"),
        f"ROUTE 100 ipv6,{match}metadata=0x5,dl_dst=02:00:00:00:00:0b,ipv6_dst=fd00::b: {way}",
        "ROUTE 90 ipv6,reg6=0/0x2,metadata=0x5,dl_dst=02:5c:e0:00:00:01,ipv6_dst=fd00::b: dec_ttl,"
        "set_field:02:5c:e0:00:00:01->eth_src,set_field:02:00:00:00:00:0b->eth_dst,resubmit(,30)",
    ]


RULES = frozenset(
    {
        Rule(6, 80, 80, ANYWHERE),
        Rule(6, 81, 81, ANYWHERE_IPV6),
        Rule(17, 53, 53, WEB),
        Rule(1, 8, -1, WEB),
        Rule(58, 128, 0, WEB),
    }
)


def test_a_rule_speaks_of_its_own_version_and_a_group_of_both():
    known = "load:0x7->OXM_OF_PKT_REG4[],resubmit(,44)"
    ipv4 = [
        f"INGRESS_RULES 30 icmp,reg3=0x9,icmp_type=8: {known}",
        "INGRESS_RULES 40 tcp,reg3=0x9,tp_dst=80: load:0x1->NXM_NX_REG5[0]",
        f"INGRESS_RULES 40 udp,reg3=0x9,tp_dst=53: {known}",
    ]
    ipv6 = [
        "INGRESS_RULES 40 tcp6,reg3=0x9,tp_dst=81: load:0x1->NXM_NX_REG5[0]",
        f"INGRESS_RULES 40 udp6,reg3=0x9,tp_dst=53: {known}",
        f"INGRESS_RULES 40 icmp6,reg3=0x9,icmp_type=128,icmp_code=0: {known}",
    ]
    assert lines(Group(9, Direction.INGRESS, RULES)) == ipv4
    assert lines(Group(9, Direction.INGRESS, RULES, ipv6=True)) == [*ipv4, *ipv6]


@pytest.mark.parametrize(
    ("direction", "table", "field"),
    [
        (Direction.INGRESS, "INGRESS_REMOTES", "ipv6_src"),
        (Direction.EGRESS, "EGRESS_REMOTES", "ipv6_dst"),
    ],
)
def test_members(direction, table, field):
    yes = "load:0x1->NXM_NX_REG5[0]"
    member = Member(WEB, Prefix(PEER_IP, 128, 6), direction)
    assert lines(member) == [f"{table} 10 ipv6,reg8=0,reg9=0x7,{field}=fd00::b: {yes}"]
    number = remote_set_id(OFFICE)
    known = f"reg8={number >> 32:#x},reg9={number & 0xFFFFFFFF:#x}"
    assert lines(Member(OFFICE, OFFICE, direction)) == [f"{table} 10 ipv6,{known},{field}=2001:db8::/32: {yes}"]


_LENGTHS = st.integers(0, 128)
_IPV6 = st.builds(
    lambda address, length: Prefix(address >> (128 - length) << (128 - length), length, 6),
    st.integers(0, (1 << 128) - 1),
    _LENGTHS,
)
_IPV4 = st.builds(
    lambda address, length: Prefix(address >> (32 - length) << (32 - length), length),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 32),
)


_NUMBERED = st.builds(GroupMembers, st.integers(1, (1 << 32) - 1)) | st.builds(
    PrefixList, st.integers(1, (1 << 32) - 1), st.sampled_from([4, 6])
)


@given(_IPV6 | _IPV4 | _NUMBERED, _IPV6 | _IPV4 | _NUMBERED)
def test_remote_sets_are_not_confused(one, other):
    assert remote_set_id(one) < 1 << 64
    assert (remote_set_id(one) == remote_set_id(other)) == (one == other)


def test_the_name_of_a_prefix_is_the_same_everywhere():
    """A controller that hashes otherwise would rewrite every host's tables when it takes over."""
    assert remote_set_id(OFFICE) == 0x8ABA_53EF_0111_240A
