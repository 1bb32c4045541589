"""TCP throughput from outside through an elastic IP and a security group, and between two instances of one host."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.contenders import Contender, contenders, size_options, sized
from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report

_PORT = "80"
_WAYS = ("through an elastic IP", "east-west")
_GOALS = {"NORMAL": 0.95, "OVN": 1.3}
"""For the first of the ways."""
_METHOD = (
    "One TCP connection of iperf3, {seconds} s at a time, median of {rounds} rounds; the three take turns within each "
    "round. Sluice's switch holds {ours} flows, OVN's {theirs}; userspace datapath, one machine for all ends."
)


@click.command("dataplane")
@size_options
@json_option
def command(ports: int, rounds: int, seconds: int, file: Path | None) -> None:
    """TCP throughput through elastic IP and security group; beside a plain NORMAL bridge and OVN."""
    policy = sized(ports, rounds, seconds)
    report(run(policy, rounds, seconds, f"dp{os.getpid()}", NOTES.print), file)


def run(policy: Policy, rounds: int, seconds: int, name: str, progress: Progress) -> list[Result]:
    """Build the contenders and measure."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        contenders(name, Path(folder), policy, progress) as all_three,
    ):
        return measure(all_three, rounds, seconds, progress)


def measure(all_three: Sequence[Contender], rounds: int, seconds: int, progress: Progress) -> list[Result]:
    """Gbit/s of each contender on each way."""
    found: dict[tuple[str, str], list[_Measured]] = {}
    for one in all_three:
        for place in (one.one, one.other):
            one.start(place, "iperf3", "-s", "-p", _PORT)
        one.await_ways(_PORT)
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        for way in _WAYS:
            for one in all_three:
                found.setdefault((one.name, way), []).append(_measure(one, way, seconds))
    flows = {one.name: one.flows for one in all_three}
    method = _METHOD.format(seconds=seconds, rounds=rounds, ours=flows["Sluice"], theirs=flows["OVN"])
    return _results(found, method)


class _Measured(NamedTuple):
    """Gbit/s; seconds of a processor that ovs-vswitchd used for each GByte; passes of a packet through the datapath."""

    rate: float
    used: float
    passes: float


def _measure(one: Contender, way: str, seconds: int) -> _Measured:
    one.forget_passes()
    before = one.processor_seconds()
    client = ["iperf3", "-J", "-p", _PORT, "-t", str(seconds)]
    if way == _WAYS[0]:
        said = one.run(one.outside, *client, "-c", one.public, "-B", one.source, timeout=seconds + 20)
    else:
        said = one.run(one.one, *client, "-c", one.private, timeout=seconds + 20)
    received = json.loads(said)["end"]["sum_received"]
    used = one.processor_seconds() - before
    return _Measured(received["bits_per_second"] / 1e9, used / (received["bytes"] / 1e9), one.passes())


def _results(found: Mapping[tuple[str, str], Sequence[_Measured]], method: str) -> list[Result]:
    medians = {key: round(statistics.median(one.rate for one in all_of), 3) for key, all_of in found.items()}
    used = {key: round(statistics.median(one.used for one in all_of), 2) for key, all_of in found.items()}
    passes = {key: round(statistics.median(one.passes for one in all_of), 2) for key, all_of in found.items()}
    results = []
    for way in _WAYS:
        ours = medians["Sluice", way]
        for peer, words in (("NORMAL", "a plain NORMAL bridge"), ("OVN", "OVN")):
            theirs, goal = medians[peer, way], _GOALS[peer] if way == _WAYS[0] else None
            counters = {
                "rounds": {who: [round(one.rate, 2) for one in found[who, way]] for who in ("Sluice", peer)},
                "passes of a packet through the datapath": {who: passes[who, way] for who in ("Sluice", peer)},
                "processor seconds of ovs-vswitchd per GByte": {who: used[who, way] for who in ("Sluice", peer)},
            }
            aim, met = (f">= {goal:g} times", ours >= goal * theirs) if goal else ("", None)
            row = f"dataplane: {way}, {peer}"
            results.append(Result(row, ours, theirs, "Gbit/s", words, aim, met, counters, method))
    return results
