"""What the agents say about their hosts, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowrules.addresses import ipv4_to_int, mac_to_int

#: OpenFlow 1.3 section 7.2.1: ports above this are reserved; conntrack zones have 16 bits as well.
MAX_OFPORT = 0xFEFF


class SnapshotError(ValueError):
    """An agent sent a snapshot that is not one; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a network interface is plugged in: OpenFlow port, the MAC the hypervisor attached, carrier or none.

    ``name`` of the port is for people and for the audit; it decides nothing.
    """

    ofport: int
    mac: int
    link_up: bool = True
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class HostPorts:
    """The ports of one bridge: ``uplink``, ``fabric`` and ``metadata`` (of the metadata service) are ofports or None,
    ``interfaces`` maps eni- ids.

    ``mode`` says how the fabric tells networks apart: ``vlan``, ``flat`` or ``vxlan``, which needs ``tunnel_ip``, the
    address of this host that its peers send to.  ``gateways`` are MACs of gateways of the public network by address.
    """

    dpid: int
    bridge: str
    uplink: int | None = None
    fabric: int | None = None
    interfaces: Mapping[str, Binding] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    mode: str = "vlan"
    tunnel_ip: int | None = None
    gateways: Mapping[str, int] = field(default_factory=dict)
    metadata: int | None = None
    versions: tuple[str | None, str | None] = field(default=(None, None), compare=False)
    """Of Open vSwitch and of the agent, for people; None where it was not said."""


MODES = ("vlan", "vxlan", "flat")


def read_snapshot(message: Mapping[str, Any]) -> HostPorts:
    """A snapshot message (docs/architecture.md, "Messages") as a value; raises :class:`SnapshotError`."""
    dpid, bridge, ports = message.get("dpid"), message.get("bridge"), message.get("ports")
    if not isinstance(dpid, int) or not 0 < dpid < 1 << 64:
        raise SnapshotError(f"dpid {dpid!r} is not a datapath id")
    if not isinstance(bridge, str) or not isinstance(ports, list):
        raise SnapshotError("bridge must be a name and ports a list")
    said = message.get("problems") or []
    problems = [str(text) for text in said] if isinstance(said, list) else []
    special: dict[str, int] = {}
    interfaces: dict[str, Binding] = {}
    for port in ports:
        name, ofport = _port(port)
        role, interface = port.get("role"), port.get("iface_id")
        if role in ("uplink", "fabric", "metadata"):
            special[role] = ofport
        elif isinstance(interface, str) and interface:
            if interface in interfaces:
                problems.append(f"{interface} is plugged in twice; port {name} is left dark")
                continue
            try:
                mac = mac_to_int(str(port.get("mac")))
                interfaces[interface] = Binding(ofport, mac, port.get("link_up") is not False, name)
            except ValueError:
                problems.append(f"port {name} ({interface}) has no valid attached-mac and is left dark")
    mode, tunnel_ip = _fabric(message)
    uplink, fabric = special.get("uplink"), special.get("fabric")
    return HostPorts(
        dpid,
        bridge,
        uplink,
        fabric,
        interfaces,
        tuple(problems),
        mode,
        tunnel_ip,
        _gateways(message),
        special.get("metadata"),
        (_version(message.get("ovs_version")), _version(message.get("agent_version"))),
    )


def _version(said: object) -> str | None:
    return said[:64] if isinstance(said, str) else None


def _gateways(message: Mapping[str, Any]) -> dict[str, int]:
    said = message.get("gateways") or {}
    if not isinstance(said, dict):
        raise SnapshotError("gateways must be a map")
    try:
        return {str(address): mac_to_int(str(mac)) for address, mac in said.items()}
    except ValueError as error:
        raise SnapshotError(f"gateways: {error}") from error


def _fabric(message: Mapping[str, Any]) -> tuple[str, int | None]:
    mode, address = message.get("fabric_mode", "vlan"), message.get("fabric_ip")
    if mode not in MODES:
        raise SnapshotError(f"fabric_mode {mode!r} is none of {', '.join(MODES)}")
    if mode != "vxlan":
        return mode, None
    try:
        return mode, ipv4_to_int(str(address))
    except ValueError as error:
        raise SnapshotError(f"fabric_ip {address!r} is no IPv4 address") from error


def _port(port: object) -> tuple[str, int]:
    if not isinstance(port, dict):
        raise SnapshotError("a port must be a map")
    name, ofport = port.get("name"), port.get("ofport")
    if not isinstance(name, str) or not isinstance(ofport, int) or not 0 < ofport <= MAX_OFPORT:
        raise SnapshotError(f"port {name!r} has no valid ofport ({ofport!r})")
    return name, ofport
