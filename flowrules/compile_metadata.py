"""The way to the instance metadata service of the host, and back.

Whoever comes here has passed SPOOF, so the port says who asks.  Private addresses do not: two VPCs may both have one.
So the source becomes an address of :data:`CLIENTS` that names the port, and the service knows its caller by it.  The
connection is not tracked: no rule of a group is needed, and none that goes may cut it.
"""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Action, Move, Output, Resubmit, SetField
from flowrules.addresses import ROUTER_MAC, ipv4_to_int, mac_to_int
from flowrules.compile_host import ARP_REQUEST, NO_VLAN, arp_reply
from flowrules.fields import EtherType, IpProtocol, Subfield
from flowrules.flow import Flow, flow, match
from flowrules.intent import Metadata, MetadataClient
from flowrules.template import Declaration, template

#: Where instances look for their metadata ("Access instance metadata", Amazon EC2 User Guide).
SERVICE = ipv4_to_int("169.254.169.254")
SERVICE_PORT = 80
#: The MAC of the service, at the far end of its port.
SERVICE_MAC = mac_to_int("02:5c:e0:00:00:02")
#: 10.M.P.P: M is the last byte of the sender's MAC and P its port; seen between the switch and the service alone.
CLIENTS = ipv4_to_int("10.0.0.0")

_MAC_BYTE = (Subfield(f.ETH_SRC, 0, 8), Subfield(f.IPV4_SRC, 16, 8))
_PORT = (f.SOURCE_ZONE, Subfield(f.IPV4_SRC, 0, 16))
_TCP = (match(f.ETH_TYPE, EtherType.IPV4), match(f.IP_PROTO, IpProtocol.TCP))


def client_address(ofport: int, mac: int) -> int:
    """The source under which the service sees a port.

    The byte of the MAC keeps what is still under way for a port that has gone from the next port of that number.
    """
    return CLIENTS | (mac & 0xFF) << 16 | ofport & 0xFFFF


def compile_metadata(metadata: Metadata) -> tuple[Flow, ...]:
    """What a host has once: the way in, the door of the way back, and ARP for guests that look on their own link."""
    asked = [*_TCP, match(f.IPV4_DST, SERVICE), match(f.TCP_DST, SERVICE_PORT)]
    on_link = (
        match(f.ETH_TYPE, EtherType.ARP),
        match(f.ARP_OP, ARP_REQUEST),
        match(f.ARP_TPA, SERVICE),
    )
    onward: list[Action] = [
        SetField(f.IPV4_SRC, CLIENTS),
        Move(*_MAC_BYTE),
        Move(*_PORT),
        SetField(f.ETH_SRC, ROUTER_MAC),
        SetField(f.ETH_DST, SERVICE_MAC),
        Output(metadata.port),
    ]
    entrance = (match(f.IN_PORT, metadata.port), match(f.VLAN_VID, NO_VLAN))
    return (
        flow(t.CLASSIFY, 100, entrance, [Resubmit(t.METADATA_BACK)]),
        flow(t.ARP, 100, on_link, arp_reply(SERVICE, ROUTER_MAC)),
        flow(t.EGRESS_TRACK, 10, asked, [Resubmit(t.METADATA)]),
        # Open vSwitch takes a change of an address only behind a match on the IP version.
        flow(t.METADATA, 10, _TCP[:1], onward),
    )


def compile_metadata_client(client: MetadataClient) -> tuple[Flow, ...]:
    """The way back to one port, for answers of the service alone."""
    return (_home(client_address(client.ofport, client.mac), client.address, client.mac, client.ofport),)


@template
def _home(named: int, address: int, mac: int, ofport: int) -> Declaration:
    answer = (*_TCP, match(f.IPV4_SRC, SERVICE), match(f.TCP_SRC, SERVICE_PORT), match(f.IPV4_DST, named))
    home: list[Action] = [
        SetField(f.IPV4_DST, address),
        SetField(f.ETH_SRC, ROUTER_MAC),
        SetField(f.ETH_DST, mac),
        Output(ofport),
    ]
    return Declaration(t.METADATA_BACK, 10, answer, home)
