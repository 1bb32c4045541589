"""The flows of one small bridge, object by object, in words: what a change of the compiler changes shows here."""

import re

import pytest

from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.compiler import compile_intent
from flowrules.intent import (
    ANYWHERE,
    Bridge,
    Destinations,
    Direction,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Local,
    Member,
    Metadata,
    MetadataClient,
    Neighbour,
    Network,
    Port,
    Prefix,
    PrefixList,
    Remote,
    Revocation,
    Rule,
)
from flowrules.tables import EGRESS_STATE, INGRESS_STATE, TABLES
from flowrules.text import actions_text, match_text

VM, PEER = mac_to_int("02:00:00:00:00:0a"), mac_to_int("02:00:00:00:00:0b")
VM_IP, PEER_IP = ipv4_to_int("10.0.1.10"), ipv4_to_int("10.0.1.11")
NET, OFFICE = Prefix(ipv4_to_int("10.0.0.0"), 16), Prefix(ipv4_to_int("198.51.100.0"), 24)
WEB = GroupMembers(7)

#: How ovs-ofctl writes pipeline state and headers -> what they are here.
NAMES = {
    "NXM_NX_REG0[]": "SOURCE_PORT",
    "NXM_NX_REG0[0..15]": "SOURCE_ZONE",
    "NXM_NX_REG1[]": "DESTINATION_PORT",
    "NXM_NX_REG1[0..15]": "DESTINATION_ZONE",
    "NXM_NX_REG3[]": "GROUP",
    "NXM_NX_REG5[0]": "VERDICT",
    "NXM_NX_REG6[0]": "VIA_ELASTIC_IP",
    "NXM_NX_REG6[1]": "FROM_FABRIC",
    "NXM_NX_REG10[]": "REPLACED",
    "NXM_NX_CT_MARK[0]": "BLOCKED",
    "OXM_OF_METADATA[]": "VPC",
    "OXM_OF_PKT_REG4[]": "REMOTE_SET",
    "NXM_OF_IN_PORT[]": "in_port",
}
ANSWER = re.compile(
    r"move:NXM_OF_ETH_SRC\[\]->NXM_OF_ETH_DST\[\] set_field:(?P<mac>\S+)->eth_src set_field:2->arp_op "
    r"move:NXM_NX_ARP_SHA\[\]->NXM_NX_ARP_THA\[\] move:NXM_OF_ARP_SPA\[\]->NXM_OF_ARP_TPA\[\] "
    r"set_field:(?P=mac)->arp_sha set_field:(?P<address>\S+)->arp_spa "
)


def in_words(flow):
    """``TABLE priority match: actions`` with names for numbers, and an ARP answer as one."""
    does = re.sub(r",(?![^()]*(?:\([^()]*\)[^()]*)*\))", " ", actions_text(flow.actions))
    does = ANSWER.sub(r"is-at(\g<address>,\g<mac>) ", does)
    for spelled, name in NAMES.items():
        does = does.replace(spelled, name)
    does = re.sub(r"(?:load|set_field):([^ )]+)->(\w+)", r"\2=\1", does)
    does = re.sub(r"resubmit\(,(\d+)\)", lambda found: f"{TABLES[int(found[1])].name}", does)
    does = re.sub(r"table=(\d+)", lambda found: f"table={TABLES[int(found[1])].name}", does)
    meter = f"meter:{flow.meter.id} " if flow.meter else ""
    return f"{TABLES[flow.table].name} {flow.priority} {match_text(flow.matches) or 'all'}: {meter}{does}"


GOLDEN = (
    (
        Bridge(uplink=1, fabric=2),
        """
        CLASSIFY 100 in_port=1,vlan_tci=0x0000/0x1fff: EXTERNAL_IN
        CLASSIFY 100 in_port=2: FROM_FABRIC=0x1 FABRIC_IN
        SPOOF 10 arp,arp_spa=0.0.0.0: move:NXM_OF_ETH_SRC[]->NXM_NX_ARP_SHA[] ARP
        EGRESS_TRACK 1 ip: ct(table=EGRESS_STATE,zone=SOURCE_ZONE)
        EGRESS_STATE 100 ct_state=+inv+trk: drop
        EGRESS_STATE 90 ct_state=+rel-inv+trk,ct_mark=0/0x1: ROUTE
        EGRESS_STATE 90 ct_state=+rel-inv+trk,ct_mark=0x1/0x1: drop
        EGRESS_STATE 80 ct_state=+est-rel+rpl-inv+trk,ct_mark=0/0x1: ROUTE
        EGRESS_STATE 80 ct_state=+est-rel+rpl-inv+trk,ct_mark=0x1/0x1: drop
        EGRESS_STATE 10 ct_state=+trk: DESTINATIONS
        EGRESS_ACT 10 ct_state=+new+trk,ip,reg5=0x1/0x1: ct(commit,zone=SOURCE_ZONE) ROUTE
        EGRESS_ACT 10 ct_state=+est+trk,ct_mark=0/0x1,ip,reg5=0x1/0x1: ROUTE
        EGRESS_ACT 10 ct_state=+est+trk,ct_mark=0x1/0x1,ip,reg5=0x1/0x1: \
        ct(commit,zone=SOURCE_ZONE,exec(BLOCKED=0)) ROUTE
        EGRESS_ACT 10 ct_state=+est+trk,ct_mark=0/0x1,ip,reg5=0/0x1: \
        ct(commit,zone=SOURCE_ZONE,exec(BLOCKED=0x1))
        EGRESS_ACT 1 all: drop
        INGRESS_TRACK 1 ip: ct(table=INGRESS_STATE,zone=DESTINATION_ZONE)
        INGRESS_STATE 100 ct_state=+inv+trk: drop
        INGRESS_STATE 90 ct_state=+rel-inv+trk,ct_mark=0/0x1: OUTPUT
        INGRESS_STATE 90 ct_state=+rel-inv+trk,ct_mark=0x1/0x1: drop
        INGRESS_STATE 80 ct_state=+est-rel+rpl-inv+trk,ct_mark=0/0x1: OUTPUT
        INGRESS_STATE 80 ct_state=+est-rel+rpl-inv+trk,ct_mark=0x1/0x1: drop
        INGRESS_STATE 10 ct_state=+trk: INGRESS_GROUPS
        INGRESS_ACT 10 ct_state=+new+trk,ip,reg5=0x1/0x1: ct(commit,zone=DESTINATION_ZONE) OUTPUT
        INGRESS_ACT 10 ct_state=+est+trk,ct_mark=0/0x1,ip,reg5=0x1/0x1: OUTPUT
        INGRESS_ACT 10 ct_state=+est+trk,ct_mark=0x1/0x1,ip,reg5=0x1/0x1: \
        ct(commit,zone=DESTINATION_ZONE,exec(BLOCKED=0)) OUTPUT
        INGRESS_ACT 10 ct_state=+est+trk,ct_mark=0/0x1,ip,reg5=0/0x1: \
        ct(commit,zone=DESTINATION_ZONE,exec(BLOCKED=0x1))
        INGRESS_ACT 1 all: drop
        ROUTE 40 ip,reg6=0/0x2,dl_dst=02:5c:e0:00:00:01: ELASTIC_OUT
        OUTPUT 1 all: in_port=0 output:DESTINATION_ZONE
        HAIRPIN 1 all: output:1
        ICMP_IN 10 icmp,icmp_type=3: ICMP_IN_PORT
        ICMP_IN 10 icmp,icmp_type=11: ICMP_IN_PORT
        ICMP_IN 10 icmp,icmp_type=12: ICMP_IN_PORT
        ICMP_IN 10 icmp,icmp_type=4: drop
        ICMP_IN 10 icmp,icmp_type=5: drop
        ICMP_IN 1 all: INGRESS_TRACK
        ICMP_OUT 10 icmp,icmp_type=3: SENDER_SHARE
        ICMP_OUT 10 icmp,icmp_type=11: SENDER_SHARE
        ICMP_OUT 10 icmp,icmp_type=12: SENDER_SHARE
        ICMP_OUT 10 icmp,icmp_type=4: drop
        ICMP_OUT 10 icmp,icmp_type=5: drop
        ICMP_OUT 1 all: HAIRPIN
        ICMP_IN_HOST 1 all: meter:1 CONTROLLER:65535
        ICMP_OUT_REPAIR 1 all: CONTROLLER:65535
        SPOOF 10 udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67: SENDER_SHARE
        EGRESS_TRACK 10 udp,nw_dst=255.255.255.255,tp_src=68,tp_dst=67: SENDER_SHARE
        DHCP 1 all: CONTROLLER:65535
        SENDER_ASKS 10 udp: DHCP
        SENDER_ASKS 10 icmp: ICMP_OUT_REPAIR
        """,
    ),
    (
        Destinations(
            frozenset({Prefix(ipv4_to_int("10.20.0.0"), 16), Prefix(ipv4_to_int("10.20.0.1"), 32)}),
            frozenset({Prefix(ipv4_to_int("10.20.0.1"), 32), Prefix(ipv4_to_int("192.0.2.1"), 32)}),
        ),
        """
        DESTINATIONS 40 ip,nw_dst=10.20.0.1: EGRESS_GROUPS
        DESTINATIONS 30 ip,nw_dst=192.0.2.1: EGRESS_ACT
        DESTINATIONS 20 ip,nw_dst=10.20.0.0/16: EGRESS_GROUPS
        DESTINATIONS 10 ip,nw_dst=0.0.0.0/8: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=10.0.0.0/8: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=100.64.0.0/10: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=127.0.0.0/8: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=169.254.0.0/16: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=172.16.0.0/12: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=192.168.0.0/16: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=224.0.0.0/4: EGRESS_ACT
        DESTINATIONS 10 ip,nw_dst=240.0.0.0/4: EGRESS_ACT
        DESTINATIONS 1 all: EGRESS_GROUPS
        """,
    ),
    (
        Port(10, VM, (VM_IP,), 5, (7, 8)),
        """
        CLASSIFY 100 in_port=10,vlan_tci=0x0000/0x1fff,dl_src=02:00:00:00:00:0a: SOURCE_PORT=0xa VPC=0x5 SPOOF
        EGRESS_GROUPS 10 reg0=0xa: GROUP=0x7 EGRESS_RULES GROUP=0x8 EGRESS_RULES EGRESS_ACT
        INGRESS_GROUPS 10 reg1=0xa: VERDICT=0 GROUP=0x7 INGRESS_RULES GROUP=0x8 INGRESS_RULES INGRESS_ACT
        ICMP_IN_PORT 10 reg1=0xa: meter:131082 ICMP_IN_HOST
        SENDER_SHARE 10 reg0=0xa: meter:65546 SENDER_ASKS
        SPOOF 10 arp,in_port=10,arp_spa=10.0.1.10,arp_sha=02:00:00:00:00:0a: ARP
        SPOOF 10 ip,in_port=10,nw_src=10.0.1.10: EGRESS_TRACK
        """,
    ),
    (
        Neighbour(5, VM_IP, VM, Local(10), routed=False),
        """
        ARP 100 arp,metadata=0x5,arp_tpa=10.0.1.10,arp_op=1: is-at(10.0.1.10,02:00:00:00:00:0a) in_port=0xa \
        output:SOURCE_ZONE
        ROUTE 100 ip,metadata=0x5,dl_dst=02:00:00:00:00:0a,nw_dst=10.0.1.10: DESTINATION_PORT=0xa ct_clear \
        INGRESS_TRACK
        """,
    ),
    (
        Neighbour(5, PEER_IP, PEER, Remote(2, 105), routed=True),
        """
        ARP 100 arp,metadata=0x5,arp_tpa=10.0.1.11,arp_op=1: is-at(10.0.1.11,02:00:00:00:00:0b) IN_PORT
        ROUTE 100 ip,reg6=0/0x2,metadata=0x5,dl_dst=02:00:00:00:00:0b,nw_dst=10.0.1.11: push_vlan:0x8100 \
        vlan_vid=4201 output:2
        ROUTE 90 ip,reg6=0/0x2,metadata=0x5,dl_dst=02:5c:e0:00:00:01,nw_dst=10.0.1.11: dec_ttl \
        eth_src=02:5c:e0:00:00:01 eth_dst=02:00:00:00:00:0b ROUTE
        """,
    ),
    (
        Network(5, NET, 105),
        """
        ROUTE 50 ip,metadata=0x5,dl_dst=02:5c:e0:00:00:01,nw_dst=10.0.0.0/16: drop
        INGRESS_TRACK 10 ip,reg6=0x1/0x1,metadata=0x5,nw_src=10.0.0.0/16: drop
        DESTINATIONS 50 ip,metadata=0x5,nw_dst=10.0.0.0/16: EGRESS_GROUPS
        FABRIC_IN 10 dl_vlan=105: pop_vlan VPC=0x5 ROUTE
        """,
    ),
    (
        Gateway(5, ipv4_to_int("10.0.1.1")),
        """
        ARP 100 arp,metadata=0x5,arp_tpa=10.0.1.1,arp_op=1: is-at(10.0.1.1,02:5c:e0:00:00:01) IN_PORT
        EGRESS_TRACK 10 udp,metadata=0x5,nw_dst=10.0.1.1,tp_src=68,tp_dst=67: SENDER_SHARE
        """,
    ),
    (
        Group(
            7,
            Direction.INGRESS,
            frozenset({Rule(6, 80, 81, ANYWHERE), Rule(6, 81, 81, WEB), Rule(1, 8, -1, OFFICE), Rule(6, 8, 11, WEB)}),
        ),
        """
        INGRESS_RULES 30 icmp,reg3=0x7,icmp_type=8: REMOTE_SET=0x40000018c6336400 INGRESS_REMOTES
        INGRESS_RULES 40 tcp,reg3=0x7,tp_dst=0x8/0xfffc: REMOTE_SET=0x7 INGRESS_REMOTES
        INGRESS_RULES 40 tcp,reg3=0x7,tp_dst=0x50/0xfffe: VERDICT=0x1
        """,
    ),
    (
        Group(7, Direction.EGRESS, frozenset({Rule(-1, None, None, ANYWHERE)})),
        """
        EGRESS_RULES 10 ip,reg3=0x7: VERDICT=0x1
        """,
    ),
    (
        Member(WEB, Prefix(PEER_IP, 32), Direction.INGRESS),
        """
        INGRESS_REMOTES 10 ip,reg8=0,reg9=0x7,nw_src=10.0.1.11: VERDICT=0x1
        """,
    ),
    (
        Member(OFFICE, OFFICE, Direction.EGRESS),
        """
        EGRESS_REMOTES 10 ip,reg8=0x40000018,reg9=0xc6336400,nw_dst=198.51.100.0/24: VERDICT=0x1
        """,
    ),
    (
        ElasticIp(ipv4_to_int("203.0.113.9"), VM_IP, 10, VM, 5, mac_to_int("02:00:00:00:00:fe")),
        """
        EXTERNAL_IN 10 arp,arp_tpa=203.0.113.9,arp_op=1: is-at(203.0.113.9,02:e1:cb:00:71:09) IN_PORT
        EXTERNAL_IN 10 ip,dl_dst=02:e1:cb:00:71:09,nw_dst=203.0.113.9: dec_ttl ip_dst=10.0.1.10 \
        eth_src=02:5c:e0:00:00:01 eth_dst=02:00:00:00:00:0a VPC=0x5 DESTINATION_PORT=0xa VIA_ELASTIC_IP=0x1 \
        REPLACED=0xcb007109 ICMP_IN
        ELASTIC_OUT 10 ip,reg0=0xa,nw_src=10.0.1.10: ct_clear dec_ttl ip_src=203.0.113.9 \
        eth_src=02:e1:cb:00:71:09 eth_dst=02:00:00:00:00:fe REPLACED=0xa00010a ICMP_OUT
        HAIRPIN 10 ip,nw_dst=203.0.113.9: eth_dst=02:e1:cb:00:71:09 EXTERNAL_IN
        """,
    ),
    (
        Metadata(port=4),
        """
        CLASSIFY 100 in_port=4,vlan_tci=0x0000/0x1fff: METADATA_BACK
        ARP 100 arp,arp_tpa=169.254.169.254,arp_op=1: is-at(169.254.169.254,02:5c:e0:00:00:01) IN_PORT
        EGRESS_TRACK 10 tcp,nw_dst=169.254.169.254,tp_dst=80: METADATA
        METADATA 10 ip: ip_src=10.0.0.0 move:NXM_OF_ETH_SRC[0..7]->NXM_OF_IP_SRC[16..23] \
        move:SOURCE_ZONE->NXM_OF_IP_SRC[0..15] eth_src=02:5c:e0:00:00:01 eth_dst=02:5c:e0:00:00:02 output:4
        """,
    ),
    (
        MetadataClient(0x1234, VM, VM_IP),
        """
        METADATA_BACK 10 tcp,nw_src=169.254.169.254,nw_dst=10.10.18.52,tp_src=80: ip_dst=10.0.1.10 \
        eth_src=02:5c:e0:00:00:01 eth_dst=02:00:00:00:00:0a output:4660
        """,
    ),
)


@pytest.mark.parametrize(("intent", "expected"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden(intent, expected):
    found = [in_words(flow) for flow in compile_intent(intent)]
    assert found == [" ".join(line.split()) for line in expected.strip().splitlines()]


def test_both_directions_are_mirrors():
    """The tracking of ingress is that of egress with the other port, and ends in OUTPUT, not ROUTE.

    DHCP goes one way only, and so does the question for closed destinations.
    """
    lines = [in_words(flow).replace("DESTINATIONS", "EGRESS_GROUPS") for flow in compile_intent(Bridge(1, 2))]
    found = [line for line in lines if "SENDER_SHARE" not in line]
    egress = [line for line in found if line.startswith("EGRESS")]
    ingress = [line for line in found if line.startswith("INGRESS")]
    mirror = [
        line.replace("EGRESS", "INGRESS").replace("SOURCE_ZONE", "DESTINATION_ZONE").replace("ROUTE", "OUTPUT")
        for line in egress
    ]
    assert ingress == mirror
    assert len(egress) > 10


def test_a_prefix_list_is_one_remote_set():
    """Rules name the list, its entries are flows of their own; a list of IPv6 is nothing to IPv4 packets."""
    offices, six = PrefixList(5), PrefixList(6, 6)
    rules = frozenset({Rule(6, 22, 22, offices), Rule(6, 22, 22, six)})
    four, both = (Group(7, Direction.INGRESS, rules, ipv6) for ipv6 in (False, True))
    assert [in_words(one) for one in compile_intent(four)] == [
        "INGRESS_RULES 40 tcp,reg3=0x7,tp_dst=22: REMOTE_SET=0xc000000000000005 INGRESS_REMOTES"
    ]
    assert "REMOTE_SET=0xc000000100000006" in in_words(compile_intent(both)[1])
    entries = [Member(offices, prefix, Direction.INGRESS) for prefix in (Prefix(0xC6336400, 24), ANYWHERE)]
    entries.append(Member(six, Prefix(0xFD00 << 112, 8, 6), Direction.EGRESS))
    assert [in_words(compile_intent(entry)[0]) for entry in entries] == [
        "INGRESS_REMOTES 10 ip,reg8=0xc0000000,reg9=0x5,nw_src=198.51.100.0/24: VERDICT=0x1",
        "INGRESS_REMOTES 10 ip,reg8=0xc0000000,reg9=0x5: VERDICT=0x1",
        "EGRESS_REMOTES 10 ipv6,reg8=0xc0000001,reg9=0x6,ipv6_dst=fd00::/8: VERDICT=0x1",
    ]


def test_a_host_without_links():
    """No uplink and no fabric: nothing refers to them."""
    assert not [flow for flow in compile_intent(Bridge(None, None)) if "output:1" in in_words(flow)]
    tables = [TABLES[flow.table].name for flow in compile_intent(Bridge(None, None))]
    assert not {"CLASSIFY", "HAIRPIN"} & set(tables)


def test_a_flat_fabric():
    """Without tags nothing is tagged, and what comes from the fabric is known by its destination."""
    port = Port(10, VM, (VM_IP,), 5, (7,), flat=True)
    (arrival,) = [flow for flow in compile_intent(port) if TABLES[flow.table].name == "FABRIC_IN"]
    assert in_words(arrival) == "FABRIC_IN 10 vlan_tci=0x0000/0x1fff,dl_dst=02:00:00:00:00:0a: VPC=0x5 ROUTE"
    assert not [flow for flow in compile_intent(Network(5, NET, None)) if TABLES[flow.table].name == "FABRIC_IN"]
    (_, way) = compile_intent(Neighbour(5, PEER_IP, PEER, Remote(2, None), routed=False))
    assert in_words(way).endswith("nw_dst=10.0.1.11: output:2")


def test_a_neighbour_without_a_place():
    """It is known, so ARP is answered; there is no way to it yet."""
    (answer,) = compile_intent(Neighbour(5, PEER_IP, PEER, None, routed=True))
    assert in_words(answer).startswith("ARP ")


def test_a_port_without_groups():
    """Nobody allows anything, but it is asked: the verdict must not be left over from the sender's side."""
    flows = compile_intent(Port(10, VM, (VM_IP,), 5, ()))
    found = [in_words(flow) for flow in flows]
    assert "EGRESS_GROUPS 10 reg0=0xa: EGRESS_ACT" in found
    assert "INGRESS_GROUPS 10 reg1=0xa: VERDICT=0 INGRESS_ACT" in found


def test_two_addresses_of_a_port():
    found = [in_words(flow) for flow in compile_intent(Port(10, VM, (VM_IP, PEER_IP), 5, (7,)))]
    sources = [re.search(r"nw_src=([\d.]+)", line) for line in found]
    assert [source[1] for source in sources if source] == ["10.0.1.10", "10.0.1.11"]


def test_keeping_connections_adds_one_flow_per_direction():
    cut = set(compile_intent(Bridge(1, 2)))
    keep = set(compile_intent(Bridge(1, 2, Revocation.KEEP)))
    assert cut < keep
    assert sorted(flow.table for flow in keep - cut) == [EGRESS_STATE, INGRESS_STATE]
    assert all(flow.priority == 80 for flow in keep - cut)
