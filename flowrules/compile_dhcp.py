"""The way of DHCP: a client's broadcast, and what it sends to its gateway, goes before the controller."""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Resubmit, ToController
from flowrules.dhcp import CLIENT_PORT, EVERYONE, SERVER_PORT
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, flow, match

_NO_ADDRESS = 0
_CLIENT = (
    match(f.ETH_TYPE, EtherType.IPV4),
    match(f.IP_PROTO, IpProtocol.UDP),
    match(f.UDP_SRC, CLIENT_PORT),
    match(f.UDP_DST, SERVER_PORT),
)


def broadcast_dhcp() -> tuple[Flow, ...]:
    """What every bridge has: a client without an address, and one that has it and has forgotten its server."""
    everyone = (*_CLIENT, match(f.IPV4_DST, EVERYONE))
    return (
        flow(t.SPOOF, 10, [*everyone, match(f.IPV4_SRC, _NO_ADDRESS)], [Resubmit(t.SENDER_SHARE)]),
        flow(t.EGRESS_TRACK, 10, everyone, [Resubmit(t.SENDER_SHARE)]),
        flow(t.DHCP, 1, (), [ToController()]),
    )


def gateway_dhcp(vpc: int, gateway: int) -> Flow:
    """What every gateway has: a client that renews."""
    asked = [match(f.VPC, vpc), *_CLIENT, match(f.IPV4_DST, gateway)]
    return flow(t.EGRESS_TRACK, 10, asked, [Resubmit(t.SENDER_SHARE)])
