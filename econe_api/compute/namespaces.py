"""The namespace backend: an instance is a network namespace on this machine, wired to its hypervisor's bridge.

Its namespace ``<prefix>-<instance id>`` has one veth per interface, whose other end is a port of the bridge in the
hypervisor's namespace, and a small server (:mod:`econe_api.compute.guest`), started last: an instance whose server runs
is whole.  The namespaces, their processes and the ports' ``external_ids`` say what there is; only what instances say on
their consoles is kept in files.  A stopped instance has nothing of all that but its console.

Options of a hypervisor: ``netns``, ``ovsdb`` (``unix:PATH``), ``bridge`` ("br-int" by default), ``mtu`` of the
instances' interfaces (1500; 1450 where the fabric is vxlan on 1500 bytes) and ``prefix`` ("sluice"), which tells this
cloud's instances from other clouds' on the same machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from econe_api.compute import guest_network, kernel, netns
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    Console,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.consoles import Consoles
from econe_api.compute.guest_network import device
from econe_api.compute.nursery import Nursery, NurseryError
from econe_api.compute.ovsdb import Ovsdb, OvsdbError
from econe_api.compute.rtnetlink import Rtnetlink
from econe_api.config import Config, ConfigError, Hypervisor

GUEST = Path(__file__).with_name("guest.py")
_INSTANCE = re.compile(r"i-[0-9a-f]+")
_OPTIONS = frozenset({"netns", "ovsdb", "bridge", "prefix", "mtu"})
_LEAST_MTU, _MOST_MTU = 576, 65535
_OVSDB_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor as this backend reaches it."""

    name: str
    netns: str
    ovsdb: str
    bridge: str
    prefix: str
    mtu: int = 1500

    @classmethod
    def of(cls, hypervisor: Hypervisor) -> Host:
        """Read the hypervisor's options; ConfigError names one that is missing or not known."""
        options = hypervisor.options
        where = f"hypervisor {hypervisor.name}: options"
        missing = {"netns", "ovsdb"} - options.keys()
        if missing:
            raise ConfigError(f"{where}.{min(missing)} is missing; the namespace backend needs netns and ovsdb")
        unknown = options.keys() - _OPTIONS
        if unknown:
            raise ConfigError(f"{where}.{min(unknown)} is not known; known: {', '.join(sorted(_OPTIONS))}")
        bridge, prefix = options.get("bridge", "br-int"), options.get("prefix", "sluice")
        mtu = options.get("mtu", "1500")
        if not (mtu.isascii() and mtu.isdigit() and _LEAST_MTU <= int(mtu) <= _MOST_MTU):
            raise ConfigError(f"{where}.mtu {mtu!r} is no MTU; write {_LEAST_MTU} to {_MOST_MTU}, in quotes")
        return cls(hypervisor.name, options["netns"], options["ovsdb"], bridge, prefix, int(mtu))


def guest_namespace(prefix: str, instance_id: str) -> str:
    """Return the name of an instance's namespace."""
    return f"{prefix}-{instance_id}"


def port_name(interface_id: str) -> str:
    """Return the name of an interface's port on the bridge; Linux takes 15 characters."""
    return f"tap{interface_id.removeprefix('eni-')[:11]}"


class NamespaceBackend:
    """Implements :class:`econe_api.compute.backend.ComputeBackend`."""

    def __init__(self, hosts: Iterable[Host], consoles: Path | None = None) -> None:
        """``consoles`` is the directory that keeps what instances say (made when needed); None: nothing is kept."""
        self._hosts = {host.name: host for host in hosts}
        self._switches = {host.name: Ovsdb(host.ovsdb, _OVSDB_SECONDS) for host in self._hosts.values()}
        self._nursery = Nursery(lambda: GUEST)
        self._consoles = Consoles(consoles)

    @classmethod
    def from_config(cls, config: Config) -> NamespaceBackend:
        """Return the backend of a configuration; ConfigError when it cannot work with it, or not as this user."""
        if os.geteuid() != 0:
            raise ConfigError("compute.backend 'namespace' makes network namespaces: run the worker as root")
        return cls([Host.of(hypervisor) for hypervisor in config.hypervisors], config.state / "consoles")

    def launch(self, spec: LaunchSpec) -> None:
        """Make the namespace, wire it up, start its server."""
        host = self._host(spec.host)
        name = guest_namespace(host.prefix, spec.instance_id)
        if name in self._whole([name]):
            return
        try:
            self._remove(spec.instance_id, [host])
            _make(name, spec.interfaces)
            _wire(name, host, spec.interfaces)
            self._plug(host, spec.instance_id, spec.interfaces)
            self._boot(name, spec)
        except (netns.CommandError, NurseryError) as error:
            self._remove(spec.instance_id, [host])
            raise LaunchFailedError("Server.InternalError", str(error)) from error

    def _boot(self, name: str, spec: LaunchSpec) -> None:
        console = self._consoles.fresh(spec)
        self._nursery.start(kernel.NAMED / name, spec.instance_id, console)

    def close(self) -> None:
        """Let go of what is open; the instances run on."""
        self._nursery.close()
        for switch in self._switches.values():
            switch.close()

    def reboot(self, spec: LaunchSpec) -> None:
        """End the instance's processes and start its server again; the namespace and its ports stay."""
        name = guest_namespace(self._host(spec.host).prefix, spec.instance_id)
        if name not in self._whole([name]):
            self.launch(spec)
            return
        try:
            netns.end_processes([name])
            self._boot(name, spec)
        except (netns.CommandError, NurseryError) as error:
            raise BackendUnavailableError(str(error)) from error

    def console(self, instance_id: str) -> Console | None:
        """Return what the instance's server has said since it was last started."""
        return self._consoles.read(instance_id)

    def terminate(self, instance_id: str, host: str) -> None:
        """End the instance's processes, take its ports off the bridge, delete its namespace; its console is kept.

        With a ``host`` that is not known, all hosts are searched for its ports.
        """
        self.stop(instance_id, host)

    def stop(self, instance_id: str, host: str) -> None:
        """Do as :meth:`terminate` does: an instance has nothing that a start would not make again."""
        known = self._hosts.get(host)
        try:
            self._remove(instance_id, self._hosts.values() if known is None else [known])
        except netns.CommandError as error:
            raise BackendUnavailableError(str(error)) from error

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Give the namespace one more veth; a port on the bridge, which comes last, says that all of it is there."""
        host = self._host(spec.host)
        name = guest_namespace(host.prefix, spec.instance_id)
        if port_name(interface.id) in self._ports_of(host, spec.instance_id):
            return
        try:
            netns.delete_link(host.netns, port_name(interface.id))
            if interface.ipv6:
                netns.set_sysctls(name, {**netns.QUIET_WITH_IPV6, "net/ipv6/conf/all/disable_ipv6": "0"})
            _wire(name, host, [interface])
            self._plug(host, spec.instance_id, [interface])
        except netns.CommandError as error:
            raise BackendUnavailableError(str(error)) from error

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Take the port off the bridge, delete the veth."""
        host = self._host(spec.host)
        port = port_name(interface.id)
        name = guest_namespace(host.prefix, spec.instance_id)
        try:
            with _switch_of(host):
                self._switches[host.name].delete_ports([port])
            netns.delete_link(host.netns, port)
            if name in netns.namespaces(name):
                guest_network.forget(name, interface.device_index)
        except netns.CommandError as error:
            raise BackendUnavailableError(str(error)) from error

    def list(self) -> Mapping[str, ObservedInstance]:
        """Look at the namespaces; the backend does not know their hosts."""
        names = self._namespaces()
        whole = self._whole(names)
        return {
            instance: ObservedInstance(instance, "", Condition.RUNNING if name in whole else Condition.BROKEN)
            for name, instance in names.items()
        }

    def destroy_all(self) -> None:
        """End every instance of this cloud; raises BackendUnavailableError when some of them may be left."""
        for instance in self._namespaces().values():
            self.terminate(instance, "")

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            raise BackendUnavailableError(f"hypervisor {name} is not in the configuration")
        if host.netns not in netns.namespaces(host.netns):
            raise BackendUnavailableError(f"hypervisor {name} is down: there is no namespace {host.netns}")
        return host

    def _namespaces(self) -> dict[str, str]:
        """Return the namespaces of this cloud's instances, with the instance of each."""
        found = {}
        for prefix in {f"{host.prefix}-" for host in self._hosts.values()}:
            for name in netns.namespaces(prefix):
                if _INSTANCE.fullmatch(name.removeprefix(prefix)):
                    found[name] = name.removeprefix(prefix)
        return found

    def _whole(self, names: Iterable[str]) -> set[str]:
        """Return those of ``names`` whose server runs."""
        return {name for pid, name in netns.processes(names).items() if _is_guest(pid)}

    def _remove(self, instance_id: str, hosts: Iterable[Host]) -> None:
        """Remove whatever is left of the instance, also when the hypervisor's switch does not answer."""
        hosts = list(hosts)
        names = sorted({guest_namespace(host.prefix, instance_id) for host in hosts})
        netns.end_processes(names)
        failure: BackendUnavailableError | None = None
        for host in hosts:
            try:
                # The ports go first: a port whose device has gone under it is an error to ovs-vswitchd.
                with _switch_of(host):
                    self._switches[host.name].delete_ports(self._ports_of(host, instance_id))
            except BackendUnavailableError as error:
                failure = error
        for name in names:
            kernel.forget(name)
        if failure is not None:
            raise failure

    def _ports_of(self, host: Host, instance_id: str) -> Sequence[str]:
        with _switch_of(host):
            return self._switches[host.name].ports_of(instance_id)

    def _plug(self, host: Host, instance_id: str, interfaces: Sequence[InterfaceSpec]) -> None:
        """Add all ports in one transaction and see that ovs-vswitchd took them."""
        if not interfaces:
            return
        ports = {
            port_name(one.id): {"iface-id": one.id, "attached-mac": one.mac, "vm-id": instance_id} for one in interfaces
        }
        with _switch_of(host):
            numbers = self._switches[host.name].add_ports(host.bridge, ports)
        if missing := sorted(ports.keys() - numbers.keys()):
            raise netns.CommandError(["adding", *missing, "to", host.bridge], "got no port number")


def _make(name: str, interfaces: Sequence[InterfaceSpec]) -> None:
    """Make the namespace, quiet before anything is plugged in that could be spoken to."""
    netns.add(name)
    with_ipv6 = any(interface.ipv6 for interface in interfaces)
    netns.set_sysctls(name, netns.QUIET_WITH_IPV6 if with_ipv6 else netns.QUIET)


def _wire(name: str, host: Host, interfaces: Sequence[InterfaceSpec]) -> None:
    """Lay the cables between the instance and the hypervisor, and have the instance use them."""
    with netns.there(name):
        with kernel.opened(host.netns) as other, Rtnetlink() as network:
            for one in interfaces:
                pair = (device(one.device_index), one.mac, host.mtu, port_name(one.id), other)
                try:
                    network.add_veth(*pair)
                except FileExistsError:
                    # The kernel takes its time to clear away what was in a namespace that is gone.
                    _clear(host, port_name(one.id))
                    network.add_veth(*pair)
        kernel.checksum_in_software(*(device(interface.device_index) for interface in interfaces))
        kernel.set_up("lo")
        guest_network.configure(interfaces)
    with netns.there(host.netns):
        ports = [port_name(interface.id) for interface in interfaces]
        kernel.checksum_in_software(*ports)
        kernel.set_up(*ports)


def _clear(host: Host, port: str) -> None:
    with netns.there(host.netns), Rtnetlink() as network:
        network.delete_link(port)


@contextmanager
def _switch_of(host: Host) -> Iterator[None]:
    try:
        yield
    except OvsdbError as error:
        raise BackendUnavailableError(f"hypervisor {host.name}: {error}") from error


def _is_guest(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(GUEST).encode() in words
