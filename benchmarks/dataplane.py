"""TCP throughput from outside through an elastic IP and a security group, and between two instances of one host."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click

from benchmarks.contenders import Contender, Spent, contenders, in_turns, size_options, sized
from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report

_PORT = "80"
_WAYS = ("through an elastic IP", "east-west")
_GOALS = {"NORMAL": 0.95, "OVN": 1.3}
"""For the first of the ways."""
_METHOD = (
    "One TCP connection of iperf3, {seconds} s at a time, median of {rounds} rounds; the three take turns within each "
    "round, in a random order. Sluice's switch holds {ours} flows, OVN's {theirs}; userspace datapath, one machine for "
    "all ends, the same memory setting for every switch (ADR 0031)."
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
            for one in in_turns(all_three):
                found.setdefault((one.name, way), []).append(_measure(one, way, seconds))
    flows = {one.name: one.flows for one in all_three}
    method = _METHOD.format(seconds=seconds, rounds=rounds, ours=flows["Sluice"], theirs=flows["OVN"])
    return _results(found, method)


class _Measured(NamedTuple):
    """Gbit/s, GBytes that came through, and what ovs-vswitchd spent on them."""

    rate: float
    gbytes: float
    spent: Spent


def _measure(one: Contender, way: str, seconds: int) -> _Measured:
    client = ["iperf3", "-J", "-p", _PORT, "-t", str(seconds)]
    place, ends = one.one, ["-c", one.private]
    if way == _WAYS[0]:
        place, ends = one.outside, ["-c", one.public, "-B", one.source]
    said, spent = one.spent_by(lambda: one.run(place, *client, *ends, timeout=seconds + 20))
    received = json.loads(said)["end"]["sum_received"]
    return _Measured(received["bits_per_second"] / 1e9, received["bytes"] / 1e9, spent)


def _results(found: Mapping[tuple[str, str], Sequence[_Measured]], method: str) -> list[Result]:
    medians = {key: round(median(one.rate for one in all_of), 3) for key, all_of in found.items()}
    results = []
    for way in _WAYS:
        ours, ceiling = medians["Sluice", way], round(medians["NORMAL", way] / medians["OVN", way], 2)
        for peer, words in (("NORMAL", "a plain NORMAL bridge"), ("OVN", "OVN")):
            theirs, goal = medians[peer, way], _GOALS[peer] if way == _WAYS[0] else None
            both = {who: found[who, way] for who in ("Sluice", peer)}
            counters = {
                "rounds": {who: [round(one.rate, 2) for one in rounds] for who, rounds in both.items()},
                **({"a plain NORMAL bridge by OVN": ceiling} if peer == "OVN" else {}),
                "passes of a packet through the datapath": _medians(both, lambda one: one.spent.passes),
                "processor seconds of ovs-vswitchd per GByte": _medians(
                    both, lambda one: one.spent.seconds / one.gbytes
                ),
                "of these in system calls": _medians(both, lambda one: one.spent.system / one.gbytes),
            }
            aim, met = (f">= {goal:g} times", ours >= goal * theirs) if goal else ("", None)
            row = f"dataplane: {way}, {peer}"
            results.append(Result(row, ours, theirs, "Gbit/s", words, aim, met, counters, method))
    return results


def _medians(found: Mapping[str, Sequence[_Measured]], figure: Callable[[_Measured], float]) -> dict[str, float]:
    return {who: round(median(map(figure, rounds)), 2) for who, rounds in found.items()}
