"""Three ways to one pair of instances, side by side: Sluice's pipeline, a plain NORMAL bridge, and OVN.

Each has an ovs-vswitchd of its own (userspace datapath), two instances and an outside host, each in a namespace with a
veth to the switch; checksums are written in software everywhere, as a userspace switch needs it.  All three switches
have the memory setting of ADR 0031, which gains most where there are most flows.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from benchmarks import flows as ovn_flows
from benchmarks.ovn import Ovn
from benchmarks.policy import CIDR, GATEWAY, UPLINK, Policy, ofport
from benchmarks.result import Progress
from benchmarks.room import BRIDGE, OwnSide, Room
from econe_api.compute import netns
from topologies.errors import LabError
from topologies.ovs import SWITCH, OpenVSwitch

OVN_POLICY = Policy(200, 2, 2)
"""Two local ports: every further one would be a tap that Open vSwitch polls, at OVN's cost."""
_OUTSIDE = "198.51.100.1"
_OUTSIDE_MAC = "02:00:00:00:ff:01"
_STRANGER = "203.0.113.10"
_PACKETS = re.compile(r"packets received: (\d+)")
_PASSES = re.compile(r"avg. datapath passes per packet: ([0-9.]+)")
_UPCALLS = re.compile(r"miss with (?:success|failed) upcall: (\d+)")
_PREFIX = CIDR.rpartition("/")[2]


_Command = TypeVar("_Command", bound=Callable[..., None])
_T = TypeVar("_T")


def size_options(command: _Command) -> _Command:
    """Give a command the options that say how much is measured; :func:`sized` reads them."""
    for option in (
        click.option("--seconds", default=2, show_default=True, help="Length of one measurement."),
        click.option("--rounds", default=9, show_default=True, help="Rounds; the medians are shown."),
        click.option(
            "--ports", default=1120, show_default=True, help="Ports of the network, half of them here (10,000 flows)."
        ),
    ):
        command = option(command)
    return command


def sized(ports: int, rounds: int, seconds: int) -> Policy:
    """The policy for so many ports; click.UsageError when there is too little or too much of something."""
    if not (4 <= ports <= 20_000 and rounds > 0 and seconds > 0):
        raise click.UsageError("4 to 20000 ports, at least one round and one second, please")
    return Policy(ports, ports // 2, ports // 2)


class Spent(NamedTuple):
    """What ovs-vswitchd did for a load: seconds of a processor in its own code (look-ups, connection tracking, memory)
    and in system calls (which receive and send the packets, and the other end's TCP that runs within a send), packets
    that came in, passes of each through the datapath, and upcalls.
    """

    user: float
    system: float
    packets: int
    passes: float
    upcalls: int

    @property
    def seconds(self) -> float:
        """Seconds of a processor in all: they hardly depend on what else the machine does."""
        return self.user + self.system


@dataclass(frozen=True, slots=True)
class Contender:
    """Where to measure: the namespaces of two instances and of the outside host, and the addresses to call.

    ``public`` reaches the first instance from outside, ``private`` the second one from the first; ``source`` is what
    the outside host calls itself.
    """

    name: str
    switch: OpenVSwitch
    one: str
    other: str
    outside: str
    public: str
    private: str
    source: str
    flows: int

    def start(self, place: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a process in a namespace; it ends with the namespace."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(netns.inside(place, command), stdin=quiet, stdout=quiet, stderr=quiet)

    def run(self, place: str, *command: str, timeout: float = 60.0) -> str:
        """Run a command in a namespace."""
        return netns.run(netns.inside(place, command), timeout=timeout)

    def await_ways(self, port: str) -> None:
        """Wait until both ways lead somewhere; LabError when they do not within seconds."""
        for place, address, source in ((self.outside, self.public, self.source), (self.one, self.private, "")):
            try:
                self.run(place, sys.executable, "-m", "benchmarks.connects", "await", address, port, source)
            except netns.CommandError as error:
                raise LabError(f"{self.name}: {address} does not answer at port {port}") from error

    def spent_by(self, load: Callable[[], _T]) -> tuple[_T, Spent]:
        """Run the load; what it returns, and what ovs-vswitchd spent on it.  LabError when that has ended."""
        self.switch.unixctl("dpif-netdev/pmd-stats-clear")
        user, system = self._processor_seconds()
        came = load()
        user_then, system_then = self._processor_seconds()
        said = self.switch.unixctl("dpif-netdev/pmd-stats-show")
        packets, upcalls = (sum(map(int, counter.findall(said))) for counter in (_PACKETS, _UPCALLS))
        passes = _PASSES.findall(said)
        each = float(passes[0]) if passes else 0.0
        return came, Spent(user_then - user, system_then - system, packets, each, upcalls)

    def _processor_seconds(self) -> tuple[float, float]:
        """In its own code and in system calls, since it was started."""
        pid = self.switch.pid(SWITCH)
        if pid is None:
            raise LabError(f"{self.name}: ovs-vswitchd has ended")
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        tick = os.sysconf("SC_CLK_TCK")
        return int(words[11]) / tick, int(words[12]) / tick


def in_turns(all_of: Sequence[Contender]) -> list[Contender]:
    """The contenders in a new order: whoever is always the first or after the same one may profit or suffer from it."""
    return random.sample(list(all_of), len(all_of))


@contextmanager
def contenders(
    name: str, folder: Path, policy: Policy, progress: Progress, ovn_policy: Policy = OVN_POLICY
) -> Iterator[list[Contender]]:
    """Build all three; "Sluice" is first.  Servers on port 80 of both instances are the caller's to start."""
    with ExitStack() as stack:
        progress("Sluice's pipeline")
        ours = stack.enter_context(_sluice(f"{name}s", folder, policy))
        progress("a plain NORMAL bridge")
        plain = stack.enter_context(_normal(f"{name}n", folder, policy))
        progress("OVN with a distributed floating IP and ACLs")
        theirs = stack.enter_context(_ovn(f"{name}o", folder, ovn_policy))
        yield [ours, plain, theirs]


@contextmanager
def _sluice(name: str, folder: Path, policy: Policy) -> Iterator[Contender]:
    with Room(name, folder) as room:
        one, other = (instance(room.switch, BRIDGE, name, policy, number) for number in (0, 1))
        outside = _outside(room.switch, BRIDGE, name)
        with OwnSide(room, policy) as side:
            flows = side.figures()["flows"]
        yield Contender(
            "Sluice", room.switch, one, other, outside, policy.public(0), policy.address(1), _STRANGER, flows
        )


@contextmanager
def _normal(name: str, folder: Path, policy: Policy) -> Iterator[Contender]:
    with Room(name, folder) as room:
        one, other = (instance(room.switch, BRIDGE, name, policy, number) for number in (0, 1))
        outside = _outside(room.switch, BRIDGE, name)
        source = "10.0.255.1"
        netns.ip_batch([f"address add {source}/{_PREFIX} dev eth0"], outside)
        room.ofctl("add-flow", BRIDGE, "actions=NORMAL")
        yield Contender("NORMAL", room.switch, one, other, outside, policy.address(0), policy.address(1), source, 1)


@contextmanager
def _ovn(name: str, folder: Path, policy: Policy) -> Iterator[Contender]:
    inner = folder / name
    inner.mkdir()
    with ExitStack() as stack:
        stack.callback(lambda: netns.delete(netns.namespaces(f"{name}-")))
        ovn = stack.enter_context(Ovn(name, inner))
        one, other = (instance(ovn.switch, BRIDGE, name, policy, number) for number in (0, 1))
        outside = _outside(ovn.switch, "br-ex", name)
        flows = ovn_flows.install(policy, ovn, internal=False)
        yield Contender("OVN", ovn.switch, one, other, outside, policy.public(0), policy.address(1), _STRANGER, flows)


def instance(switch: OpenVSwitch, bridge: str, name: str, policy: Policy, number: int) -> str:
    """Add an instance in a namespace of its own, behind the port that the policy gives it; returns the namespace."""
    place = f"{name}-i{number}"
    settings = [f"ofport_request={ofport(number)}", f"external_ids:iface-id=p{number}"]
    _plug(switch, bridge, name, place, f"p{number}", policy.mac(number), settings)
    address = policy.address(number)
    lines = [f"address add {address}/{_PREFIX} dev eth0", "link set eth0 up", f"route add default via {GATEWAY}"]
    netns.ip_batch(lines, place)
    return place


def _outside(switch: OpenVSwitch, bridge: str, name: str) -> str:
    """Whoever is outside, and the gateway to it."""
    place = f"{name}-out"
    _plug(switch, bridge, name, place, "uplink", _OUTSIDE_MAC, [f"ofport_request={UPLINK}"])
    lines = [f"address add {_OUTSIDE}/16 dev eth0", f"address add {_STRANGER}/32 dev lo", "link set eth0 up"]
    netns.ip_batch(lines, place)
    return place


def _plug(
    switch: OpenVSwitch, bridge: str, room: str, place: str, port: str, mac: str, settings: Sequence[str]
) -> None:
    netns.run(["ip", "netns", "add", place])
    netns.set_sysctls(place, netns.QUIET)
    pair = f"link add name {port} netns {room} type veth peer name eth0 netns {place} address {mac}"
    netns.ip_batch([pair])
    netns.ip_batch([f"link set {port} up"], room)
    netns.ip_batch(["link set lo up"], place)
    for where, end in ((room, port), (place, "eth0")):
        netns.checksum_in_software(where, end)
    switch.vsctl("--may-exist", "add-port", bridge, port, "--", "set", "Interface", port, *settings)
