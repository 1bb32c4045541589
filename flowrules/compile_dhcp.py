"""The way of DHCP: a client's broadcast, and what it sends to its gateway, goes before the controller."""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Resubmit, ToController
from flowrules.dhcp import CLIENT_PORT, EVERYONE, SERVER_PORT
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, flow, match
from flowrules.meters import sent_by

_NO_ADDRESS = 0
_CLIENT = (
    match(f.ETH_TYPE, EtherType.IPV4),
    match(f.IP_PROTO, IpProtocol.UDP),
    match(f.UDP_SRC, CLIENT_PORT),
    match(f.UDP_DST, SERVER_PORT),
)


def broadcast_dhcp() -> Flow:
    """What every bridge has: a client that has its address already and has forgotten its server."""
    return flow(t.EGRESS_TRACK, 10, [*_CLIENT, match(f.IPV4_DST, EVERYONE)], [Resubmit(t.DHCP)])


def gateway_dhcp(vpc: int, gateway: int) -> Flow:
    """What every gateway has: a client that renews."""
    asked = [match(f.VPC, vpc), *_CLIENT, match(f.IPV4_DST, gateway)]
    return flow(t.EGRESS_TRACK, 10, asked, [Resubmit(t.DHCP)])


def port_dhcp(ofport: int, mac: int) -> tuple[Flow, Flow]:
    """What every port has: it may ask without an address, within its share of the controller's time."""
    nobody_yet = (
        match(f.IN_PORT, ofport),
        match(f.ETH_SRC, mac),
        match(f.IPV4_SRC, _NO_ADDRESS),
        match(f.IPV4_DST, EVERYONE),
    )
    return (
        flow(t.SPOOF, 10, [*nobody_yet, *_CLIENT], [Resubmit(t.DHCP)]),
        flow(t.DHCP, 10, [match(f.SOURCE_PORT, ofport)], [ToController()], sent_by(ofport)),
    )
