"""Where repaired errors go, and which errors are sent before the controller, below which meter."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from flowrules import fields, tables
from flowrules.actions import ToController
from flowrules.addresses import ipv4_to_int
from flowrules.compile_icmp import icmp_repair, repaired_inbound, repaired_outbound
from flowrules.compiler import compile_intent
from flowrules.intent import Bridge, Ipv6Bridge, Port
from flowrules.meters import UPLINK_METER, sent_by, sent_to
from flowrules.packet_in import BY_ACTION, PacketIn
from flowrules.text import flow_text

PORT = Port(3, 0x0200_0000_000A, (ipv4_to_int("172.31.0.4"),), 7, (1,))
PUBLIC, PRIVATE, CLIENT = "198.51.100.64", "172.31.0.4", "203.0.113.10"


def shown(quoted_src, quoted_dst, src, dst, replaced):
    frame = Ether() / IP(src=src, dst=dst) / ICMP(type=3, code=3) / IP(src=quoted_src, dst=quoted_dst) / UDP()
    state = {
        fields.REPLACED: ipv4_to_int(replaced),
        fields.VPC: 7,
        fields.DESTINATION_PORT: 3,
        fields.VIA_ELASTIC_IP: 1,
    }
    values = {part.field.header: value << part.offset for part, value in state.items()}
    return PacketIn(BY_ACTION, tables.ICMP_IN_HOST, 0, values, bytes(frame))


def test_inbound_goes_on_to_the_connection_tracker_with_all_it_had(ofp_print):
    packet = shown(PUBLIC, CLIENT, CLIENT, PRIVATE, PUBLIC)
    said = ofp_print(repaired_inbound(packet))
    assert "actions=load:0x7->OXM_OF_METADATA[],load:0x3->NXM_NX_REG1[],load:0x1->NXM_NX_REG6[0],resubmit(,40) " in said
    assert f"data_len={len(packet.frame)}" in said
    assert repaired_inbound(shown(CLIENT, PUBLIC, CLIENT, PRIVATE, PUBLIC)) is None


def test_outbound_goes_on_to_the_way_out(ofp_print):
    assert "actions=resubmit(,33) " in ofp_print(repaired_outbound(shown(CLIENT, PRIVATE, PUBLIC, CLIENT, PRIVATE)))
    assert repaired_outbound(shown(PRIVATE, CLIENT, PUBLIC, CLIENT, PRIVATE)) is None


def test_whatever_goes_before_the_controller_is_below_a_meter():
    """Every way to a flow that shows packets leads by one with a meter, or the flow has one itself."""
    flows = [item for intent in (Bridge(1, 2), Ipv6Bridge(), PORT) for item in compile_intent(intent)]
    metered = {item.table for item in flows if item.meter}
    behind = metered | {target for table in metered for target in tables.TABLES[table].leads_to}
    showing = {item.table for item in flows if ToController() in item.actions}
    assert showing == {tables.ICMP_IN_HOST, tables.DHCP, tables.ICMP_OUT_REPAIR}
    for table in (tables.DHCP, tables.ICMP_OUT_REPAIR, tables.SENDER_ASKS):
        assert {other.number for other in tables.TABLES.values() if table in other.leads_to} <= behind
    assert {item.table: item.meter for item in flows if item.meter} == {
        tables.ICMP_IN_PORT: sent_to(3),
        tables.ICMP_IN_HOST: UPLINK_METER,
        tables.SENDER_SHARE: sent_by(3),
    }


@pytest.mark.parametrize(
    ("table", "share", "onward"),
    [
        (tables.ICMP_IN, tables.ICMP_IN_PORT, tables.INGRESS_TRACK),
        (tables.ICMP_OUT, tables.SENDER_SHARE, tables.HAIRPIN),
    ],
)
def test_errors_are_repaired_obsolete_ones_end_and_all_else_goes_on(table, share, onward):
    lines = sorted(
        line.split(" actions=")[0].split(",", 3)[3] + " " + line.split(" actions=")[1]
        for line in map(flow_text, icmp_repair())
        if line.startswith(f"table={table},priority=10,")
    )
    assert lines == sorted(
        [f"icmp,icmp_type={kind} resubmit(,{share})" for kind in (3, 11, 12)]
        + [f"icmp,icmp_type={kind} drop" for kind in (4, 5)]
    )
    (rest,) = [item for item in icmp_repair() if item.table == table and item.priority == 1]
    assert flow_text(rest).endswith(f" actions=resubmit(,{onward})")
