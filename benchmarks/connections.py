"""New TCP connections a second, from outside through an elastic IP and a security group."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.contenders import Contender, contenders, size_options, sized
from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report
from topologies.errors import LabError

_PORT = "8000"
_GOAL = 1.5
_PEER = "OVN"
_METHOD = (
    "Four threads outside open a connection, read one byte and reset it, {seconds} s at a time, median of {rounds} "
    "rounds; the contenders take turns within each round. Client and server are Python on the same cores as the switch."
)


@click.command("connections")
@size_options
@json_option
def command(ports: int, rounds: int, seconds: int, file: Path | None) -> None:
    """New connections a second through elastic IP and security group; beside OVN."""
    policy = sized(ports, rounds, seconds)
    report([run(policy, rounds, seconds, f"cn{os.getpid()}", NOTES.print)], file)


def run(policy: Policy, rounds: int, seconds: int, name: str, progress: Progress) -> Result:
    """Build the contenders and measure."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        contenders(name, Path(folder), policy, progress) as all_three,
    ):
        return measure(all_three, rounds, seconds, progress)


def measure(all_three: Sequence[Contender], rounds: int, seconds: int, progress: Progress) -> Result:
    """Connections a second; the plain bridge is measured too, as what the machine can do at all.

    The switch of OVN has been seen to end by itself under this (Open vSwitch 3.1.0, userspace): its rounds up to then
    count, and the result says so.
    """
    found: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    ended: dict[str, int] = {}
    for one in all_three:
        for place in (one.one, one.other):
            one.start(place, sys.executable, "-m", "benchmarks.connects", "serve", _PORT)
        one.await_ways(_PORT)
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        for one in all_three:
            if one.name in ended:
                continue
            try:
                before = one.processor_seconds()
                opened = _opened(one, seconds)
                cost = (one.processor_seconds() - before) / opened * 1e6
            except LabError as error:
                if one.name != _PEER or one.name not in found:
                    raise
                progress(str(error))
                ended[one.name] = number
                continue
            found.setdefault(one.name, []).append(opened / seconds)
            used.setdefault(one.name, []).append(cost)
    flows = {one.name: one.flows for one in all_three}
    medians = {who: round(statistics.median(rates)) for who, rates in found.items()}
    counters = {
        "a plain NORMAL bridge": medians["NORMAL"],
        "flows": flows,
        "rounds": {who: [round(rate) for rate in rates] for who, rates in found.items()},
        "processor microseconds of ovs-vswitchd per connection": {
            who: round(statistics.median(each)) for who, each in used.items()
        },
        **{f"round in which ovs-vswitchd of {who} ended by itself": number for who, number in ended.items()},
    }
    ours, theirs = medians["Sluice"], medians[_PEER]
    method = _METHOD.format(seconds=seconds, rounds=rounds)
    met = ours >= _GOAL * theirs
    return Result("connections", ours, theirs, "connections/s", _PEER, f">= {_GOAL:g} times OVN", met, counters, method)


def _opened(one: Contender, seconds: int) -> int:
    caller = (sys.executable, "-m", "benchmarks.connects", "call", one.public, _PORT, one.source, str(seconds))
    opened = int(one.run(one.outside, *caller, timeout=seconds + 20))
    if not opened:
        raise LabError(f"{one.name}: no connection came to be in {seconds} s")
    return opened
