"""The flow tables: number, name, purpose, what a flow there may match and where it may send a packet.

``check`` holds every flow to its table's declaration, so that a compiler that strays fails its tests at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flowrules import fields as f
from flowrules.actions import Ct, Resubmit
from flowrules.fields import Field
from flowrules.flow import Flow


@dataclass(frozen=True, slots=True)
class Table:
    """Declaration of one flow table.

    ``matches`` are the fields a flow may test, ``leads_to`` the numbers of the tables it may send a packet to.
    """

    number: int
    name: str
    purpose: str
    matches: frozenset[Field]
    leads_to: frozenset[int]


CLASSIFY = 0
EXTERNAL_IN = 5
ICMP_IN = 6
FABRIC_IN = 7
ICMP_IN_PORT = 8
ICMP_IN_HOST = 9
SPOOF = 10
ARP = 12
EGRESS_TRACK = 15
METADATA = 16
METADATA_BACK = 17
EGRESS_STATE = 18
DESTINATIONS = 20
EGRESS_GROUPS = 21
EGRESS_RULES = 22
EGRESS_ACT = 23
EGRESS_REMOTES = 24
ROUTE = 30
ICMP_OUT = 31
ELASTIC_OUT = 32
HAIRPIN = 33
SENDER_SHARE = 35
SENDER_ASKS = 36
DHCP = 37
ND = 38
ICMP_OUT_REPAIR = 39
INGRESS_TRACK = 40
INGRESS_STATE = 41
INGRESS_GROUPS = 42
INGRESS_RULES = 43
INGRESS_REMOTES = 44
INGRESS_ACT = 45
OUTPUT = 50

_PORTS = (f.TCP_DST, f.UDP_DST, f.SCTP_DST, f.ICMP_TYPE, f.ICMP_CODE, f.ICMPV6_TYPE, f.ICMPV6_CODE)
_CLIENT = (f.IP_PROTO, f.UDP_SRC, f.UDP_DST)
_RULES = (f.REG3, f.ETH_TYPE, f.IP_PROTO, *_PORTS)
_ACT = (f.ETH_TYPE, f.REG5, f.CT_STATE, f.CT_MARK)


def _table(number: int, name: str, purpose: str, matches: Iterable[Field], *leads_to: int) -> Table:
    return Table(number, name, purpose, frozenset(matches), frozenset(leads_to))


TABLES: dict[int, Table] = {
    table.number: table
    for table in (
        _table(
            CLASSIFY,
            "CLASSIFY",
            "Which port did the packet come from?  Unknown ports, unknown tunnel peers, tagged frames of instances and "
            "frames with a MAC that is not the instance's end here.",
            (f.IN_PORT, f.VLAN_VID, f.ETH_SRC, f.TUN_SRC),
            EXTERNAL_IN,
            FABRIC_IN,
            SPOOF,
            METADATA_BACK,
        ),
        _table(
            EXTERNAL_IN,
            "EXTERNAL_IN",
            "From the public network: answers ARP for the elastic IPs of this host and rewrites their packets to the "
            "private address.",
            (f.ETH_TYPE, f.ETH_DST, f.ARP_OP, f.ARP_TPA, f.IPV4_DST),
            ICMP_IN,
        ),
        _table(
            ICMP_IN,
            "ICMP_IN",
            "ICMP errors quote the packet that they are about, and the quotation still names the elastic IP: they are "
            "repaired by the controller and come back to INGRESS_TRACK, where all else goes at once.",
            (f.ETH_TYPE, f.IP_PROTO, f.ICMP_TYPE),
            ICMP_IN_PORT,
            INGRESS_TRACK,
        ),
        _table(
            FABRIC_IN,
            "FABRIC_IN",
            "From another hypervisor: which VPC is it (by VLAN tag, by tunnel network, or by MAC on a flat fabric)?",
            (f.VLAN_VID, f.TUN_ID, f.ETH_DST),
            ROUTE,
        ),
        _table(
            ICMP_IN_PORT,
            "ICMP_IN_PORT",
            "The share of one destination port: a flood at one elastic IP leaves the others theirs.",
            (f.REG1,),
            ICMP_IN_HOST,
        ),
        _table(ICMP_IN_HOST, "ICMP_IN_HOST", "The share of one host, and then before the controller.", ()),
        _table(
            SPOOF,
            "SPOOF",
            "An instance, whose MAC CLASSIFY has seen to, may only send from its addresses, and ARP and neighbour "
            "solicitations that say the same; before it has an address, DHCP and ARP probes.  Router and neighbour "
            "advertisements, redirects, DHCPv6 servers and IPv6 multicast end here.",
            (
                *(f.IN_PORT, f.ETH_TYPE, f.ARP_SHA, f.ARP_SPA, f.IPV4_SRC, f.IPV4_DST, *_CLIENT),
                *(f.IPV6_SRC, f.IPV6_DST, f.ICMPV6_TYPE, f.ICMPV6_CODE, f.ND_SLL),
            ),
            ARP,
            SENDER_SHARE,
            EGRESS_TRACK,
        ),
        _table(
            ARP,
            "ARP",
            "Answers ARP for gateways and known addresses of the VPC, but nobody for its own; nothing is flooded.",
            (f.ETH_TYPE, f.METADATA, f.ARP_OP, f.ARP_TPA),
        ),
        _table(
            EGRESS_TRACK,
            "EGRESS_TRACK",
            "Looks the connection up in the zone of the source port.  DHCP to everyone or to a gateway and the way to "
            "the metadata service need no rule and leave here.",
            (f.METADATA, f.ETH_TYPE, f.IPV4_DST, *_CLIENT, f.TCP_DST),
            SENDER_SHARE,
            METADATA,
            EGRESS_STATE,
        ),
        _table(
            METADATA,
            "METADATA",
            "To the host's metadata service, with a source that names the instance's port (and a byte of its MAC).",
            (f.ETH_TYPE,),
        ),
        _table(
            METADATA_BACK,
            "METADATA_BACK",
            "An answer of the metadata service goes to the port that its destination names; all else from there ends "
            "here.",
            (f.ETH_TYPE, f.IP_PROTO, f.IPV4_SRC, f.IPV4_DST, f.TCP_SRC),
        ),
        _table(
            EGRESS_STATE,
            "EGRESS_STATE",
            "Replies and related packets of a connection that is still allowed pass; the opener's packets are judged "
            "by the rules, every one of them (unless a cloud keeps connections whose rule has gone).",
            (f.CT_STATE, f.CT_MARK),
            ROUTE,
            DESTINATIONS,
        ),
        _table(
            DESTINATIONS,
            "DESTINATIONS",
            "May an instance of this cloud open connections to that address at all?  Its VPC yes; the operator's own "
            "networks no: private and special ranges outside the VPC, gateways of pools, other ends of tunnels.  Comes "
            "after EGRESS_STATE and before EGRESS_GROUPS, so that answers to whoever came from such a network pass.",
            (f.METADATA, f.ETH_TYPE, f.IPV4_DST),
            EGRESS_GROUPS,
            EGRESS_ACT,
        ),
        _table(
            EGRESS_GROUPS,
            "EGRESS_GROUPS",
            "Asks each security group of the source port, then acts.",
            (f.REG0,),
            EGRESS_RULES,
            EGRESS_ACT,
        ),
        _table(
            EGRESS_RULES,
            "EGRESS_RULES",
            "Rules of a group as disjoint cells: protocol and ports, each with the remote sets that may be reached.",
            _RULES,
            EGRESS_REMOTES,
        ),
        _table(
            EGRESS_ACT,
            "EGRESS_ACT",
            "Verdict x connection state x mark: commit, pass, unblock, block or drop.",
            _ACT,
            ROUTE,
        ),
        _table(
            EGRESS_REMOTES,
            "EGRESS_REMOTES",
            "Is the destination in the remote set?",
            (f.XREG4, f.ETH_TYPE, f.IPV4_DST, f.IPV6_DST),
        ),
        _table(
            ROUTE,
            "ROUTE",
            "Where to: a local port, another hypervisor, through the virtual router, or outside.",
            (f.METADATA, f.ETH_DST, f.ETH_TYPE, f.IPV4_DST, f.IPV6_DST, f.REG6),
            ROUTE,
            ELASTIC_OUT,
            INGRESS_TRACK,
        ),
        _table(
            ICMP_OUT,
            "ICMP_OUT",
            "As ICMP_IN for errors that an instance sends: their quotation names the private address.  Comes after "
            "ELASTIC_OUT.  Obsolete errors (source quench, redirect) are not repaired and end here.",
            (f.ETH_TYPE, f.IP_PROTO, f.ICMP_TYPE),
            HAIRPIN,
            SENDER_SHARE,
        ),
        _table(
            ELASTIC_OUT,
            "ELASTIC_OUT",
            "To the outside only with an elastic IP: the source becomes the elastic IP.",
            (f.REG0, f.ETH_TYPE, f.IPV4_SRC),
            ICMP_OUT,
        ),
        _table(
            HAIRPIN,
            "HAIRPIN",
            "An elastic IP of this same host is reached without leaving it; all else leaves by the uplink.",
            (f.ETH_TYPE, f.IPV4_DST),
            EXTERNAL_IN,
        ),
        _table(
            SENDER_SHARE,
            "SENDER_SHARE",
            "The share of one source port in all that costs more than a look into the datapath's cache: DHCP, ICMP "
            "errors to be repaired, neighbour solicitations.",
            (f.REG0,),
            SENDER_ASKS,
        ),
        _table(
            SENDER_ASKS,
            "SENDER_ASKS",
            "What did it want?  Solicitations come to ND by another lap through the datapath, so that those beyond the "
            "share are dropped there, before Open vSwitch has to make an answer.",
            (f.ETH_TYPE, f.IP_PROTO),
            DHCP,
            ND,
            ICMP_OUT_REPAIR,
        ),
        _table(DHCP, "DHCP", "Before the controller, which answers out of the port that asked.", ()),
        _table(
            ND,
            "ND",
            "Answers neighbour solicitations for gateways and known addresses of the VPC, once they have become "
            "advertisements; nothing is flooded.",
            (f.ETH_TYPE, f.METADATA, f.IP_PROTO, f.ICMPV6_TYPE, f.ND_TARGET),
            ND,
        ),
        _table(ICMP_OUT_REPAIR, "ICMP_OUT_REPAIR", "Before the controller; repaired errors come back to HAIRPIN.", ()),
        _table(
            INGRESS_TRACK,
            "INGRESS_TRACK",
            "Looks the connection up in the zone of the destination port.  What was sent to an elastic IP and claims "
            "to come from inside the VPC is forged, and dropped.",
            (f.ETH_TYPE, f.METADATA, f.REG6, f.IPV4_SRC),
            INGRESS_STATE,
        ),
        _table(
            INGRESS_STATE,
            "INGRESS_STATE",
            "As EGRESS_STATE, for the destination port.",
            (f.CT_STATE, f.CT_MARK),
            OUTPUT,
            INGRESS_GROUPS,
        ),
        _table(
            INGRESS_GROUPS,
            "INGRESS_GROUPS",
            "Asks each security group of the destination port, then acts.",
            (f.REG1,),
            INGRESS_RULES,
            INGRESS_ACT,
        ),
        _table(
            INGRESS_RULES,
            "INGRESS_RULES",
            "Rules of a group as disjoint cells: protocol and ports, each with the remote sets that may come in.",
            _RULES,
            INGRESS_REMOTES,
        ),
        _table(
            INGRESS_REMOTES,
            "INGRESS_REMOTES",
            "Is the source in the remote set?",
            (f.XREG4, f.ETH_TYPE, f.IPV4_SRC, f.IPV6_SRC),
        ),
        _table(
            INGRESS_ACT,
            "INGRESS_ACT",
            "Verdict x connection state x mark: commit, pass, unblock, block or drop.",
            _ACT,
            OUTPUT,
        ),
        _table(OUTPUT, "OUTPUT", "Out of the destination port, even if the packet came in by it.", ()),
    )
}


class UndeclaredFlowError(ValueError):
    """A flow matches a field or leads to a table that its table does not declare."""


def check(flow: Flow) -> None:
    """Hold ``flow`` to the declaration of its table; raises :class:`UndeclaredFlowError`."""
    table = TABLES.get(flow.table)
    if table is None:
        raise UndeclaredFlowError(f"there is no table {flow.table}")
    strange = {item.field for item in flow.matches} - table.matches
    if strange:
        raise UndeclaredFlowError(f"{table.name} may not match {sorted(field.name for field in strange)}")
    for action in flow.actions:
        target = action.table if isinstance(action, Resubmit | Ct) else None
        if target is not None and target not in table.leads_to:
            raise UndeclaredFlowError(f"{table.name} may not lead to table {target}")
