"""Fragments of local ports, of neighbours in a VPC and of elastic IPs."""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Action, CtClear, DecTtl, Load, Output, PushVlan, Resubmit, SetField
from flowrules.addresses import ROUTER_MAC, elastic_ip_mac
from flowrules.compile_host import ARP_REQUEST, NO_VLAN, VLAN_PRESENT, answer_arp, arp_reply
from flowrules.compile_icmp import receiver_share
from flowrules.compile_ipv6 import answer_solicitation, compile_ipv6_sender
from flowrules.compile_share import sender_share
from flowrules.fields import EtherType
from flowrules.flow import Flow, flow, match
from flowrules.intent import ElasticIp, Local, Neighbour, Port, Remote, Tunnelled

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_IPV6 = match(f.ETH_TYPE, EtherType.IPV6)
_ARP = match(f.ETH_TYPE, EtherType.ARP)


def compile_port(port: Port) -> tuple[Flow, ...]:
    """A local port: who it is, what it may send as, and which groups judge it."""
    source = match(f.IN_PORT, port.ofport)
    itself = (source, match(f.ETH_SRC, port.mac), match(f.VLAN_VID, NO_VLAN))
    identity: list[Action] = [Load(f.SOURCE_PORT, port.ofport), Load(f.VPC, port.vpc), Resubmit(t.SPOOF)]
    flows = [
        flow(t.CLASSIFY, 100, itself, identity),
        flow(t.EGRESS_GROUPS, 10, [match(f.SOURCE_PORT, port.ofport)], _ask(port.groups, t.EGRESS_RULES, t.EGRESS_ACT)),
        flow(
            t.INGRESS_GROUPS,
            10,
            [match(f.DESTINATION_PORT, port.ofport)],
            # The verdict of the egress side must not be taken for this side's.
            [Load(f.VERDICT, 0), *_ask(port.groups, t.INGRESS_RULES, t.INGRESS_ACT)],
        ),
        receiver_share(port.ofport),
        sender_share(port.ofport),
    ]
    for address in port.addresses:
        asks = (source, _ARP, match(f.ARP_SHA, port.mac), match(f.ARP_SPA, address))
        sends = (source, _IPV4, match(f.IPV4_SRC, address))
        flows += [flow(t.SPOOF, 10, asks, [Resubmit(t.ARP)]), flow(t.SPOOF, 10, sends, [Resubmit(t.EGRESS_TRACK)])]
    flows += compile_ipv6_sender(port)
    if port.flat:
        actions: list[Action] = [Load(f.VPC, port.vpc), Resubmit(t.ROUTE)]
        untagged = (match(f.VLAN_VID, NO_VLAN), match(f.ETH_DST, port.mac))
        flows.append(flow(t.FABRIC_IN, 10, untagged, actions))
    return tuple(flows)


def _ask(groups: tuple[int, ...], rules: int, act: int) -> list[Action]:
    actions: list[Action] = []
    for group in groups:
        actions += [Load(f.GROUP, group), Resubmit(rules)]
    return [*actions, Resubmit(act)]


def compile_neighbour(neighbour: Neighbour) -> tuple[Flow, ...]:
    """A known address of a VPC: who asks for it is answered, and packets to it find their way."""
    vpc = match(f.VPC, neighbour.vpc)
    if neighbour.version == 4:
        owner = neighbour.via.ofport if isinstance(neighbour.via, Local) else None
        family, address = _IPV4, match(f.IPV4_DST, neighbour.address)
        flows = [answer_arp(neighbour.vpc, neighbour.address, neighbour.mac, owner)]
    else:
        family, address = _IPV6, match(f.IPV6_DST, neighbour.address)
        flows = [answer_solicitation(neighbour.vpc, neighbour.address, neighbour.mac)]
    if neighbour.via is None:
        return tuple(flows)
    direct = [vpc, match(f.ETH_DST, neighbour.mac), family, address]
    if not isinstance(neighbour.via, Local):
        # Nothing that came from the fabric goes back to it.
        direct.append(match(f.FROM_FABRIC, 0))
    flows.append(flow(t.ROUTE, 100, direct, _way(neighbour.via)))
    if neighbour.routed:
        via_router = (vpc, match(f.ETH_DST, ROUTER_MAC), family, address, match(f.FROM_FABRIC, 0))
        hop: list[Action] = [
            DecTtl(),
            SetField(f.ETH_SRC, ROUTER_MAC),
            SetField(f.ETH_DST, neighbour.mac),
            Resubmit(t.ROUTE),
        ]
        flows.append(flow(t.ROUTE, 90, via_router, hop))
    return tuple(flows)


def _way(via: Local | Remote | Tunnelled) -> list[Action]:
    if isinstance(via, Local):
        return [Load(f.DESTINATION_PORT, via.ofport), CtClear(), Resubmit(t.INGRESS_TRACK)]
    if isinstance(via, Tunnelled):
        return [SetField(f.TUN_ID, via.vni), SetField(f.TUN_DST, via.peer), Output(via.fabric)]
    if via.vlan is None:
        return [Output(via.fabric)]
    return [PushVlan(), SetField(f.VLAN_VID, VLAN_PRESENT | via.vlan), Output(via.fabric)]


def compile_elastic_ip(elastic: ElasticIp) -> tuple[Flow, ...]:
    """An elastic IP of a local port: stateless rewrite both ways, its ARP, and the short way from this same host."""
    mac = elastic_ip_mac(elastic.public)
    public = match(f.IPV4_DST, elastic.public)
    asked = (_ARP, match(f.ARP_OP, ARP_REQUEST), match(f.ARP_TPA, elastic.public))
    inward: list[Action] = [
        DecTtl(),
        SetField(f.IPV4_DST, elastic.private),
        SetField(f.ETH_SRC, ROUTER_MAC),
        SetField(f.ETH_DST, elastic.mac),
        Load(f.VPC, elastic.vpc),
        Load(f.DESTINATION_PORT, elastic.ofport),
        Load(f.VIA_ELASTIC_IP, 1),
        Load(f.REPLACED, elastic.public),
        Resubmit(t.ICMP_IN),
    ]
    outward: list[Action] = [
        CtClear(),
        DecTtl(),
        SetField(f.IPV4_SRC, elastic.public),
        SetField(f.ETH_SRC, mac),
        SetField(f.ETH_DST, elastic.gateway_mac),
        Load(f.REPLACED, elastic.private),
        Resubmit(t.ICMP_OUT),
    ]
    sender = (match(f.SOURCE_PORT, elastic.ofport), _IPV4, match(f.IPV4_SRC, elastic.private))
    return (
        flow(t.EXTERNAL_IN, 10, asked, arp_reply(elastic.public, mac)),
        flow(t.EXTERNAL_IN, 10, [_IPV4, match(f.ETH_DST, mac), public], inward),
        flow(t.ELASTIC_OUT, 10, sender, outward),
        flow(t.HAIRPIN, 10, [_IPV4, public], [SetField(f.ETH_DST, mac), Resubmit(t.EXTERNAL_IN)]),
    )
