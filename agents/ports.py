"""Interface rows of the bridge in, the body of a snapshot out.  Pure.

A port is an *instance* port when it carries an ``iface-id``; *uplink*, *fabric* and *metadata* are known by name.
Whatever else is on the bridge is not reported as a port, and so passes nothing; it is named among the problems instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agents.rows import Database, InterfaceRow

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MAX_OFPORT = 0xFEFF
"""Highest number of a real port: OpenFlow 1.0's ``OFPP_MAX`` less one, which ovs-vswitchd keeps to."""
_LONGEST_ID = 255
_METADATA = "metadata"
_LIBVIRT = re.compile(r"656e692d-0000-80([0-9a-f]{2})-8([0-9a-f]{3})-([0-9a-f]{12})")
"""How the compute worker writes the id of a network interface for libvirt, which takes UUIDs alone."""


@dataclass(frozen=True, slots=True)
class Port:
    """One port as reported to the controller.

    ``role`` is ``instance``, ``uplink``, ``fabric`` or ``metadata``.  ``iface_id`` is set for instances only; ``mac``
    (lower case, colons) for instances that have a valid one.
    """

    name: str
    ofport: int
    role: str
    iface_id: str | None
    mac: str | None
    link_up: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is to report about a bridge, without the sequence number."""

    dpid: int
    bridge: str
    ports: tuple[Port, ...]
    ovs_version: str | None
    problems: tuple[str, ...]
    fabric_mode: str = "vlan"
    fabric_ip: str | None = None
    gateways: tuple[tuple[str, str], ...] = ()
    agent_version: str | None = None

    def message(self, seq: int) -> dict[str, Any]:
        """Return the message to send, as in ``docs/architecture.md``."""
        ports = [
            {
                "name": port.name,
                "ofport": port.ofport,
                "role": port.role,
                "iface_id": port.iface_id,
                "mac": port.mac,
                "link_up": port.link_up,
            }
            for port in self.ports
        ]
        return {
            "type": "snapshot",
            "seq": seq,
            "dpid": self.dpid,
            "bridge": self.bridge,
            "ports": ports,
            "ovs_version": self.ovs_version,
            "agent_version": self.agent_version,
            "problems": list(self.problems),
            "fabric_mode": self.fabric_mode,
            "fabric_ip": self.fabric_ip,
            "gateways": dict(self.gateways),
        }


def snapshot(
    observed: Database,
    uplink: str | None,
    fabric: str | None,
    problems: Iterable[str],
    metadata: Iterable[str] = (),
) -> Snapshot | None:
    """Return what to report, ports by name; None while ovs-vswitchd has not set the bridge up.

    ``problems`` are put before those found among the ports.
    """
    bridge = observed.bridge
    if bridge is None or bridge.datapath_id is None:
        return None
    named = ((uplink, "uplink"), (fabric, "fabric"), *((name, _METADATA) for name in metadata))
    roles = {name: role for name, role in named if name is not None}
    found: list[str] = []
    ports: list[Port] = []
    for row in sorted(bridge.interfaces, key=lambda row: row.name):
        if row.name != bridge.name:
            port, problem = _port(row, roles.get(row.name))
            ports += [port] if port else []
            found += [problem] if problem else []
    kept, doubles = _one_per_interface(ports)
    return Snapshot(
        dpid=int(bridge.datapath_id, 16),
        bridge=bridge.name,
        ports=kept,
        ovs_version=observed.ovs_version,
        problems=(*problems, *found, *doubles),
    )


def _port(row: InterfaceRow, role: str | None) -> tuple[Port | None, str | None]:
    """Return the port, if it is one, and the problem with it, if there is one."""
    if role == _METADATA:
        return _metadata_port(row), None
    if row.ofport is None:  # ovs-vswitchd has not looked at it yet
        return None, None
    if not 0 < row.ofport <= _MAX_OFPORT:
        cause = " ".join(row.error.split()) if row.error else f"its port number is {row.ofport}"
        return None, f"port {row.name} is not open: {cause}"
    link_up = row.link_state == "up"
    if role is not None:
        return Port(row.name, row.ofport, role, None, None, link_up), None
    if not row.iface_id or len(row.iface_id) > _LONGEST_ID:
        fault = f"one of over {_LONGEST_ID} characters" if row.iface_id else "none"
        return None, f"port {row.name} passes nothing: it needs an external_ids:iface-id and has {fault}"
    mac, problem = _mac(row)
    return Port(row.name, row.ofport, "instance", interface_id(row.iface_id), mac, link_up), problem


def interface_id(iface_id: str) -> str:
    """Return the network interface that an ``iface-id`` names: itself, or what libvirt's UUID stands for."""
    match = _LIBVIRT.fullmatch(iface_id)
    return iface_id if match is None else f"eni-{''.join(match.groups())}"


def _metadata_port(row: InterfaceRow) -> Port | None:
    """The port of the metadata service; none while it is not open, for which the service itself has the words.

    One that has just been put in the place of another will have its number.
    """
    number = row.ofport_request if row.ofport is None else row.ofport
    if number is None or not 0 < number <= _MAX_OFPORT:
        return None
    return Port(row.name, number, _METADATA, None, None, row.link_state == "up")


def _mac(row: InterfaceRow) -> tuple[str | None, str | None]:
    mac = (row.attached_mac or "").lower()
    if mac and not _MAC.fullmatch(mac):
        return None, f"port {row.name} has an external_ids:attached-mac that is no MAC address"
    return mac or None, None


def _one_per_interface(ports: list[Port]) -> tuple[tuple[Port, ...], tuple[str, ...]]:
    """Keep one port per ``iface_id``: the one whose link is up, then the one that came last.

    A tap left behind by a crash carries the same id as the new one.
    """
    best: dict[str, Port] = {}
    for port in ports:
        if port.iface_id is not None:
            rival = best.get(port.iface_id)
            if rival is None or (port.link_up, port.ofport) > (rival.link_up, rival.ofport):
                best[port.iface_id] = port
    kept = tuple(port for port in ports if port.iface_id is None or best[port.iface_id] is port)
    problems = tuple(
        f"port {port.name} is left out: port {best[port.iface_id].name} has the same iface-id {port.iface_id}"
        for port in ports
        if port.iface_id is not None and best[port.iface_id] is not port
    )
    return kept, problems
