"""A compute backend whose instances are the hosts of a running Mininet network.

An instance takes a free host of its hypervisor: the host gets the instance's MAC, address and route, and its port goes
on the bridge with the ``external_ids`` that agents look for.  Before and after, the port is not on the bridge.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from econe_api.compute import netns
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    Console,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.namespaces import GUEST
from topologies.mininet_topo import Instance, Router


class MininetBackend:
    """Implements :class:`econe_api.compute.backend.ComputeBackend` on ``net``, a started ``mininet.net.Mininet``."""

    def __init__(self, net: Any) -> None:
        self._lock = threading.Lock()  # guards the two below; Mininet's nodes are not made for threads either
        self._free: dict[str, list[Any]] = {}
        self._taken: dict[str, tuple[str, Any]] = {}
        for host in net.hosts:
            if isinstance(host, Instance) and not isinstance(host, Router) and not host.IP():
                self._free.setdefault(_port(host).node.name, []).append(host)
        for hosts in self._free.values():
            for host in hosts:
                _unplug(host)

    def launch(self, spec: LaunchSpec) -> None:
        """Take a free host and make it the instance."""
        with self._lock:
            if spec.instance_id in self._taken:
                return
            if spec.host not in self._free:
                raise BackendUnavailableError(f"there is no hypervisor {spec.host} in this network")
            if not self._free[spec.host] or len(spec.interfaces) != 1:
                raise LaunchFailedError("Server.InsufficientInstanceCapacity", f"no host is free on {spec.host}")
            host = self._free[spec.host].pop(0)
            self._taken[spec.instance_id] = (spec.host, host)
            try:
                _become(host, spec)
            except netns.CommandError as error:
                self._give_back(spec.instance_id)
                raise LaunchFailedError("Server.InternalError", str(error)) from error

    def reboot(self, spec: LaunchSpec) -> None:
        """Start the server of the instance anew."""
        with self._lock:
            taken = self._taken.get(spec.instance_id)
            if taken is not None:
                _end_guest(spec.instance_id)
                _boot(taken[1], spec.instance_id)
                return
        self.launch(spec)

    def console(self, instance_id: str) -> Console | None:
        """Keep nothing of what instances say."""
        return None

    def stop(self, instance_id: str, host: str) -> None:
        """Give the instance's host back; the next start may take another one."""
        self.terminate(instance_id, host)

    def terminate(self, instance_id: str, host: str) -> None:
        """Give the instance's host back."""
        with self._lock:
            if instance_id in self._taken:
                self._give_back(instance_id)

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """A host of the network has the one link that it was made with."""
        raise BackendUnavailableError(f"{spec.instance_id} has one link; Mininet's hosts get no further interfaces")

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Nothing was ever plugged in besides the first interface, which stays."""

    def list(self) -> Mapping[str, ObservedInstance]:
        """Return the hosts that are taken."""
        with self._lock:
            return {
                name: ObservedInstance(name, hypervisor, Condition.RUNNING)
                for name, (hypervisor, _) in self._taken.items()
            }

    def inside(self, instance_id: str) -> Any:
        """Return the Mininet host that is the instance; an unknown one is a KeyError."""
        with self._lock:
            return self._taken[instance_id][1]

    def _give_back(self, instance_id: str) -> None:
        hypervisor, host = self._taken[instance_id]
        _end_guest(instance_id)
        _unplug(host)
        _run(host, "ip", "address", "flush", "dev", host.defaultIntf().name)
        del self._taken[instance_id]
        self._free[hypervisor].append(host)


def _become(host: Any, spec: LaunchSpec) -> None:
    (interface,) = spec.interfaces
    device, port = host.defaultIntf().name, _port(host)
    _run(host, "ip", "link", "set", device, "address", interface.mac)
    _run(host, "ip", "address", "add", f"{interface.address}/{interface.prefix_length}", "dev", device)
    _run(host, "ip", "route", "replace", "default", "via", interface.gateway, "dev", device)
    ids = {"iface-id": interface.id, "attached-mac": interface.mac, "vm-id": spec.instance_id}
    records = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
    netns.run(["ovs-vsctl", "add-port", port.node.name, port.name, "--", "set", "Interface", port.name, *records])
    _boot(host, spec.instance_id)


def _boot(host: Any, instance_id: str) -> None:
    _run(host, sys.executable, "-I", "-S", str(GUEST), instance_id)


def _unplug(host: Any) -> None:
    netns.run(["ovs-vsctl", "--if-exists", "del-port", _port(host).name])


def _port(host: Any) -> Any:
    """Return the hypervisor's end of the host's link."""
    link = host.defaultIntf().link
    return link.intf2 if link.intf1.node is host else link.intf1


def _run(host: Any, *command: str) -> None:
    out, error, status = host.pexec(*command)
    if status:
        raise netns.CommandError(command, error or out)


def _end_guest(instance_id: str) -> None:
    with netns.hold(_guests(instance_id)) as held:
        netns.end_held(held, patience=2.0)


def _guests(instance_id: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[-3:-1] == [str(GUEST).encode(), instance_id.encode()]:
                yield int(entry.name)
