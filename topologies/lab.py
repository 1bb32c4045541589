"""The namespace lab: hypervisors with an Open vSwitch each, a fabric, a public network and an outside host.

A lab owns every namespace whose name starts with its own name and a dash, and whatever runs there: closing it, or
building another of the same name after its builder was killed, ends and deletes them all.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import IO

from econe_api.compute import netns
from topologies import layout, ovs
from topologies.errors import LabError
from topologies.ovs import OpenVSwitch

__all__ = ["Lab", "LabError"]

_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")
_TOOLS = ("ip", "ethtool", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
_PARALLEL = 4
_PATIENCE = 2.0

Output = int | IO[bytes] | IO[str] | None


class Lab:
    """A network of namespaces ``<name>-mgmt``, ``-fab``, ``-rtr``, ``-out``, ``-h1``...; see :mod:`topologies.layout`.

    ``state`` is the directory for the switches' files; what the lab puts there goes with it.  A lab's name is unique on
    the machine while it stands.  ``fabric`` is one of :data:`topologies.layout.FABRICS`.  Use it as a context manager,
    or call :meth:`build` and :meth:`close`.
    """

    gateway_mac = layout.GATEWAY_MAC

    def __init__(self, name: str, hypervisors: int, state: Path, fabric: str = "vlan") -> None:
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a lab: write up to 15 lower-case letters and digits")
        if not 1 <= hypervisors <= layout.MOST_HYPERVISORS:
            raise LabError(f"a lab has 1 to {layout.MOST_HYPERVISORS} hypervisors, not {hypervisors}")
        if fabric not in layout.FABRICS:
            raise LabError(f"{fabric!r} is no kind of fabric: take one of {', '.join(layout.FABRICS)}")
        self.name = name
        self.fabric = fabric
        self.state = state.absolute()
        self._files = self.state / f"lab-{name}"
        self.hypervisors: Mapping[str, OpenVSwitch] = {
            host: OpenVSwitch(host, self.netns(host), self._files / host)
            for host in layout.hypervisor_names(hypervisors)
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock: socket.socket | None = None
        self._owns_state = False

    def __enter__(self) -> Lab:
        return self.build()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def build(self, progress: Callable[[str], None] = lambda _: None) -> Lab:
        """Build the lab; ``progress`` hears of each step.  Raises :class:`LabError`, after which nothing is left."""
        _check_machine()
        self._take_name()
        try:
            if netns.namespaces(f"{self.name}-"):
                progress(f"cleaning up what an earlier lab {self.name} left behind")
            self._remove_everything()
            self._create(progress)
        except BaseException as error:
            self.close()
            if isinstance(error, netns.CommandError | OSError):
                raise LabError(f"building lab {self.name}: {error}") from error
            raise
        return self

    def close(self) -> None:
        """End and delete everything that is the lab's: processes, namespaces, files.  May be called at any time."""
        if self._lock is None:
            return
        try:
            self._remove_everything()
        except netns.CommandError as error:
            raise LabError(f"closing lab {self.name}: {error}") from error
        finally:
            self._lock.close()
            self._lock = None

    def netns(self, place: str) -> str:
        """Return the full name of a namespace of this lab: "out" -> "<name>-out"."""
        return f"{self.name}-{place}"

    def hypervisor(self, name: str) -> OpenVSwitch:
        """Return hypervisor "h1", "h2"...; an unknown one is a KeyError."""
        return self.hypervisors[name]

    def run(self, place: str, *argv: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace of this lab and return its outcome; a failing one is the caller's to judge.

        Raises ``subprocess.TimeoutExpired`` after ``timeout`` seconds.
        """
        command = netns.inside(self.netns(place), argv)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def popen(
        self,
        place: str,
        *argv: str,
        stdin: Output = subprocess.DEVNULL,
        stdout: Output = None,
        stderr: Output = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a namespace of this lab; it ends with the lab.  ``env`` is added to the environment.

        It gets a session of its own, so that Ctrl-C reaches the lab's owner, who then ends things in order.
        """
        environment = {**os.environ, **(env or {})}
        command = netns.inside(self.netns(place), argv)
        process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
        )
        self._processes.append(process)
        return process

    def _take_name(self) -> None:
        if self._lock is not None:
            raise LabError(f"lab {self.name} is built already")
        # An abstract socket: taken by one process at a time, free again when that process ends, however it ends.
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0sluice-lab-{self.name}")
        except OSError as error:
            lock.close()
            raise LabError(
                f"another lab {self.name} is running on this machine: end it, or take another name"
            ) from error
        self._lock = lock

    def _remove_everything(self) -> None:
        steps = (self._end_tracked, self._end_switches, self._delete_namespaces)
        failures = []
        for step in steps:
            try:
                step()
            except netns.CommandError as error:  # the other steps are worth taking all the same
                failures.append(error)
        shutil.rmtree(self._files, ignore_errors=True)
        if self._owns_state:
            with contextlib.suppress(OSError):  # somebody else's files are in there
                self.state.rmdir()
        if failures:
            raise failures[0]

    def _end_tracked(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _end_switches(self) -> None:
        """End the switches even if somebody deleted their namespaces' names."""
        for rundir in sorted(self._files.glob("h*")):
            OpenVSwitch(rundir.name, self.netns(rundir.name), rundir).stop()

    def _delete_namespaces(self) -> None:
        netns.delete(netns.namespaces(f"{self.name}-"))

    def _create(self, progress: Callable[[str], None]) -> None:
        self._owns_state = not self.state.exists()
        self._files.mkdir(mode=0o700, parents=True)
        progress(f"namespaces, bridges and links for {len(self.hypervisors)} hypervisors")
        places = [layout.MANAGEMENT, layout.FABRIC, layout.ROUTER, layout.OUTSIDE, *self.hypervisors]
        links = layout.links(self.hypervisors)
        ends = [end for link in links for end in link]
        netns.ip_batch([f"netns add {self.netns(place)}" for place in places])
        with ThreadPoolExecutor(_PARALLEL) as pool:
            _finish(pool.submit(self._calm, place) for place in places)
            switches = [pool.submit(switch.start) for switch in self.hypervisors.values()]
            netns.ip_batch([*map(self._bridge, layout.BRIDGES), *map(self._veth, links)])
            _finish(pool.submit(netns.checksum_in_software, self.netns(end.place), end.interface) for end in ends)
            _finish(pool.submit(netns.ip_batch, layout.bring_up(place, ends), self.netns(place)) for place in places)
            progress("waiting for ovsdb-server and ovs-vswitchd of every hypervisor")
            _finish(switches)
            if self.fabric == "vxlan":
                _finish(pool.submit(self._underlay, host, switch) for host, switch in self.hypervisors.items())

    def _underlay(self, host: str, switch: OpenVSwitch) -> None:
        """Give the userspace switch, which sends tunnel packets itself, an address and a way to the fabric."""
        bridge = layout.UNDERLAY_BRIDGE
        switch.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        switch.vsctl("add-port", bridge, layout.FABRIC_PORT)
        lines = [f"address add {layout.fabric_ip(host)}/24 dev {bridge}", f"link set {bridge} up"]
        netns.ip_batch(lines, self.netns(host))

    def _calm(self, place: str) -> None:
        settings = {layout.ROUTER: layout.ROUTER_SYSCTLS}.get(place, {})
        if place in self.hypervisors:
            settings = layout.HYPERVISOR_SYSCTLS
        netns.set_sysctls(self.netns(place), {**netns.QUIET, **settings})

    def _bridge(self, bridge: layout.Bridge) -> str:
        mac = f" address {bridge.mac}" if bridge.mac else ""
        return f"link add name {bridge.name} netns {self.netns(bridge.place)}{mac} type bridge forward_delay 0"

    def _veth(self, link: layout.Link) -> str:
        one, other = (f"name {end.interface} netns {self.netns(end.place)}" for end in link)
        return f"link add {one} type veth peer {other}"


def _finish(steps: Iterable[Future[None]]) -> None:
    """Wait for all ``steps``; raise what the first failed one raised."""
    started = list(steps)
    wait(started)
    for step in started:
        step.result()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("must run as root: the lab makes network namespaces; run it with sudo")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing or not ovs.SCHEMA.exists():
        absent = ", ".join(missing) or str(ovs.SCHEMA)
        raise LabError(f"not installed: {absent}; run: apt-get install openvswitch-switch iproute2 ethtool")
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is not there, and the userspace datapath of Open vSwitch needs it: modprobe tun")
