"""A whole cloud of hundreds of hypervisors on one machine: real API, store, controller, agent channel and OpenFlow.

What is not real: nothing moves on the bridges, and all agents live in one process (:mod:`benchmarks.scale_agents`).
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from benchmarks.scale_cloud import PER_HOST, Census, Filler, Tenant, configure
from benchmarks.scale_switch import BridgePlan, Switches, resident_kib
from channel.client import ChannelError, request
from econe_api.config import Config
from topologies.control_plane import Keys, Processes, api_answers, client, free_port
from topologies.errors import LabError

_START = 300.0
_SETTLE = 600.0
_ASK = 60.0
_REGION = "us-east-1"
Progress = Callable[[str], None]


class ScaleLab:
    """The cloud; a context manager.

    ``bridges`` share an ovs-vswitchd, None = all.  ``prepare`` may add to the store before anything runs.
    ``threads`` of the API answer calls.  With ``compute``, instances can be started and stopped: a compute worker plugs
    them in (:mod:`benchmarks.scale_compute`).
    """

    def __init__(
        self,
        vms: int,
        progress: Progress,
        bridges: int | None = None,
        prepare: Callable[[Filler, Census], None] | None = None,
        threads: int = 16,
        *,
        compute: bool = False,
    ) -> None:
        self._vms = vms
        self._progress = progress
        self._bridges = bridges
        self._prepare = prepare
        self._threads = threads
        self._compute = compute
        self._stack = ExitStack()
        self._openflow = free_port(0)
        self.seconds: dict[str, float] = {}
        """How long each part of the preparation took."""

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-scale-")))
        begin = time.monotonic()
        self.config_file = folder / "sluice.toml"
        self.config: Config = configure(folder, -(-self._vms // PER_HOST), self._threads)
        self.filler = Filler(self.config, self._progress)
        self._stack.callback(self.filler.close)
        self.census = self.filler.fill(self._vms)
        if self._prepare is not None:
            self._prepare(self.filler, self.census)
        begin = self._took("store", begin)
        plans = self.census.plans
        share = min(self._bridges or len(plans), len(plans))
        self._progress(f"{len(plans)} bridges with {self._vms} ports, {share} in each ovs-vswitchd")
        self._bridge_of: Mapping[str, BridgePlan] = {plan.name: plan for plan in plans}
        self.switches = self._stack.enter_context(
            Switches(folder / "ovs", plans, f"tcp:127.0.0.1:{self._openflow}", share)
        )
        begin = self._took("switches", begin)
        self._processes = Processes(folder, self.config_file, lambda: None)
        self._stack.callback(self._processes.stop)
        openflow = ("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(self._openflow))
        self._processes.start("controller", ("controller", *openflow))
        self._processes.start("api", ("econe_api",))
        port = int(self.config.api.bind.rpartition(":")[2])
        self._processes.wait("the API", lambda: api_answers(port))
        report = ("--report", self.config.controller.agent_listen)
        folders = [str(process.folder) for process in self.switches.processes]
        self._processes.start("agents", ("benchmarks.scale_agents", *report, *folders))
        if self._compute:
            self._processes.start("compute", ("benchmarks.scale_compute", *folders))
            self._processes.wait("the compute worker", lambda: self._worker_problems() == [])
        self._settle()
        self._took("first synchronisation", begin)

    def _took(self, what: str, begin: float) -> float:
        now = time.monotonic()
        self.seconds[what] = round(now - begin, 1)
        return now

    def _settle(self) -> None:
        """Wait until every host is as it should be."""
        deadline, said = time.monotonic() + _SETTLE, -1
        while True:
            hosts = self.status().get("hosts", ())
            ready = sum(1 for host in hosts if host["in_sync"] and host["ports"] > 0 and host["agent"])
            if ready == len(self.census.hosts):
                break
            if ready // 50 != said:
                said = ready // 50
                self._progress(f"{ready} of {len(self.census.hosts)} hosts have their flows")
            for name, daemon in self._processes.daemons.items():
                if daemon.status is not None:
                    raise LabError(f"{name} has ended: {daemon.last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"only {ready} hosts have their flows after {_SETTLE:g} s")
            time.sleep(1.0)
        self._progress("waiting until the controller has looked at every port's connections")
        while self._busy() and time.monotonic() < deadline:
            self._progress("still at it")

    def _busy(self) -> bool:
        """Did the controller work for more than a fifth of the last two seconds?"""
        before = cpu_seconds(self.pid("controller"))
        time.sleep(2.0)
        return cpu_seconds(self.pid("controller")) - before > 0.4

    def status(self) -> dict[str, Any]:
        """The controller's status; empty while it does not answer."""
        try:
            return request(self.config.controller.socket, {"op": "status"}, _ASK)
        except ChannelError:
            return {}

    def _worker_problems(self) -> list[str] | None:
        try:
            found = request(self.config.compute.socket, {"op": "status"}, _ASK)
        except ChannelError:
            return None
        return list(found["problems"])

    def ec2(self, keys: Keys, connections: int = 10) -> Any:
        """A boto3 client."""
        return client(f"http://{self.config.api.bind}", _REGION, keys, connections)

    def pids(self) -> dict[int, str]:
        """The names of all processes, by process id; those of one kind have one name."""
        found = {daemon.pid: name for name, daemon in self._processes.daemons.items()}
        for process in self.switches.processes:
            found |= process.pids()
        return found

    def pid(self, name: str) -> int:
        """Process id of "controller", "api", "agents" or "compute"."""
        return self._processes.daemons[name].pid

    @property
    def tenant(self) -> Tenant:
        """A tenant of a few hosts."""
        return self.census.tenants[0] if self.census.tenants else self.census.everywhere

    def sizes(self) -> dict[str, Any]:
        """What the cloud has grown to."""
        status = self.status()
        flows = sum(host["flows"] for host in status["hosts"])
        controller = resident_kib(self.pid("controller"))
        return {
            "hosts": len(status["hosts"]),
            "instances": self._vms,
            "flows": flows,
            "controller_mib": controller // 1024,
            "controller_bytes_per_flow": round(controller * 1024 / max(flows, 1)),
            "ovs_vswitchd": len(self.switches.processes),
            "ovs_vswitchd_mib": sum(process.memory_kib() for process in self.switches.processes) // 1024,
            "seconds": self.seconds,
        }

    def keep_logs(self, target: Path) -> None:
        """Copy the logs of the processes, for somebody who wants to know."""
        for daemon in self._processes.daemons.values():
            shutil.copy(daemon.recipe.log, target)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def timed(calls: int, step: Callable[[int], Any], between: Callable[[int], Any] | None = None) -> list[float]:
    """Milliseconds of each ``step(n)``; ``between(n)`` undoes it, untimed."""
    found = []
    for number in range(calls):
        begin = time.perf_counter()
        step(number)
        found.append((time.perf_counter() - begin) * 1000)
        if between is not None:
            between(number)
    return found


def median(values: list[float]) -> float:
    """The median, rounded to what can be trusted."""
    return round(statistics.median(values), 2)


COUNTED = ("flow_mods", "bundles", "compiled", "resolved")


def per_call(before: Mapping[str, Any], after: Mapping[str, Any], calls: int) -> dict[str, float]:
    """The controller's counters, per call, of two answers to ``status``."""
    old, new = before["counters"], after["counters"]
    return {name: round((new[name] - old[name]) / calls, 2) for name in COUNTED}
