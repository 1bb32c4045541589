"""The printed form of flows; that ovs-ofctl reads and prints the same is in test_encode.py."""

import pytest

from flowrules import fields
from flowrules.actions import Ct, Load, Move, Resubmit
from flowrules.fields import CtState, EtherType, IpProtocol, Subfield
from flowrules.flow import flow, match
from flowrules.text import flow_text, match_text


def test_a_line_for_add_flow():
    item = flow(
        20,
        100,
        [
            match(fields.ETH_TYPE, EtherType.IPV4),
            match(fields.IP_PROTO, IpProtocol.TCP),
            match(fields.CT_STATE, CtState.TRACKED | CtState.NEW, CtState.TRACKED | CtState.NEW | CtState.REPLY),
            match(fields.VERDICT, 1),
        ],
        [
            Ct(Subfield(fields.REG1, 0, 16), commit=True, mark=Load(fields.BLOCKED, 1)),
            Move(fields.ETH_SRC.whole, fields.ETH_DST.whole),
            Load(fields.NXM_IN_PORT.whole, 0),
            Resubmit(50),
        ],
    )
    assert flow_text(item) == (
        f"table=20,priority=100,cookie={item.cookie:#x},ct_state=+new-rpl+trk,tcp,reg5=0x1/0x1 actions="
        "ct(commit,zone=NXM_NX_REG1[0..15],exec(load:0x1->NXM_NX_CT_MARK[0])),"
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],load:0->NXM_OF_IN_PORT[],resubmit(,50)"
    )


def test_a_flow_without_match_and_actions():
    item = flow(0, 0, [], [])
    assert flow_text(item) == f"table=0,priority=0,cookie={item.cookie:#x} actions=drop"


@pytest.mark.parametrize(
    ("tests", "text"),
    [
        ([match(fields.IPV4_DST, 0x0A000000, 0xFF000000)], "nw_dst=10.0.0.0/8"),
        ([match(fields.IPV4_DST, 1, 3)], "nw_dst=0.0.0.1/0.0.0.3"),
        ([match(fields.ETH_DST, 1 << 40, 1 << 40)], "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
        ([match(fields.VLAN_VID, 0x1005)], "dl_vlan=5"),
        ([match(fields.VLAN_VID, 0)], "vlan_tci=0x0000/0x1fff"),
        ([match(fields.XREG4, 0x0000000200000003)], "reg8=0x2,reg9=0x3"),
        ([match(fields.REMOTE_SET.field, 5 << 32, 0xFF << 32)], "reg8=0x5/0xff"),
        ([match(fields.METADATA, 0, 0)], ""),
        ([match(fields.ETH_TYPE, EtherType.IPV6), match(fields.IP_PROTO, 58)], "icmp6"),
        ([match(fields.ETH_TYPE, EtherType.IPV4), match(fields.IP_PROTO, 47)], "ip,nw_proto=47"),
        ([match(fields.IN_PORT, 0xFFFFFFFE)], "in_port=LOCAL"),
    ],
)
def test_match_text(tests, text):
    assert match_text(tests) == text
