"""Fragments that every bridge has, and those of VPCs and their gateways."""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import (
    Action,
    Ct,
    Load,
    Move,
    Output,
    OutputInPort,
    OutputTo,
    PopVlan,
    Resubmit,
    SetField,
)
from flowrules.addresses import ROUTER_MAC
from flowrules.compile_destinations import network_destinations
from flowrules.compile_dhcp import broadcast_dhcp, gateway_dhcp
from flowrules.compile_icmp import icmp_repair
from flowrules.compile_ipv6 import answer_solicitation, guard
from flowrules.compile_share import what_it_wants
from flowrules.fields import CtState, EtherType, Subfield
from flowrules.flow import Flow, Match, flow, match
from flowrules.intent import Bridge, Gateway, Ipv6Bridge, Network, Peer, Revocation
from flowrules.template import Declaration, template

NO_VLAN = 0x0000
VLAN_PRESENT = 0x1000
ARP_REQUEST = 1
ARP_REPLY = 2

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_IPV6 = match(f.ETH_TYPE, EtherType.IPV6)


def compile_bridge(bridge: Bridge) -> tuple[Flow, ...]:
    """The flows that do not depend on any tenant's object."""
    flows = (
        *_entrances(bridge),
        _address_probe(),
        *_tracking(),
        *_leaving(bridge),
        *icmp_repair(),
        *broadcast_dhcp(),
        *what_it_wants(),
    )
    if bridge.revocation is Revocation.KEEP:
        return (*flows, _live_on(t.EGRESS_STATE, t.ROUTE), _live_on(t.INGRESS_STATE, t.OUTPUT))
    return flows


def _entrances(bridge: Bridge) -> list[Flow]:
    flows: list[Flow] = []
    if bridge.uplink is not None:
        untagged = (match(f.IN_PORT, bridge.uplink), match(f.VLAN_VID, NO_VLAN))
        flows.append(flow(t.CLASSIFY, 100, untagged, [Resubmit(t.EXTERNAL_IN)]))
    if bridge.fabric is not None:
        actions: list[Action] = [Load(f.FROM_FABRIC, 1), Resubmit(t.FABRIC_IN)]
        flows.append(flow(t.CLASSIFY, 100, [match(f.IN_PORT, bridge.fabric)], actions))
    return flows


def _address_probe() -> Flow:
    """Whoever has no address yet may ask who has one (RFC 5227); it asks for the MAC that it sends from."""
    probe = (match(f.ETH_TYPE, EtherType.ARP), match(f.ARP_SPA, 0))
    return flow(t.SPOOF, 10, probe, [Move(f.ETH_SRC.whole, f.ARP_SHA.whole), Resubmit(t.ARP)])


def _leaving(bridge: Bridge) -> list[Flow]:
    to_router = (match(f.ETH_DST, ROUTER_MAC), _IPV4, match(f.FROM_FABRIC, 0))
    flows = [
        flow(t.ROUTE, 40, to_router, [Resubmit(t.ELASTIC_OUT)]),
        # The ingress port is cleared because Open vSwitch never sends a packet back where it came from.
        flow(t.OUTPUT, 1, (), [Load(f.NXM_IN_PORT.whole, 0), OutputTo(f.DESTINATION_ZONE)]),
    ]
    if bridge.uplink is not None:
        flows.append(flow(t.HAIRPIN, 1, (), [Output(bridge.uplink)]))
    return flows


def _tracking() -> list[Flow]:
    egress = _track(t.EGRESS_TRACK, t.EGRESS_STATE, t.DESTINATIONS, t.EGRESS_ACT, t.ROUTE, f.SOURCE_ZONE)
    ingress = _track(t.INGRESS_TRACK, t.INGRESS_STATE, t.INGRESS_GROUPS, t.INGRESS_ACT, t.OUTPUT, f.DESTINATION_ZONE)
    return [*egress, *ingress]


def _track(track: int, state: int, judges: int, act: int, onward: int, zone: Subfield) -> list[Flow]:
    return [
        flow(track, 1, [_IPV4], [Ct(zone=zone, table=state)]),
        *_by_state(state, judges, onward),
        *_by_verdict(act, onward, zone, _IPV4),
        flow(act, 1, (), []),
    ]


def compile_ipv6_bridge(_bridge: Ipv6Bridge) -> tuple[Flow, ...]:
    """The flows that do not depend on any tenant's object but serve IPv6 alone."""
    sides = (
        (t.EGRESS_TRACK, t.EGRESS_STATE, t.EGRESS_ACT, t.ROUTE, f.SOURCE_ZONE),
        (t.INGRESS_TRACK, t.INGRESS_STATE, t.INGRESS_ACT, t.OUTPUT, f.DESTINATION_ZONE),
    )
    flows = guard()
    for track, state, act, onward, zone in sides:
        flows.append(flow(track, 1, [_IPV6], [Ct(zone=zone, table=state)]))
        flows += _by_verdict(act, onward, zone, _IPV6)
    return tuple(flows)


def _state(must: int, must_not: int = 0) -> Match:
    return match(f.CT_STATE, must, must | must_not)


def _by_state(table: int, judges: int, onward: int) -> list[Flow]:
    invalid = _state(CtState.TRACKED | CtState.INVALID)
    related = _state(CtState.TRACKED | CtState.RELATED, CtState.INVALID)
    reply = _state(CtState.TRACKED | CtState.ESTABLISHED | CtState.REPLY, CtState.INVALID | CtState.RELATED)
    allowed, blocked = match(f.BLOCKED, 0), match(f.BLOCKED, 1)
    return [
        flow(table, 100, [invalid], []),
        flow(table, 90, [related, allowed], [Resubmit(onward)]),
        flow(table, 90, [related, blocked], []),
        flow(table, 80, [reply, allowed], [Resubmit(onward)]),
        flow(table, 80, [reply, blocked], []),
        flow(table, 10, [_state(CtState.TRACKED)], [Resubmit(judges)]),
    ]


def _live_on(state: int, onward: int) -> Flow:
    """The opener's packets of an established connection are not judged again, so nothing marks it either.

    A connection that was blocked before still is: it comes back when a rule allows it.
    """
    opener = _state(CtState.TRACKED | CtState.ESTABLISHED, CtState.INVALID | CtState.RELATED | CtState.REPLY)
    return flow(state, 80, [opener, match(f.BLOCKED, 0)], [Resubmit(onward)])


def _by_verdict(table: int, onward: int, zone: Subfield, family: Match) -> list[Flow]:
    # Open vSwitch takes a ct action only behind a match on the IP version.
    new = _state(CtState.TRACKED | CtState.NEW)
    established = _state(CtState.TRACKED | CtState.ESTABLISHED)
    yes, no = match(f.VERDICT, 1), match(f.VERDICT, 0)
    unblock = Ct(zone=zone, commit=True, mark=Load(f.BLOCKED, 0))
    block = Ct(zone=zone, commit=True, mark=Load(f.BLOCKED, 1))
    return [
        flow(table, 10, [family, yes, new], [Ct(zone=zone, commit=True), Resubmit(onward)]),
        flow(table, 10, [family, yes, established, match(f.BLOCKED, 0)], [Resubmit(onward)]),
        flow(table, 10, [family, yes, established, match(f.BLOCKED, 1)], [unblock, Resubmit(onward)]),
        flow(table, 10, [family, no, established, match(f.BLOCKED, 0)], [block]),
    ]


def compile_network(network: Network) -> tuple[Flow, ...]:
    """A VPC as a whole: its tag on the fabric; its private addresses neither leave nor come by an elastic IP."""
    vpc, address, mask = match(f.VPC, network.vpc), network.prefix.address, network.prefix.mask
    to_router = match(f.ETH_DST, ROUTER_MAC)
    flows = [
        flow(t.ROUTE, 50, [vpc, to_router, _IPV4, match(f.IPV4_DST, address, mask)], []),
        # Rules speak of private addresses, so one forged outside would be taken for a member of the VPC.
        flow(t.INGRESS_TRACK, 10, [vpc, match(f.VIA_ELASTIC_IP, 1), _IPV4, match(f.IPV4_SRC, address, mask)], []),
        network_destinations(network),
    ]
    if network.vni is not None:
        # Inside a tunnel a frame has no tag; one that has is nobody's.
        inner = [match(f.TUN_ID, network.vni), match(f.VLAN_VID, NO_VLAN)]
        flows.append(flow(t.FABRIC_IN, 10, inner, [Load(f.VPC, network.vpc), Resubmit(t.ROUTE)]))
    if network.vlan is not None:
        actions: list[Action] = [PopVlan(), Load(f.VPC, network.vpc), Resubmit(t.ROUTE)]
        flows.append(flow(t.FABRIC_IN, 10, [match(f.VLAN_VID, VLAN_PRESENT | network.vlan)], actions))
    return tuple(flows)


def compile_peer(peer: Peer) -> tuple[Flow, ...]:
    """Another host at the far end of the tunnels; whoever else sends tunnel packets is not listened to."""
    known = (match(f.IN_PORT, peer.fabric), match(f.TUN_SRC, peer.address))
    return (flow(t.CLASSIFY, 100, known, [Load(f.FROM_FABRIC, 1), Resubmit(t.FABRIC_IN)]),)


def compile_gateway(gateway: Gateway) -> tuple[Flow, ...]:
    """The virtual router answers for its address in a subnet."""
    flows = [answer_arp(gateway.vpc, gateway.address, ROUTER_MAC), gateway_dhcp(gateway.vpc, gateway.address)]
    if gateway.ipv6 is not None:
        flows.append(answer_solicitation(gateway.vpc, gateway.ipv6, ROUTER_MAC))
    return tuple(flows)


def answer_arp(vpc: int, address: int, mac: int, owner: int | None = None) -> Flow:
    """Answer a request for ``address`` inside ``vpc`` with ``mac`` (RFC 826).

    The local port ``owner`` of the address hears nothing: who probes for its own must not think it taken.
    """
    return _answer_all(vpc, address, mac) if owner is None else _answer_others(vpc, address, mac, owner)


@template
def _answer_all(vpc: int, address: int, mac: int) -> Declaration:
    return Declaration(t.ARP, 100, _asked_for(vpc, address), arp_reply(address, mac))


@template
def _answer_others(vpc: int, address: int, mac: int, owner: int) -> Declaration:
    # A packet never leaves by the port that it is said to have come in by (ovs-actions(7), "output").
    back: list[Action] = [Load(f.NXM_IN_PORT.whole, owner), OutputTo(f.SOURCE_ZONE)]
    return Declaration(t.ARP, 100, _asked_for(vpc, address), [*_arp_answer(address, mac), *back])


def _asked_for(vpc: int, address: int) -> tuple[Match, ...]:
    return (
        match(f.ETH_TYPE, EtherType.ARP),
        match(f.VPC, vpc),
        match(f.ARP_OP, ARP_REQUEST),
        match(f.ARP_TPA, address),
    )


def arp_reply(address: int, mac: int) -> list[Action]:
    """Turn the ARP request at hand into its answer and send it back."""
    return [*_arp_answer(address, mac), OutputInPort()]


_BACK_TO_SENDER = Move(f.ETH_SRC.whole, f.ETH_DST.whole)
_THE_ANSWER = (
    SetField(f.ARP_OP, ARP_REPLY),
    Move(f.ARP_SHA.whole, f.ARP_THA.whole),
    Move(f.ARP_SPA.whole, f.ARP_TPA.whole),
)


def _arp_answer(address: int, mac: int) -> list[Action]:
    told = (SetField(f.ARP_SHA, mac), SetField(f.ARP_SPA, address))
    return [_BACK_TO_SENDER, SetField(f.ETH_SRC, mac), *_THE_ANSWER, *told]
