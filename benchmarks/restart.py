"""The controller comes back and nothing has changed: how long, how many flow-mods, how many packets are lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from benchmarks import flows as ovn_flows
from benchmarks.contenders import instance
from benchmarks.ovn import Ovn
from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report
from benchmarks.room import BRIDGE, OwnSide, Room
from econe_api.compute import netns
from topologies.errors import LabError

_GOAL = 3.0
_RATE = 200
_UDP = "5300"
_DURATION = re.compile(r"duration=([0-9.]+)s")
_METHOD = (
    "The controller is killed and a new one finds its flows in the switch: seconds from its first record to the proof "
    "that nothing is missing, compilation included, while one instance sends another {rate} datagrams a second. OVN's "
    "ovn-controller is killed and started again with the same kind of policy ({theirs} flows): until 'ovn-nbctl "
    "--wait=hv sync' answers; reinstalled are flows that are younger than its restart."
)


@click.command("restart")
@click.option(
    "--ports", default=11_000, show_default=True, help="Ports of the network, half of them here (100,000 flows)."
)
@click.option("--ovn-ports", default=2000, show_default=True, help="Ports of OVN's network (9 flows each).")
@json_option
def command(ports: int, ovn_ports: int, file: Path | None) -> None:
    """Seconds, flow-mods and lost packets of a controller's restart with nothing changed; beside OVN's."""
    if not (4 <= ports <= 20_000 and 4 <= ovn_ports <= 20_000):
        raise click.UsageError("4 to 20000 ports, please")
    policies = Policy(ports, ports // 2, ports // 2), Policy(ovn_ports, 2, 2)
    report([run(*policies, f"rs{os.getpid()}", NOTES.print)], file)


def run(policy: Policy, theirs: Policy, name: str, progress: Progress) -> Result:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        here = ours(policy, f"{name}s", Path(folder), progress)
        other = _theirs(theirs, f"{name}o", Path(folder), progress)
    met = here["seconds"] <= _GOAL and here["flow-mods"] == 0 and here["lost"] == 0
    method = _METHOD.format(rate=_RATE, theirs=other["flows"])
    counters = {"Sluice": here, "OVN": other}
    goal = "<= 3 s, 0 flow-mods, 0 packets lost"
    return Result("restart", here["seconds"], other["seconds"], "s", "OVN", goal, met, counters, method)


def ours(policy: Policy, name: str, folder: Path, progress: Progress) -> dict[str, Any]:
    """Measure our side alone."""
    with Room(name, folder) as room:
        one, other = (instance(room.switch, BRIDGE, name, policy, number) for number in (0, 1))
        progress("our flows, for the first time")
        with OwnSide(room, policy) as side:
            flows = side.figures()["flows"]
        progress(f"our controller again, with {flows} flows there")
        with _Stream(one, other, policy) as stream:
            start = time.perf_counter()
            with OwnSide(room, policy) as side:
                figures = side.figures()
            whole = time.perf_counter() - start
            lost = stream.lost()
        if room.flow_count() != flows:
            raise LabError("the switch has not the flows that it had")
    return {
        "seconds": round(figures["seconds"], 2),
        "dump and compare": round(figures["phases"]["dump and compare"], 2),
        "with the start of the process": round(whole, 2),
        "flows": flows,
        "flow-mods": figures["flow_mods"],
        "lost": lost,
    }


def _theirs(policy: Policy, name: str, folder: Path, progress: Progress) -> dict[str, Any]:
    inner = folder / name
    inner.mkdir()
    with ExitStack() as stack:
        stack.callback(lambda: netns.delete(netns.namespaces(f"{name}-")))
        ovn = stack.enter_context(Ovn(name, inner))
        one, other = (instance(ovn.switch, BRIDGE, name, policy, number) for number in (0, 1))
        progress(f"OVN's flows of {policy.ports} ports")
        flows = ovn_flows.install(policy, ovn, internal=False)
        progress(f"ovn-controller again, with {flows} flows there")
        stream = stack.enter_context(_Stream(one, other, policy))
        ovn.kill_controller()
        start = time.perf_counter()
        ovn.start_controller()
        ovn.nbctl("--wait=hv", "sync")
        seconds = time.perf_counter() - start
        lost = stream.lost()
        dumped = ovn_flows.dump(ovn, BRIDGE)
        passed = time.perf_counter() - start
        younger = sum(float(one) < passed for one in _DURATION.findall(dumped))
    return {"seconds": round(seconds, 2), "flows": flows, "reinstalled": younger, "lost": lost}


class _Stream:
    """Numbered datagrams from one instance to another; a context manager."""

    def __init__(self, one: str, other: str, policy: Policy) -> None:
        self._places = one, other
        self._address = policy.address(1)
        self._sender: subprocess.Popen[bytes] | None = None
        self._counter: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Stream:
        one, other = self._places
        streams = [sys.executable, "-m", "benchmarks.stream"]
        self._counter = subprocess.Popen(netns.inside(other, [*streams, "count", _UDP]), stdout=subprocess.PIPE)
        command = [*streams, "send", self._address, _UDP, str(_RATE)]
        self._sender = subprocess.Popen(netns.inside(one, command), stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        if self._counter.stdout is None or not self._counter.stdout.readline():
            raise LabError("no datagram came through before the restart")
        return self

    def lost(self) -> int:
        """End it; how many datagrams of those after the first that came have not come."""
        if self._sender is None or self._counter is None:
            raise LabError("the stream has not been started")
        said = self._sender.communicate(b"\n", timeout=10)[0]
        counted = self._counter.communicate(timeout=10)[0]
        first, came = (int(word) for word in counted.split())
        return int(said) - first - came

    def __exit__(self, *_: object) -> None:
        for process in (self._sender, self._counter):
            if process is not None:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        pipe.close()
