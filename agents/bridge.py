"""Desired bridge against observed bridge: what to do, and what to leave to a person.

Pure.  A bridge that is there is *live*: its flows carry traffic.  Open vSwitch empties a flow table when the first
controller is set, when the last one goes and when ``fail_mode`` changes, and rebuilds the bridge when ``datapath_type``
changes.  So on a live bridge only five things are ever done, all of which keep the flows: one controller target is
replaced by another, the timing of a controller is set, a missing port is added, the agent's own port is replaced, the
files for TLS are named.
Everything else that differs becomes a problem that names the mend.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from agents.rows import BridgeRow, ControllerRow, Database, SslRow

PROTOCOL = "OpenFlow13"
TUNNEL = "vxlan"
TUNNEL_OPTIONS = {"remote_ip": "flow", "key": "flow"}
"""One tunnel port serves all hosts and networks: the flows name both (``ovs-fields(7)``, "Tunnel Fields")."""
INACTIVITY_PROBE_MS = 5000
"""Silence after which the switch probes the controller, and after as long again gives the connection up."""
MAX_BACKOFF_MS = 1000
"""Longest wait of the switch between two tries to connect; the smallest OVSDB takes."""


@dataclass(frozen=True, slots=True)
class DesiredBridge:
    """How the bridge shall be.

    ``controller`` is an OpenFlow target such as ``tcp:10.0.0.1:6653``.  ``dpid`` is 16 hexadecimal digits, or None to
    leave the choice to Open vSwitch; ``datapath_type`` None likewise on a live bridge, and the default on a new one.
    ``fabric_mode`` is ``vlan``, ``flat`` or ``vxlan``; with the last one ``fabric`` is the name of a tunnel port that
    is made when it is not there, and ``fabric_ip`` the address of this host that its peers send to.  ``metadata`` is
    the port of the metadata service, which takes the place and the number of ``retired``, its port before.  ``ssl``
    are the files for a controller that speaks TLS.
    """

    name: str
    controller: str
    datapath_type: str | None = None
    dpid: str | None = None
    uplink: str | None = None
    fabric: str | None = None
    fabric_mode: str = "vlan"
    fabric_ip: str | None = None
    metadata: str | None = None
    retired: str | None = None
    ssl: SslRow | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the ports the bridge needs besides the instances' ones."""
        return tuple(port for port in (self.uplink, self.fabric, self.metadata) if port is not None)

    def kind(self, port: str) -> str:
        """The type of interface that a port needs, as in the column ``type``; "" is a device of the system."""
        return TUNNEL if port == self.fabric and self.fabric_mode == TUNNEL else ""

    @property
    def other_config(self) -> dict[str, str]:
        """The ``other_config`` keys that matter, with their values."""
        config = {"disable-in-band": "true"}
        if self.dpid is not None:
            config["datapath-id"] = self.dpid
        return config

    @property
    def controller_row(self) -> ControllerRow:
        """The controller with its timing."""
        return ControllerRow(self.controller, INACTIVITY_PROBE_MS, MAX_BACKOFF_MS)


@dataclass(frozen=True, slots=True)
class CreateBridge:
    """Create the bridge whole, in one transaction, so that it never exists without its safeguards."""

    bridge: DesiredBridge
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetController:
    """Give the one controller row of the bridge these values."""

    row: ControllerRow


@dataclass(frozen=True, slots=True)
class AddPort:
    """Add a port to the live bridge; ``kind`` is its interface's ``type``."""

    name: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ReplacePort:
    """Take port ``old`` away and add another one in its place, with its OpenFlow number (None = any)."""

    old: str
    name: str
    ofport: int | None


@dataclass(frozen=True, slots=True)
class SetSsl:
    """Name the files for TLS; Open vSwitch reads them when their names change."""

    row: SslRow


Operation = CreateBridge | SetController | AddPort | ReplacePort | SetSsl


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and what only a person should do."""

    operations: tuple[Operation, ...] = ()
    problems: tuple[str, ...] = ()


def plan(desired: DesiredBridge, observed: Database) -> Plan:
    """Return how to come from ``observed`` to ``desired``; carrying the operations out leaves none to do."""
    taken = tuple(port for port in desired.ports if port in observed.elsewhere)
    problems = tuple(
        f"port {port} is on bridge {observed.elsewhere[port]}; to free it: ovs-vsctl del-port {port}" for port in taken
    )
    free = tuple(port for port in desired.ports if port not in taken)
    securing, ssl_problems = _ssl(desired, observed)
    problems += ssl_problems
    live = observed.bridge
    if live is None:
        return Plan((*securing, CreateBridge(desired, free)), problems)
    held = live.ports | {interface.name for interface in live.interfaces}
    additions = tuple(_addition(desired, live, port) for port in free if port not in held)
    steering, controller_problems = _controller(desired, live)
    return Plan(securing + steering + additions, problems + controller_problems + _differences(desired, live))


def _ssl(desired: DesiredBridge, observed: Database) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
    """Name our files for TLS; those of somebody else are left, as his connections need them."""
    if desired.ssl is None or observed.ssl == desired.ssl:
        return (), ()
    # Each certificate has a folder of its own in ours.
    if observed.ssl is not None and _home(observed.ssl) != _home(desired.ssl):
        theirs = f"Open vSwitch uses the key {observed.ssl.private_key} of somebody else for TLS"
        return (), (f"{theirs}; if nothing needs it: ovs-vsctl del-ssl",)
    return (SetSsl(desired.ssl),), ()


def _home(row: SslRow) -> PurePath:
    return PurePath(row.private_key).parent.parent


def _addition(desired: DesiredBridge, live: BridgeRow, port: str) -> Operation:
    """Add a port; one that stands for another takes its number, so that no flow changes."""
    if port == desired.metadata and desired.retired is not None and desired.retired in live.ports:
        numbers = {row.name: row.ofport for row in live.interfaces}
        number = numbers.get(desired.retired)
        return ReplacePort(desired.retired, port, number if number is not None and number > 0 else None)
    return AddPort(port, desired.kind(port))


def _controller(desired: DesiredBridge, live: BridgeRow) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
    match live.controllers:
        case (only,):
            return (() if only == desired.controller_row else (SetController(desired.controller_row),)), ()
        case ():
            state = "has no controller"
        case several:
            state = f"has several controllers ({', '.join(sorted(row.target for row in several))})"
    mend = f"ovs-vsctl set-controller {live.name} {desired.controller}"
    return (), (f"bridge {live.name} {state}; to mend, which may empty its flow tables: {mend}",)


def _differences(desired: DesiredBridge, live: BridgeRow) -> tuple[str, ...]:
    def problem(what: str, is_now: str, command: str) -> str:
        return f"bridge {live.name} has {what} {is_now or 'unset'}; to mend, which may empty its flow tables: {command}"

    set_bridge = f"ovs-vsctl set bridge {live.name}"
    found = []
    if live.fail_mode != "secure":
        found.append(problem("fail_mode", live.fail_mode or "", f"ovs-vsctl set-fail-mode {live.name} secure"))
    kind = desired.datapath_type
    if kind is not None and _kind(live.datapath_type) != _kind(kind):
        found.append(problem("datapath_type", _kind(live.datapath_type), f"{set_bridge} datapath_type={kind}"))
    if live.protocols and PROTOCOL not in live.protocols:
        found.append(problem("protocols", ",".join(sorted(live.protocols)), f"{set_bridge} protocols={PROTOCOL}"))
    for key, value in desired.other_config.items():
        is_now = live.other_config.get(key, "")
        if is_now.lower() != value:
            found.append(problem(f"other_config:{key}", is_now, f"{set_bridge} other_config:{key}={value}"))
    return (*found, *_wrong_kind(desired, live))


def _wrong_kind(desired: DesiredBridge, live: BridgeRow) -> tuple[str, ...]:
    """The fabric port is there but leads into no tunnel, or into a tunnel although it should not."""
    found = []
    for row in live.interfaces:
        if row.name == desired.fabric:
            tunnel = row.kind == TUNNEL and row.options >= TUNNEL_OPTIONS.items()
            if tunnel if desired.fabric_mode != TUNNEL else not tunnel:
                made = f"ovs-vsctl del-port {live.name} {row.name}"
                found.append(
                    f"port {row.name} does not suit a {desired.fabric_mode} fabric; to have it made anew: {made}"
                )
    return tuple(found)


def _kind(datapath_type: str) -> str:
    return datapath_type or "system"
