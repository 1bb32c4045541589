"""The share of a port in what costs more than a packet: the controller's time, and Open vSwitch's slow path.

One meter bounds all that an instance may ask for, whatever it is: DHCP, ICMP errors to be repaired, neighbour
solicitations.  Open vSwitch makes neighbour advertisements in userspace, packet by packet, and a meter of the same lap
would count only what has arrived there.  So a solicitation behind its meter takes another lap, by way of the connection
tracker, which leaves it as it is: what exceeds the share never leaves the datapath.
"""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Ct, Resubmit
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, flow, match
from flowrules.meters import Meter, sent_by
from flowrules.template import Declaration, template

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_ICMPV6 = (match(f.ETH_TYPE, EtherType.IPV6), match(f.IP_PROTO, IpProtocol.ICMPV6))


def sender_share(ofport: int) -> Flow:
    """What every port has: its share in what it asks for."""
    return _sender_share(ofport, sent_by(ofport))


@template
def _sender_share(ofport: int, meter: Meter) -> Declaration:
    return Declaration(t.SENDER_SHARE, 10, [match(f.SOURCE_PORT, ofport)], [Resubmit(t.SENDER_ASKS)], meter)


def what_it_wants() -> list[Flow]:
    """What every bridge has: from the meter on, each to its own."""
    return [
        flow(t.SENDER_ASKS, 10, [_IPV4, match(f.IP_PROTO, IpProtocol.UDP)], [Resubmit(t.DHCP)]),
        flow(t.SENDER_ASKS, 10, [_IPV4, match(f.IP_PROTO, IpProtocol.ICMP)], [Resubmit(t.ICMP_OUT_REPAIR)]),
    ]


def another_lap() -> Flow:
    """The way of solicitations, on bridges with IPv6."""
    return flow(t.SENDER_ASKS, 10, _ICMPV6, [Ct(zone=f.SOURCE_ZONE, table=t.ND)])
