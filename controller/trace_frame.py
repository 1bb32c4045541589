"""The packets that a trace asks about, as ``ovs-appctl ofproto/trace`` (``ovs-vswitchd(8)``) reads them.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.reasons import Service
from controller.trace_text import Reading
from flowrules.addresses import version_of

_CLIENT_PORT = 40000
_ICMP = {1: ("icmp", "icmp"), 58: ("icmp6", "icmpv6")}
_PORTED = {6: "tcp", 17: "udp", 132: "sctp"}
_BROADCAST = "ff:ff:ff:ff:ff:ff"
#: Where solicitations go; the switch looks at what they ask for, not at the last bits of the group.
_SOLICITED_MAC, _SOLICITED = "33:33:ff:00:00:01", "ff02::1:ff00:1"


@dataclass(frozen=True, slots=True)
class Frame:
    """The header fields that the pipeline may change; MACs are text, ``vlan`` None = none.

    ``tunnel`` is the network of a tunnel and the address of the host that sent the packet by it, None = none.
    """

    eth_src: str
    eth_dst: str
    ip_src: str
    ip_dst: str
    ttl: int = 64
    vlan: int | None = None
    tunnel: tuple[int, str] | None = None


def flow_words(frame: Frame, service: Service) -> str:
    """The first packet of a connection."""
    six = version_of(frame.ip_dst) == 6
    if service.protocol in _ICMP:
        name, prefix = _ICMP[service.protocol]
        words = [f"{name},{prefix}_type={service.port},{prefix}_code={service.code}"]
    elif service.protocol in _PORTED:
        name = _PORTED[service.protocol]
        words = [f"{name}{'6' if six else ''},{name}_src={_CLIENT_PORT},{name}_dst={service.port}"]
    else:
        words = [f"{'ipv6' if six else 'ip'},nw_proto={service.protocol}"]
    words.append(f"dl_src={frame.eth_src},dl_dst={frame.eth_dst}")
    source, destination = ("ipv6_src", "ipv6_dst") if six else ("nw_src", "nw_dst")
    words.append(f"{source}={frame.ip_src},{destination}={frame.ip_dst},nw_ttl={frame.ttl}")
    if frame.vlan is not None:
        words.append(f"dl_vlan={frame.vlan}")
    if frame.tunnel is not None:
        words.append(f"tun_id={frame.tunnel[0]:#x},tun_src={frame.tunnel[1]}")
    return ",".join(words)


def question_for(asker: tuple[str, str], target: str) -> tuple[str, str]:
    """Who has ``target``, asked by a MAC and address: the packet, and the field of the answer that says it."""
    mac, source = asker
    if version_of(target) == 4:
        said = f"arp_op=1,arp_sha={mac},arp_spa={source},arp_tpa={target}"
        return f"arp,dl_src={mac},dl_dst={_BROADCAST},{said}", "arp_sha"
    said = f"icmpv6_type=135,icmpv6_code=0,nd_target={target},nd_sll={mac}"
    ends = f"dl_src={mac},dl_dst={_SOLICITED_MAC},ipv6_src={source},ipv6_dst={_SOLICITED}"
    return f"icmp6,{ends},nw_ttl=255,{said}", "nd_tll"


def leaving(reading: Reading, frame: Frame) -> Frame:
    """What a packet has become behind a bridge."""
    vlan = reading.field("dl_vlan")
    return Frame(
        reading.field("dl_src") or frame.eth_src,
        reading.field("dl_dst") or frame.eth_dst,
        reading.field("nw_src") or reading.field("ipv6_src") or frame.ip_src,
        reading.field("nw_dst") or reading.field("ipv6_dst") or frame.ip_dst,
        int(reading.field("nw_ttl") or frame.ttl),
        int(vlan) if vlan else None,
        None if reading.tunnel is None else (reading.tunnel, ""),
    )
