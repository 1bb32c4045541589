"""What the agents say about their hosts, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowrules.addresses import mac_to_int

#: OpenFlow 1.3 section 7.2.1: ports above this are reserved; conntrack zones have 16 bits as well.
MAX_OFPORT = 0xFEFF


class SnapshotError(ValueError):
    """An agent sent a snapshot that is not one; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a network interface is plugged in: OpenFlow port and the MAC the hypervisor attached.

    ``name`` of the port is for people and for the audit; it decides nothing.
    """

    ofport: int
    mac: int
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class HostPorts:
    """The ports of one bridge: ``uplink`` and ``fabric`` are ofports or None, ``interfaces`` maps eni- ids."""

    dpid: int
    bridge: str
    uplink: int | None = None
    fabric: int | None = None
    interfaces: Mapping[str, Binding] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


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
        if role in ("uplink", "fabric"):
            special[role] = ofport
        elif isinstance(interface, str) and interface:
            if interface in interfaces:
                problems.append(f"{interface} is plugged in twice; port {name} is left dark")
                continue
            try:
                interfaces[interface] = Binding(ofport, mac_to_int(str(port.get("mac"))), name)
            except ValueError:
                problems.append(f"port {name} ({interface}) has no valid attached-mac and is left dark")
    return HostPorts(dpid, bridge, special.get("uplink"), special.get("fabric"), interfaces, tuple(problems))


def _port(port: object) -> tuple[str, int]:
    if not isinstance(port, dict):
        raise SnapshotError("a port must be a map")
    name, ofport = port.get("name"), port.get("ofport")
    if not isinstance(name, str) or not isinstance(ofport, int) or not 0 < ofport <= MAX_OFPORT:
        raise SnapshotError(f"port {name!r} has no valid ofport ({ofport!r})")
    return name, ofport
