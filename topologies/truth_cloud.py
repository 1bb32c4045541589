"""A lab cloud as the truth table sees it: what the store says, and what the real switches answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from econe_api.store.accounts import create_account
from econe_api.store.engine import make_engine
from econe_api.store.feed import Feed
from econe_api.store.records import InterfaceRecord
from econe_api.store.store import Store
from topologies import layout
from topologies.cloud import Cloud
from topologies.control_plane import Keys
from topologies.dummy_switch import Unixctl
from topologies.oracle import State
from topologies.ovs import SWITCH
from topologies.verdicts import BridgePorts, Tracer, Wiring, guests

_BRIDGE = "br-int"


class LabSwitches:
    """The bridges of a lab, each named after its hypervisor; keeps a connection to every ovs-vswitchd."""

    def __init__(self, cloud: Cloud) -> None:
        self._controls = {
            host: Unixctl(switch.rundir / f"{SWITCH}.ctl") for host, switch in cloud.lab.hypervisors.items()
        }

    def ask(self, command: str, *parameters: str) -> str:
        """What ovs-appctl would say on the hypervisor that the first parameter names; without parameters on all."""
        if not parameters:
            each = self._controls.items()
            return "".join(control.ask(command).replace(f"  {_BRIDGE}:\n", f"  {host}:\n") for host, control in each)
        host, *rest = parameters
        return self._controls[host].ask(command, _BRIDGE, *rest)

    def close(self) -> None:
        """End the connections."""
        for control in self._controls.values():
            control.close()


@contextmanager
def lab_switches(cloud: Cloud) -> Iterator[LabSwitches]:
    """The switches for the length of a ``with``."""
    switches = LabSwitches(cloud)
    try:
        yield switches
    finally:
        switches.close()


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a bridge: its OpenFlow number, and the interface (``eni-``) plugged into it, if any."""

    host: str
    name: str
    ofport: int
    interface: str | None


def ports(cloud: Cloud) -> list[Port]:
    """The ports of every hypervisor's bridge, as its own database has them."""
    found = []
    for host, switch in cloud.lab.hypervisors.items():
        text = switch.vsctl("--format=json", "--columns=name,ofport,external_ids", "list", "Interface")
        for name, ofport, ids in json.loads(text)["data"]:
            if isinstance(ofport, int) and ofport > 0:
                found.append(Port(host, name, ofport, dict(ids[1]).get("iface-id")))
    return found


def read_state(cloud: Cloud, known: list[Port]) -> State:
    """What the oracle is told: the store's records, and which host each interface is plugged in at."""
    engine = make_engine(cloud.config.database)
    try:
        records = tuple(change.record for change in Feed(engine).snapshot().changes if change.record is not None)
    finally:
        engine.dispose()
    living = {record.id for record in records if isinstance(record, InterfaceRecord)}
    hosts = {port.interface: port.host for port in known if port.interface in living and port.interface is not None}
    everywhere = frozenset(cloud.lab.hypervisors)
    return State(records, hosts, everywhere, everywhere)


def tracer(cloud: Cloud, switches: LabSwitches, state: State, known: list[Port]) -> Tracer:
    """A tracer of the flows that stand on the lab's switches."""
    tunnels = cloud.plan.fabric == "vxlan"
    fabric = layout.TUNNEL_PORT if tunnels else layout.FABRIC_PORT
    numbers: Mapping[tuple[str, str], int] = {(port.host, port.name): port.ofport for port in known}
    bridges = {
        host: BridgePorts(
            host,
            numbers.get((host, layout.UPLINK)),
            numbers.get((host, fabric)),
            layout.fabric_ip(host) if tunnels else None,
        )
        for host in cloud.lab.hypervisors
    }
    ofports = {port.interface: port.ofport for port in known if port.interface is not None}
    return Tracer(switches, Wiring(bridges, guests(state, ofports), layout.GATEWAY_MAC))


def another_tenant(cloud: Cloud, name: str) -> Any:
    """A boto3 client of a new account."""
    store = Store.open(cloud.config)
    try:
        account = create_account(store, name)
    finally:
        store.close()
    return cloud.ec2(Keys(account.access_key_id, account.secret))
