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
from flowrules.flow import Flow, Match, match
from flowrules.intent import ElasticIp, Local, Neighbour, Port, Tunnelled
from flowrules.template import Declaration, template

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_IPV6 = match(f.ETH_TYPE, EtherType.IPV6)
_ARP = match(f.ETH_TYPE, EtherType.ARP)


def compile_port(port: Port) -> tuple[Flow, ...]:
    """A local port: who it is, what it may send as, and which groups judge it."""
    flows = [
        _admission(port.ofport, port.mac, port.vpc),
        _egress_groups(port.ofport, groups=port.groups),
        _ingress_groups(port.ofport, groups=port.groups),
        receiver_share(port.ofport),
        sender_share(port.ofport),
    ]
    for address in port.addresses:
        flows += [_asks(port.ofport, port.mac, address), _sends(port.ofport, address)]
    flows += compile_ipv6_sender(port)
    if port.flat:
        flows.append(_arrival(port.mac, port.vpc))
    return tuple(flows)


@template
def _admission(ofport: int, mac: int, vpc: int) -> Declaration:
    itself = (match(f.IN_PORT, ofport), match(f.ETH_SRC, mac), match(f.VLAN_VID, NO_VLAN))
    return Declaration(t.CLASSIFY, 100, itself, [Load(f.SOURCE_PORT, ofport), Load(f.VPC, vpc), Resubmit(t.SPOOF)])


@template
def _egress_groups(ofport: int, *, groups: tuple[int, ...]) -> Declaration:
    asked = _ask(groups, t.EGRESS_RULES, t.EGRESS_ACT)
    return Declaration(t.EGRESS_GROUPS, 10, [match(f.SOURCE_PORT, ofport)], asked)


@template
def _ingress_groups(ofport: int, *, groups: tuple[int, ...]) -> Declaration:
    # The verdict of the egress side must not be taken for this side's.
    asked = [Load(f.VERDICT, 0), *_ask(groups, t.INGRESS_RULES, t.INGRESS_ACT)]
    return Declaration(t.INGRESS_GROUPS, 10, [match(f.DESTINATION_PORT, ofport)], asked)


@template
def _asks(ofport: int, mac: int, address: int) -> Declaration:
    request = (match(f.IN_PORT, ofport), _ARP, match(f.ARP_SHA, mac), match(f.ARP_SPA, address))
    return Declaration(t.SPOOF, 10, request, [Resubmit(t.ARP)])


@template
def _sends(ofport: int, address: int) -> Declaration:
    packet = (match(f.IN_PORT, ofport), _IPV4, match(f.IPV4_SRC, address))
    return Declaration(t.SPOOF, 10, packet, [Resubmit(t.EGRESS_TRACK)])


@template
def _arrival(mac: int, vpc: int) -> Declaration:
    untagged = (match(f.VLAN_VID, NO_VLAN), match(f.ETH_DST, mac))
    return Declaration(t.FABRIC_IN, 10, untagged, [Load(f.VPC, vpc), Resubmit(t.ROUTE)])


def _ask(groups: tuple[int, ...], rules: int, act: int) -> list[Action]:
    actions: list[Action] = []
    for group in groups:
        actions += [Load(f.GROUP, group), Resubmit(rules)]
    return [*actions, Resubmit(act)]


def compile_neighbour(neighbour: Neighbour) -> tuple[Flow, ...]:
    """A known address of a VPC: who asks for it is answered, and packets to it find their way."""
    vpc, mac, address, via, version = neighbour.vpc, neighbour.mac, neighbour.address, neighbour.via, neighbour.version
    if version == 4:
        flows = [answer_arp(vpc, address, mac, via.ofport if isinstance(via, Local) else None)]
    else:
        flows = [answer_solicitation(vpc, address, mac)]
    if via is None:
        return tuple(flows)
    if isinstance(via, Local):
        flows.append(_to_local(vpc, mac, address, via.ofport, version=version))
    elif isinstance(via, Tunnelled):
        flows.append(_to_tunnel(vpc, mac, address, via.vni, via.peer, via.fabric, version=version))
    elif via.vlan is None:
        flows.append(_to_fabric(vpc, mac, address, via.fabric, version=version))
    else:
        flows.append(_to_vlan(vpc, mac, address, VLAN_PRESENT | via.vlan, via.fabric, version=version))
    if neighbour.routed:
        flows.append(_by_router(vpc, address, mac, version=version))
    return tuple(flows)


def _addressed(vpc: int, mac: int, address: int, version: int) -> list[Match]:
    """Packets in ``vpc`` to ``address`` by way of ``mac``."""
    family, field = (_IPV4, f.IPV4_DST) if version == 4 else (_IPV6, f.IPV6_DST)
    return [match(f.VPC, vpc), match(f.ETH_DST, mac), family, match(field, address)]


#: Nothing that came from the fabric goes back to it.
_OWN = match(f.FROM_FABRIC, 0)


@template
def _to_local(vpc: int, mac: int, address: int, ofport: int, *, version: int) -> Declaration:
    there: list[Action] = [Load(f.DESTINATION_PORT, ofport), CtClear(), Resubmit(t.INGRESS_TRACK)]
    return Declaration(t.ROUTE, 100, _addressed(vpc, mac, address, version), there)


@template
def _to_tunnel(vpc: int, mac: int, address: int, vni: int, peer: int, fabric: int, *, version: int) -> Declaration:
    out: list[Action] = [SetField(f.TUN_ID, vni), SetField(f.TUN_DST, peer), Output(fabric)]
    return Declaration(t.ROUTE, 100, [*_addressed(vpc, mac, address, version), _OWN], out)


@template
def _to_fabric(vpc: int, mac: int, address: int, fabric: int, *, version: int) -> Declaration:
    return Declaration(t.ROUTE, 100, [*_addressed(vpc, mac, address, version), _OWN], [Output(fabric)])


@template
def _to_vlan(vpc: int, mac: int, address: int, tag: int, fabric: int, *, version: int) -> Declaration:
    out: list[Action] = [PushVlan(), SetField(f.VLAN_VID, tag), Output(fabric)]
    return Declaration(t.ROUTE, 100, [*_addressed(vpc, mac, address, version), _OWN], out)


@template
def _by_router(vpc: int, address: int, mac: int, *, version: int) -> Declaration:
    hop: list[Action] = [DecTtl(), SetField(f.ETH_SRC, ROUTER_MAC), SetField(f.ETH_DST, mac), Resubmit(t.ROUTE)]
    return Declaration(t.ROUTE, 90, [*_addressed(vpc, ROUTER_MAC, address, version), _OWN], hop)


def compile_elastic_ip(elastic: ElasticIp) -> tuple[Flow, ...]:
    """An elastic IP of a local port: stateless rewrite both ways, its ARP, and the short way from this same host."""
    public, mac = elastic.public, elastic_ip_mac(elastic.public)
    return (
        _answer_outside(public, mac),
        _inward(public, mac, elastic.private, elastic.mac, elastic.vpc, elastic.ofport),
        _outward(public, mac, elastic.private, elastic.ofport, elastic.gateway_mac),
        _hairpin(public, mac),
    )


@template
def _answer_outside(public: int, mac: int) -> Declaration:
    asked = (_ARP, match(f.ARP_OP, ARP_REQUEST), match(f.ARP_TPA, public))
    return Declaration(t.EXTERNAL_IN, 10, asked, arp_reply(public, mac))


@template
def _inward(public: int, mac: int, private: int, own: int, vpc: int, ofport: int) -> Declaration:
    inward: list[Action] = [
        DecTtl(),
        SetField(f.IPV4_DST, private),
        SetField(f.ETH_SRC, ROUTER_MAC),
        SetField(f.ETH_DST, own),
        Load(f.VPC, vpc),
        Load(f.DESTINATION_PORT, ofport),
        Load(f.VIA_ELASTIC_IP, 1),
        Load(f.REPLACED, public),
        Resubmit(t.ICMP_IN),
    ]
    return Declaration(t.EXTERNAL_IN, 10, [_IPV4, match(f.ETH_DST, mac), match(f.IPV4_DST, public)], inward)


@template
def _outward(public: int, mac: int, private: int, ofport: int, gateway: int) -> Declaration:
    outward: list[Action] = [
        CtClear(),
        DecTtl(),
        SetField(f.IPV4_SRC, public),
        SetField(f.ETH_SRC, mac),
        SetField(f.ETH_DST, gateway),
        Load(f.REPLACED, private),
        Resubmit(t.ICMP_OUT),
    ]
    sender = (match(f.SOURCE_PORT, ofport), _IPV4, match(f.IPV4_SRC, private))
    return Declaration(t.ELASTIC_OUT, 10, sender, outward)


@template
def _hairpin(public: int, mac: int) -> Declaration:
    back: list[Action] = [SetField(f.ETH_DST, mac), Resubmit(t.EXTERNAL_IN)]
    return Declaration(t.HAIRPIN, 10, [_IPV4, match(f.IPV4_DST, public)], back)
