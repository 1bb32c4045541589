"""Which addresses instances may open connections to, and which are the operator's own.

An elastic IP leads to the uplink, and behind the uplink may be more than the Internet: hypervisors, the controller, the
networks of whoever runs the cloud.  The special ranges below are where such things live, so they are closed unless the
operator opens them, and a pool's own network is open, for in a private cloud that may be a private range.  Gateways of
pools and far ends of tunnels are closed wherever they are; they open only by their whole address.

A closed destination is judged as one that no rule allows: what is open is marked blocked.
"""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Resubmit
from flowrules.fields import EtherType
from flowrules.flow import Flow, Match, flow, match
from flowrules.intent import Destinations, Network, Prefix

#: RFC 6890 and its registry: "this network", private, shared, loopback, link-local, multicast, reserved.
CLOSED = tuple(
    Prefix(first << 24 | second << 16, length)
    for first, second, length in (
        (0, 0, 8),
        (10, 0, 8),
        (100, 64, 10),
        (127, 0, 8),
        (169, 254, 16),
        (172, 16, 12),
        (192, 168, 16),
        (224, 0, 4),
        (240, 0, 4),
    )
)

_VPC, _NAMED, _KNOWN, _OPEN, _CLOSED = 50, 40, 30, 20, 10
_WHOLE = 32


def compile_destinations(destinations: Destinations) -> tuple[Flow, ...]:
    """The operator's policy, the same on every bridge."""
    named = {one for one in destinations.open if one.length == _WHOLE}
    known = destinations.closed - named
    return (
        *(_passes(_NAMED, one) for one in sorted(named)),
        *(_ends(_KNOWN, one) for one in sorted(known)),
        *(_passes(_OPEN, one) for one in sorted(destinations.open - named)),
        *(_ends(_CLOSED, one) for one in CLOSED),
        flow(t.DESTINATIONS, 1, (), [Resubmit(t.EGRESS_GROUPS)]),
    )


def network_destinations(network: Network) -> Flow:
    """Inside a VPC everything may be reached, whatever its range is used for outside."""
    inside = (match(f.VPC, network.vpc), *_to(network.prefix))
    return flow(t.DESTINATIONS, _VPC, inside, [Resubmit(t.EGRESS_GROUPS)])


def _passes(priority: int, prefix: Prefix) -> Flow:
    return flow(t.DESTINATIONS, priority, _to(prefix), [Resubmit(t.EGRESS_GROUPS)])


def _ends(priority: int, prefix: Prefix) -> Flow:
    return flow(t.DESTINATIONS, priority, _to(prefix), [Resubmit(t.EGRESS_ACT)])


def _to(prefix: Prefix) -> tuple[Match, ...]:
    ipv4 = match(f.ETH_TYPE, EtherType.IPV4)
    # Everywhere is no field to match.
    return (ipv4, match(f.IPV4_DST, prefix.address, prefix.mask)) if prefix.length else (ipv4,)
