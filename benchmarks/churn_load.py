"""Instances that start and stop at a steady rate through the whole of a cloud.

The load is open: a start is due every 1/rate seconds and a stop ``life`` seconds after its instance runs, whether or
not the cloud keeps up.  When more than ``_BACKLOG`` seconds' worth of instances are on their way to running, starts
wait until there are fewer: the rate that is held then is what the cloud can do.

Where guests are real, each that runs sends a datagram to the one before it, so that there are connections to be
forgotten; every tenth gets an elastic IP, which its end has to free.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.cpu import CpuMeter
from topologies.errors import LabError

_BACKLOG = 4.0
_CLIENTS = 32
API_THREADS = 64
"""Calls that start and stop instances wait for the effect: as many threads are needed as are under way."""
_LOOK = 0.04
_POLL = 0.1
"""Seconds between two calls that see how the instances are; times until they run or are gone are as coarse."""
_DRAIN = 60.0
_ADDRESSES = 5
_EVERY = 10
_PROGRESS = 10.0
_ON_THE_WAY = ("pending", "shutting-down")


class Site(Protocol):
    """A running cloud, as far as the load needs one."""

    def ec2(self, connections: int) -> Any:
        """A boto3 client of an account that has instances of this load alone."""

    def networks(self) -> Sequence[Mapping[str, Any]]:
        """What RunInstances is told of the network, one after the other in turn; {} = the default one."""

    def status(self) -> Mapping[str, Any]:
        """The controller's status."""

    def pids(self) -> Mapping[int, str]:
        """The names of the cloud's processes, by process id; time of those of one name counts together."""

    def talk(self, instance: str, address: str) -> None:
        """Have an instance send something to an address, if it can."""


@dataclass(slots=True)
class _Instance:
    """Moments on the clock of ``time.perf_counter``; those of what has not come yet are None."""

    number: int
    started: float
    id: str = ""
    address: str = ""
    answered: float | None = None
    running: float | None = None
    stopped: float | None = None
    stop_answered: float | None = None
    gone: float | None = None
    associating: bool = False
    """It is about to get an elastic IP, and must not end before."""


@dataclass(slots=True)
class _Load:
    """What the threads share."""

    instances: dict[str, _Instance] = field(default_factory=dict)
    finished: list[_Instance] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    starting: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Churn:
    """Drives a running cloud."""

    def __init__(self, site: Site, rate: float, life: float, progress: Callable[[str], None]) -> None:
        self._site = site
        self._rate = rate
        self._life = life
        self._progress = progress
        # One for all threads: making a client costs as much as a hundred calls.
        self._ec2 = site.ec2(2 * _CLIENTS + 1)
        self._networks = site.networks()
        self._load = _Load()
        self._image = self._ec2.describe_images()["Images"][0]["ImageId"]
        self._free = [self._ec2.allocate_address()["AllocationId"] for _ in range(_ADDRESSES)]
        self._stops: ThreadPoolExecutor
        self._over = threading.Event()

    def run(self, seconds: float) -> dict[str, Any]:
        """Churn for ``seconds``, then end what is left; returns the figures."""
        cpu = CpuMeter(self._site.pids())
        before = self._counters()
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        begin = time.perf_counter()
        try:
            with ThreadPoolExecutor(_CLIENTS) as starts, ThreadPoolExecutor(_CLIENTS) as self._stops:
                self._start_all(starts, begin, seconds)
                last = time.perf_counter()
                self._drain()
        finally:
            self._over.set()
            watcher.join()
        spent, machine = cpu.read(), cpu.machine()
        after = self._counters()
        for allocation in self._free:
            self._ec2.release_address(AllocationId=allocation)
        counters = {name: after[name] - before[name] for name in after}
        return {**self._figures(begin, last), "counters": counters, "cpu_seconds": spent, "cores": machine}

    def _counters(self) -> dict[str, int]:
        return dict(self._site.status()["counters"])

    def _start_all(self, pool: ThreadPoolExecutor, begin: float, seconds: float) -> None:
        load, first, told, number = self._load, begin, begin, 0
        while (now := time.perf_counter()) < first + seconds:
            due = begin + number / self._rate
            if now < due:
                time.sleep(min(due - now, _LOOK))
            elif load.starting >= self._rate * _BACKLOG:
                time.sleep(_LOOK)
                # What was missed is not made up for: the rate is what it is.
                begin = time.perf_counter() - number / self._rate
            else:
                with load.lock:
                    load.starting += 1
                pool.submit(self._guarded, self._start, number)
                number += 1
            self._stop_due()
            if now - told >= _PROGRESS:
                told = now
                self._progress(
                    f"{now - first:4.0f} s: {number} started, {len(load.finished)} gone, {len(load.instances)} there"
                )

    def _stop_due(self) -> None:
        now = time.perf_counter()
        for instance in list(self._load.instances.values()):
            if instance.stopped is not None or instance.running is None or instance.associating:
                continue
            if instance.running + self._life <= now:
                instance.stopped = now
                self._stops.submit(self._guarded, self._stop, instance)

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN
        while (self._load.instances or self._load.starting) and time.monotonic() < deadline:
            self._stop_due()
            time.sleep(_LOOK)

    def _guarded(self, step: Callable[[Any], None], what: Any) -> None:
        try:
            step(what)
        except Exception as error:
            with self._load.lock:
                self._load.failures.append(f"{type(error).__name__}: {error}")

    def _start(self, number: int) -> None:
        instance = _Instance(number, time.perf_counter())
        asked = {"ImageId": self._image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1}
        try:
            network = self._networks[number % len(self._networks)]
            made = self._ec2.run_instances(**asked, **network)["Instances"][0]
        except BaseException:
            with self._load.lock:
                self._load.starting -= 1
            raise
        instance.id, instance.address = made["InstanceId"], made["PrivateIpAddress"]
        instance.answered = time.perf_counter()
        with self._load.lock:
            self._load.instances[instance.id] = instance

    def _stop(self, instance: _Instance) -> None:
        self._ec2.terminate_instances(InstanceIds=[instance.id])
        instance.stop_answered = time.perf_counter()

    def _watch(self) -> None:
        """See how the instances are: one call shows those of the whole cloud that are on their way to a state."""
        asked = [{"Name": "instance-state-name", "Values": list(_ON_THE_WAY)}]
        previous: _Instance | None = None
        while not self._over.wait(_POLL):
            with self._load.lock:
                known = list(self._load.instances.values())
            seen = time.perf_counter()
            try:
                found = self._ec2.describe_instances(Filters=asked)["Reservations"]
            except Exception as error:
                self._load.failures.append(f"DescribeInstances: {error}")
                continue
            on_the_way = {one["InstanceId"]: one["State"]["Name"] for each in found for one in each["Instances"]}
            for instance in known:
                previous = self._note(instance, on_the_way.get(instance.id), seen, previous)

    def _note(self, instance: _Instance, state: str | None, seen: float, last: _Instance | None) -> _Instance | None:
        load = self._load
        if instance.running is None and state is None:
            instance.associating = instance.number % _EVERY == 0
            instance.running = time.perf_counter()
            with load.lock:
                load.starting -= 1
            if last is not None:
                self._site.talk(instance.id, last.address)
            if instance.associating:
                self._stops.submit(self._guarded, self._associate, instance)
            return instance
        if instance.stop_answered is not None and instance.stop_answered <= seen and state is None:
            instance.gone = time.perf_counter()
            with load.lock:
                del load.instances[instance.id]
                load.finished.append(instance)
        return last

    def _associate(self, instance: _Instance) -> None:
        allocation = self._free[instance.number // _EVERY % len(self._free)]
        try:
            self._ec2.associate_address(AllocationId=allocation, InstanceId=instance.id, AllowReassociation=True)
        finally:
            instance.associating = False

    def _figures(self, begin: float, last: float) -> dict[str, Any]:
        done = self._load.finished
        if not done:
            raise LabError("no instance came and went: " + "; ".join(self._load.failures[:3] or ["see the logs"]))
        first_stop = min(one.stopped for one in done if one.stopped)
        stopping = max(one.gone for one in done if one.gone) - first_stop
        return {
            "starts": len(done),
            "failures": len(self._load.failures),
            "first_failure": self._load.failures[0] if self._load.failures else None,
            "left_behind": len(self._load.instances),
            "seconds": round(last - begin, 1),
            "starts_per_second": round(len(done) / (last - begin), 2),
            "stops_per_second": round(len(done) / stopping, 2),
            "run_call_ms": _percentiles([1000 * (one.answered - one.started) for one in done if one.answered]),
            "running_ms": _percentiles([1000 * (one.running - one.started) for one in done if one.running]),
            "terminate_call_ms": _percentiles(
                [1000 * (one.stop_answered - one.stopped) for one in done if one.stop_answered and one.stopped]
            ),
            "gone_ms": _percentiles([1000 * (one.gone - one.stopped) for one in done if one.gone and one.stopped]),
        }


def _percentiles(found: list[float]) -> dict[str, float]:
    if len(found) < 2:
        found = found * 2 or [0.0, 0.0]
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return {
        "p50": round(cuts[49], 1),
        "p90": round(cuts[89], 1),
        "p99": round(cuts[98], 1),
        "max": round(max(found), 1),
    }
