"""The compute worker of the scale lab: ``python -m benchmarks.scale_compute FOLDER...``, configured by $SLUICE_CONFIG.

The worker is the product's; its backend plugs an instance in where the namespace backend would, by the same
transactions, and runs no guest: an instance is its ports.  ``FOLDER`` is that of a
:class:`benchmarks.scale_switch.SwitchProcess`, whose bridges are the hosts of the same names.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.scale_switch import plugged
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    Console,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.namespaces import port_name
from econe_api.compute.ovsdb import Ovsdb, OvsdbError
from econe_api.compute.service import work
from econe_api.config import load
from telemetry import logs

_PATIENCE = 20.0


class PortsBackend:
    """Implements :class:`econe_api.compute.backend.ComputeBackend`."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """What is plugged in now runs; from then on nobody else plugs instances in and out."""
        self._switches: dict[str, Ovsdb] = {}
        self._lock = threading.Lock()
        self._running: dict[str, ObservedInstance] = {}
        for folder in folders:
            switch = Ovsdb(f"unix:{folder / 'db.sock'}", _PATIENCE)
            for bridge, ports in plugged(folder).items():
                self._switches[bridge] = switch
                for external_ids in ports.values():
                    if "vm-id" in external_ids:
                        self._note(external_ids["vm-id"], bridge)

    def launch(self, spec: LaunchSpec) -> None:
        """Add the ports, of which none or all are there afterwards."""
        if spec.instance_id in self._running:
            return
        self.terminate(spec.instance_id, spec.host)
        self._plug(spec, spec.interfaces)
        self._note(spec.instance_id, spec.host)

    def reboot(self, spec: LaunchSpec) -> None:
        """Ports stay where they are, and there is nothing else."""
        self.launch(spec)

    def stop(self, instance_id: str, host: str) -> None:
        """Do as :meth:`terminate` does."""
        self.terminate(instance_id, host)

    def terminate(self, instance_id: str, host: str) -> None:
        """Take the ports off the bridge."""
        switch = self._switch(host)
        try:
            switch.delete_ports(switch.ports_of(instance_id))
        except OvsdbError as error:
            raise BackendUnavailableError(f"hypervisor {host}: {error}") from error
        with self._lock:
            self._running.pop(instance_id, None)

    def console(self, instance_id: str) -> Console | None:
        """Nobody says anything."""
        return None

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Add one more port."""
        if port_name(interface.id) not in self._switch(spec.host).ports_of(spec.instance_id):
            self._plug(spec, [interface])

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Take one port off the bridge."""
        self._switch(spec.host).delete_ports([port_name(interface.id)])

    def list(self) -> Mapping[str, ObservedInstance]:
        """What is plugged in."""
        with self._lock:
            return dict(self._running)

    def _note(self, instance: str, host: str) -> None:
        with self._lock:
            self._running[instance] = ObservedInstance(instance, host, Condition.RUNNING)

    def _plug(self, spec: LaunchSpec, interfaces: Sequence[InterfaceSpec]) -> None:
        ports = {
            port_name(one.id): {"iface-id": one.id, "attached-mac": one.mac, "vm-id": spec.instance_id}
            for one in interfaces
        }
        try:
            numbers = self._switch(spec.host).add_ports(spec.host, ports)
        except OvsdbError as error:
            raise BackendUnavailableError(f"hypervisor {spec.host}: {error}") from error
        if missing := sorted(ports.keys() - numbers.keys()):
            raise LaunchFailedError("Server.InternalError", f"{', '.join(missing)} got no port number")

    def _switch(self, host: str) -> Ovsdb:
        if host not in self._switches:
            raise BackendUnavailableError(f"there is no hypervisor {host!r}")
        return self._switches[host]


def main() -> int:
    """Work until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale_compute", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    config = load(None)
    logs.setup(config.log.format, "compute")
    work(config, PortsBackend(folders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
