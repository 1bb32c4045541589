"""Reads what ``ofproto/trace`` says (``ovs-vswitchd(8)``): where a frame leaves, and how it looks then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DATAPATH_ACTIONS = re.compile(r"^Datapath actions: (.*)$", re.MULTILINE)
_TUNNEL_PORT = re.compile(r"tnl_push\(tnl_port\((\d+)\)")
_TUNNEL = re.compile(
    r"tnl_push\(.*?ipv4\(src=[^,]*,dst=(?P<far>[^,]*),.*?vxlan\(flags=[^,]*,vni=(?P<number>0x[0-9a-f]+)"
)
_FLOWS = re.compile(r"^(?:Final flow|Flow): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Frame:
    """The header fields that the pipeline may change; ``vlan`` None = untagged, ``tunnel`` is number and far end."""

    eth_src: str
    eth_dst: str
    ip_src: str
    ip_dst: str
    vlan: int | None = None
    ttl: int = 64
    tunnel: tuple[str, str] | None = None


def outputs(text: str, numbers: Mapping[int, int]) -> list[int]:
    """The OpenFlow ports that a frame leaves by; ``numbers`` are those of the bridge by datapath port."""
    return [numbers[port] for actions in _DATAPATH_ACTIONS.findall(text) for port in _outputs(actions, numbers)]


def final_flow(text: str) -> str:
    """The packet after the last action of the last lap ("unchanged" = as the lap began)."""
    return str([flow for flow in _FLOWS.findall(text) if flow != "unchanged"][-1])


def _outputs(actions: str, known: Mapping[int, int]) -> Iterator[int]:
    """Datapath ports among the actions: bare numbers outside of all brackets.

    Of a tunnel it is the tunnel's own; that its packets leave by a port of the bridge below (not ``known``) is no news.
    """
    tunnels = [int(number) for number in _TUNNEL_PORT.findall(actions)]
    yield from tunnels
    flat, before = actions, ""
    while flat != before:
        flat, before = re.sub(r"\([^()]*\)", "", flat), flat
    ports = (int(word) for word in flat.split(",") if word.isdigit())
    yield from (port for port in ports if not tunnels or port in known)


def field_of(flow: str, name: str) -> str:
    """The value of a field of a flow, "" = it has none."""
    found = re.search(rf"(?:^|,){name}=([^,]*)", flow)
    return str(found[1]) if found else ""


def frame_of(flow: str) -> Frame:
    """The header fields of a flow."""
    vlan = field_of(flow, "dl_vlan")
    source = field_of(flow, "nw_src") or field_of(flow, "ipv6_src")
    destination = field_of(flow, "nw_dst") or field_of(flow, "ipv6_dst")
    ttl = int(field_of(flow, "nw_ttl"))
    return Frame(
        field_of(flow, "dl_src"), field_of(flow, "dl_dst"), source, destination, int(vlan) if vlan else None, ttl
    )


def tunnel_of(text: str) -> tuple[str, str] | None:
    """Number and far end of the tunnel that the packet leaves by."""
    found = _TUNNEL.search(text)
    return (found["number"], found["far"]) if found else None
