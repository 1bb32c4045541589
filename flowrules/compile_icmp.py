"""The way of ICMP errors through an elastic IP: to the controller, which repairs them, and back."""

from __future__ import annotations

from collections.abc import Iterator

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Load, Resubmit, ToController
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, Match, flow, match
from flowrules.icmp_repair import ERROR_TYPES, repair_inbound, repair_outbound
from flowrules.meters import UPLINK_METER, Meter, sent_to
from flowrules.packet_in import PacketIn, packet_out
from flowrules.template import Declaration, template

#: Source quench and redirect (RFC 6633, RFC 1812 section 5.2.7.2): they quote packets too, and nobody needs them.
_OBSOLETE_TYPES = (4, 5)


def icmp_repair() -> Iterator[Flow]:
    """What every bridge has."""
    for table, share, onward in (
        (t.ICMP_IN, t.ICMP_IN_PORT, t.INGRESS_TRACK),
        (t.ICMP_OUT, t.SENDER_SHARE, t.HAIRPIN),
    ):
        for kind in ERROR_TYPES:
            yield flow(table, 10, _icmp(kind), [Resubmit(share)])
        for kind in _OBSOLETE_TYPES:
            yield flow(table, 10, _icmp(kind), [])
        yield flow(table, 1, (), [Resubmit(onward)])
    yield flow(t.ICMP_IN_HOST, 1, (), [ToController()], UPLINK_METER)
    yield flow(t.ICMP_OUT_REPAIR, 1, (), [ToController()])


def receiver_share(ofport: int) -> Flow:
    """What every port has: its share of the controller's time in what strangers send to it."""
    return _receiver_share(ofport, sent_to(ofport))


@template
def _receiver_share(ofport: int, meter: Meter) -> Declaration:
    return Declaration(t.ICMP_IN_PORT, 10, [match(f.DESTINATION_PORT, ofport)], [Resubmit(t.ICMP_IN_HOST)], meter)


def _icmp(kind: int) -> tuple[Match, ...]:
    return match(f.ETH_TYPE, EtherType.IPV4), match(f.IP_PROTO, IpProtocol.ICMP), match(f.ICMP_TYPE, kind)


def repaired_inbound(packet: PacketIn) -> bytes | None:
    """The packet-out that brings an error from ICMP_IN_HOST back, repaired; None when there is nothing to repair.

    It goes to INGRESS_TRACK with all that it had, so the connection tracker judges what it claims to belong to.
    """
    frame = repair_inbound(packet.frame, packet.get(f.REPLACED))
    if frame is None:
        return None
    kept = (f.VPC, f.DESTINATION_PORT, f.VIA_ELASTIC_IP)
    return packet_out([*(Load(part, packet.get(part)) for part in kept), Resubmit(t.INGRESS_TRACK)], frame)


def repaired_outbound(packet: PacketIn) -> bytes | None:
    """As :func:`repaired_inbound`, from ICMP_OUT_REPAIR to HAIRPIN."""
    frame = repair_outbound(packet.frame, packet.get(f.REPLACED))
    return None if frame is None else packet_out([Resubmit(t.HAIRPIN)], frame)
