"""IPv6 fragments: what an instance may send, and neighbour discovery (RFC 4861) answered in flows.

An instance sends from its own addresses.  A link-local source (any: guests choose theirs in many ways) is good for one
thing, neighbour solicitations; nothing is ever sent to a link-local address.  As everyone who asks is answered here, no
instance has a reason to advertise: router and neighbour advertisements, redirects, router solicitations, what a DHCPv6
server would say, and all other multicast end at SPOOF.  So do the probes for duplicate addresses (source ``::``),
which is why they find none.
"""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Move, OutputInPort, Resubmit, SetField
from flowrules.addresses import IPV6_MULTICAST, LINK_LOCAL
from flowrules.compile_share import another_lap
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, flow, match
from flowrules.intent import Port
from flowrules.template import Declaration, template

_IPV6 = match(f.ETH_TYPE, EtherType.IPV6)
_ICMPV6 = (_IPV6, match(f.IP_PROTO, IpProtocol.ICMPV6))
_ROUTER_SOLICITATION = 133
_SOLICITATION = 135
_ADVERTISEMENT = 136
_REDIRECT = 137
_TARGET_LINK_LAYER_ADDRESS = 2
_SOLICITED_AND_OVERRIDE = 0x6000_0000
_DHCPV6_SERVER = 547


def guard() -> list[Flow]:
    """What no instance sends, whoever it says it is, and the way of the solicitations that are left."""
    discovery = range(_ROUTER_SOLICITATION, _REDIRECT + 1)
    server = (_IPV6, match(f.IP_PROTO, IpProtocol.UDP), match(f.UDP_SRC, _DHCPV6_SERVER))
    solicitation = [*_ICMPV6, match(f.ICMPV6_TYPE, _SOLICITATION)]
    # Only behind a match on an advertisement does Open vSwitch write what an advertisement says.
    answered = (SetField(f.ICMPV6_TYPE, _ADVERTISEMENT), Resubmit(t.ND))
    return [
        *(flow(t.SPOOF, 100, [*_ICMPV6, match(f.ICMPV6_TYPE, kind)], []) for kind in discovery),
        flow(t.SPOOF, 100, server, []),
        flow(t.SPOOF, 100, [_IPV6, match(f.IPV6_DST, *IPV6_MULTICAST)], []),
        another_lap(),
        flow(t.ND, 110, solicitation, answered),
    ]


def compile_ipv6_sender(port: Port) -> list[Flow]:
    """What a local port may send as by IPv6; nothing when it has no address."""
    if not port.ipv6:
        return []
    source = match(f.IN_PORT, port.ofport)
    own = [match(f.IPV6_SRC, address) for address in port.ipv6]
    asking = (*_ICMPV6, match(f.ICMPV6_TYPE, _SOLICITATION), match(f.ICMPV6_CODE, 0), match(f.ND_SLL, port.mac))
    solicits = [
        flow(t.SPOOF, 110, [source, sender, *asking], [Resubmit(t.SENDER_SHARE)])
        for sender in (*own, match(f.IPV6_SRC, *LINK_LOCAL))
    ]
    sends = [flow(t.SPOOF, 10, [source, sender, _IPV6], [Resubmit(t.EGRESS_TRACK)]) for sender in own]
    return [*solicits, *sends]


@template
def answer_solicitation(vpc: int, address: int, mac: int) -> Declaration:
    """Answer a solicitation for ``address`` inside ``vpc`` with ``mac`` (RFC 4861 section 7.2.4).

    The solicitation at hand, an advertisement by type already, becomes the answer: its option with the sender's
    link-layer address turns into the one with the target's.
    """
    asked = (
        *_ICMPV6,
        match(f.VPC, vpc),
        match(f.ICMPV6_TYPE, _ADVERTISEMENT),
        match(f.ND_TARGET, address),
    )
    answer = (
        Move(f.ETH_SRC.whole, f.ETH_DST.whole),
        SetField(f.ETH_SRC, mac),
        Move(f.IPV6_SRC.whole, f.IPV6_DST.whole),
        SetField(f.IPV6_SRC, address),
        SetField(f.ND_RESERVED, _SOLICITED_AND_OVERRIDE),
        SetField(f.ND_OPTIONS_TYPE, _TARGET_LINK_LAYER_ADDRESS),
        SetField(f.ND_TLL, mac),
        OutputInPort(),
    )
    return Declaration(t.ND, 100, asked, answer)
