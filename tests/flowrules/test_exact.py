"""Numbers that must be exactly what the standards and Open vSwitch say, and the same examples in every run."""

import pytest
from ryu.ofproto import ofproto_v1_3, ofproto_v1_4

from flowrules import document, encode
from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Ct, Load, Move
from flowrules.addresses import ipv4_to_int
from flowrules.announce import announcement
from flowrules.compile_group import remote_set_id
from flowrules.compiler import compile_intent
from flowrules.conntrack import packet_of
from flowrules.encode import MessageType, flow_add, flow_stats_request
from flowrules.fields import EtherType, IpProtocol, Subfield
from flowrules.flow import flow, match
from flowrules.intent import (
    ANYWHERE,
    ANYWHERE_IPV6,
    Bridge,
    Direction,
    GroupMembers,
    Member,
    Neighbour,
    Network,
    Peer,
    Port,
    Prefix,
    Remote,
    Revocation,
    Rule,
)
from flowrules.judge import Connection
from flowrules.live import as_live, compare, decode_live_flows
from flowrules.text import match_text

NET = Prefix(ipv4_to_int("10.1.0.0"), 16)
SIX = Prefix(0xFD00 << 112, 64, 6)
EXAMPLES = (
    *document.example(),
    Port(4, 0x020000000004, (NET.address | 4,), 1, (1,), ipv6=(SIX.address | 4,)),
    *(Member(remote, remote, direction) for remote in (NET, SIX) for direction in Direction),
    *(Member(GroupMembers(7), Prefix(NET.address, 32), direction) for direction in Direction),
)
FLOWS = {one.key: one for intent in EXAMPLES for one in compile_intent(intent)}


def test_every_example_keeps_to_its_table_and_writes_named_state_alone():
    named = [piece for _, piece, _ in f.PIPELINE_STATE]
    for one in FLOWS.values():
        t.check(one)
        loads = [action for action in one.actions if isinstance(action, Load)]
        loads += [action.mark for action in one.actions if isinstance(action, Ct) and action.mark]
        assert {load.target for load in loads} <= {*named, f.NXM_IN_PORT.whole}


def test_message_types_are_openflows():
    """Ryu's constants are an independent copy of the standard."""
    for kind in MessageType:
        assert kind == getattr(ofproto_v1_3, f"OFPT_{kind.name}"), kind.name
    for control in encode.BundleControl:
        assert control == getattr(ofproto_v1_4, f"OFPBCT_{control.name}"), control.name


IPV4, IPV6, ARP = (match(f.ETH_TYPE, kind) for kind in (EtherType.IPV4, EtherType.IPV6, EtherType.ARP))
MOVED = [
    *(([], field) for field in (f.ETH_SRC, f.ETH_DST)),
    *(([IPV4], field) for field in (f.IPV4_SRC, f.IPV4_DST, f.IP_PROTO)),
    *(([IPV6], field) for field in (f.IPV6_SRC, f.IPV6_DST)),
    *(([ARP], field) for field in (f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.ARP_SHA, f.ARP_THA)),
    *(([IPV4, match(f.IP_PROTO, IpProtocol.TCP)], field) for field in (f.TCP_SRC, f.TCP_DST)),
    *(([IPV4, match(f.IP_PROTO, IpProtocol.UDP)], field) for field in (f.UDP_SRC, f.UDP_DST)),
    *(([IPV4, match(f.IP_PROTO, IpProtocol.ICMP)], field) for field in (f.ICMP_TYPE, f.ICMP_CODE)),
    *(([IPV6, match(f.IP_PROTO, IpProtocol.ICMPV6)], field) for field in (f.ICMPV6_TYPE, f.ICMPV6_CODE)),
]
SOLICITATION = [IPV6, match(f.IP_PROTO, IpProtocol.ICMPV6), match(f.ICMPV6_TYPE, 135), match(f.ICMPV6_CODE, 0)]
MOVED += [(SOLICITATION, field) for field in (f.ND_TARGET, f.ND_SLL)]
MOVED += [([*SOLICITATION[:2], match(f.ICMPV6_TYPE, 136), SOLICITATION[3]], f.ND_TLL)]


def test_a_switch_gives_every_move_back_as_it_was_sent(bridges):
    """By older names of the fields: what we read must compare as equal."""
    bridge, _ = bridges()
    desired = {}
    for number, (tests, field) in enumerate(MOVED):
        # 128 bits go to another field of that size; all else fits into a register pair.
        target = f.IPV6_DST.whole if field.bits == 128 else Subfield(f.XREG4, 0, field.bits)
        if field is f.IPV6_DST:
            target = f.IPV6_SRC.whole
        one = flow(1, 100 + number, tests, [Move(field.whole, target)])
        desired[one.key] = one
    assert bridge.bundle([flow_add(one) for one in desired.values()]) == []
    request = flow_stats_request(7) + encode.barrier_request(8)
    _, replies = bridge.connection.ask(request, MessageType.BARRIER_REPLY)
    live = [one for reply in replies for one in decode_live_flows(reply[16:])]
    assert len(live) == len(MOVED)
    assert compare(desired, live) == []


@pytest.mark.parametrize("one", FLOWS.values(), ids=lambda one: f"{one.table}-{one.priority}-{one.cookie & 0xFFFF:x}")
def test_the_instructions_of_a_live_flow_are_whole(one):
    """An apply-actions instruction (type 4) of its own length, or nothing at all."""
    found = as_live(one).instructions
    if one.actions or one.meter:
        kind = int.from_bytes(found[:2], "big")
        assert kind in (4, 6)
        assert kind == 6 or int.from_bytes(found[2:4], "big") == len(found)
    else:
        assert found == b""


@pytest.mark.parametrize("changed", [{"idle": 9}, {"hard": 9}, {"flags": 1}])
def test_a_timeout_or_flag_that_is_not_ours_is_seen(changed):
    (key, one), *_ = FLOWS.items()
    assert compare({key: one}, [as_live(one)]) == []
    assert len(compare({key: one}, [as_live(one)._replace(**changed)])) == 1


def test_tests_of_two_parts_of_one_field_are_one():
    via, fabric = match(f.VIA_ELASTIC_IP, 1), match(f.FROM_FABRIC, 1)
    (item,) = flow(40, 1, [via, fabric], []).matches
    assert (item.value, item.mask) == (via.value | fabric.value, via.mask | fabric.mask)
    assert via.value and fabric.value and via.value != fabric.value
    with pytest.raises(ValueError, match="twice"):
        flow(40, 1, [via, via], [])


@pytest.mark.parametrize(
    ("protocol", "first", "last"),
    [
        (256, None, None),
        (-2, None, None),
        (6, -1, 80),
        (6, 80, 65536),
        (1, -2, -1),
        (1, 256, -1),
        (1, 8, 256),
        (58, 256, 0),
    ],
)
def test_a_rule_beyond_its_protocols_numbers_is_refused(protocol, first, last):
    with pytest.raises(ValueError):
        Rule(protocol, first, last, ANYWHERE)


@pytest.mark.parametrize(
    ("protocol", "first", "last"),
    [(255, None, None), (-1, None, None), (6, 0, 65535), (1, -1, -1), (1, 255, 255), (58, 0, 0)],
)
def test_a_rule_at_the_edge_of_its_protocols_numbers_is_taken(protocol, first, last):
    assert Rule(protocol, first, last, ANYWHERE).protocol == protocol


def test_names_of_remote_sets():
    """Bits 63 and 62 say what kind it is; of a prefix follow length and address."""
    assert remote_set_id(GroupMembers(7)) == 7
    assert remote_set_id(NET) == 1 << 62 | 16 << 32 | NET.address
    assert remote_set_id(SIX) >> 62 == 2


def ones_complement(data):
    """The sum of RFC 1071, a carry at a time: all ones when the checksum in it is right."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2], "big")
        if total > 0xFFFF:
            total -= 0xFFFF
    return total


def test_a_checksum_whose_carry_carries_again_is_right():
    for port in range(0xFF80, 0x10000):
        frame = packet_of(Connection(17, 0xFFFFFFFF, 0xFFFF0000, port, 0))
        pseudo = frame[26:34] + b"\0\x11" + (len(frame) - 34).to_bytes(2, "big")
        assert ones_complement(frame[14:34]) == 0xFFFF
        assert ones_complement(pseudo + frame[34:]) == 0xFFFF, port


def test_an_announcement_says_how_long_its_addresses_are():
    """RFC 826: Ethernet (1) and IPv4 (0x0800), of 6 and of 4 bytes; it is a request (1) by RFC 5227."""
    frame = announcement(ipv4_to_int("198.51.100.64"))
    assert frame[12:22] == bytes.fromhex("0806 0001 0800 06 04 0001".replace(" ", ""))


def test_kept_connections_are_those_that_were_not_blocked():
    more = set(compile_intent(Bridge(1, 2, Revocation.KEEP))) - set(compile_intent(Bridge(1, 2)))
    assert {match_text(one.matches) for one in more} == {"ct_state=+est-rel-rpl-inv+trk,ct_mark=0/0x1"}


def test_anywhere_is_everywhere():
    assert (Prefix(0, 0, 4), Prefix(0, 0, 6)) == (ANYWHERE, ANYWHERE_IPV6)
    assert (ANYWHERE_IPV6.address, ANYWHERE_IPV6.length, ANYWHERE_IPV6.version) == (0, 0, 6)


@pytest.mark.parametrize("vlan", [2, 105, 4094])
def test_a_vlan_is_the_same_number_on_both_sides_of_the_fabric(vlan, ofp_print):
    (arriving,) = [one for one in compile_intent(Network(3, NET, vlan)) if one.table == t.FABRIC_IN]
    assert f" dl_vlan={vlan} " in f"{ofp_print(flow_add(arriving)).replace(',', ' ')} "
    leaving = [ofp_print(flow_add(one)) for one in compile_intent(Neighbour(3, 9, 5, Remote(2, vlan), routed=True))]
    assert any(f"set_field:{0x1000 + vlan}->vlan_vid" in said for said in leaving)


def test_tunnel_packets_are_taken_from_the_peer_alone(ofp_print):
    (taken,) = compile_intent(Peer(2, ipv4_to_int("10.9.0.2")))
    assert "priority=100,tun_src=10.9.0.2,in_port=2 " in ofp_print(flow_add(taken))


NAMES = {f.TUN_ID: "TUN_ID", f.TUN_SRC: "TUN_IPV4_SRC", f.TUN_DST: "TUN_IPV4_DST"}
NAMES |= {field: field.name.upper() for name, field in vars(f).items() if name.startswith("REG")}


@pytest.mark.parametrize("field", NAMES, ids=lambda field: field.name)
def test_fields_of_tunnels_and_registers_are_open_vswitches(field, ofp_print):
    assert f"load:0x7->NXM_NX_{NAMES[field]}[]" in ofp_print(flow_add(flow(1, 1, [], [Load(field.whole, 7)])))
