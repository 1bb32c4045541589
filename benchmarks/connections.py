"""New TCP connections a second, from outside through an elastic IP and a security group."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click

from benchmarks.connects import PORTS
from benchmarks.contenders import Contender, Spent, contenders, in_turns, size_options, sized
from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report
from topologies.errors import LabError

_PORT = "8000"
_GOAL = 1.5
_PEER = "OVN"
_METHOD = (
    "One loop outside opens sixty-four connections at a time, reads one byte of each and resets it, {seconds} s at a "
    "time, median of {rounds} rounds; the contenders take turns within each round, in a random order. No two "
    "connections of a contender have the same ports. Client and server are Python on the same cores as the switch. "
    "Every switch has the same memory setting (ADR 0031)."
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


class _Measured(NamedTuple):
    """Connections a second, how many were whole, and what ovs-vswitchd spent on them."""

    rate: float
    opened: int
    spent: Spent


def measure(all_three: Sequence[Contender], rounds: int, seconds: int, progress: Progress) -> Result:
    """Connections a second; the plain bridge is measured too, as what the machine can do at all.

    Open vSwitch 3.1.0 has been seen to end itself under OVN (:mod:`benchmarks.connects` says when): if it does, the
    rounds up to then count, and the result says so.
    """
    found: dict[str, list[_Measured]] = {}
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    ports = [str(int(_PORT) + number) for number in range(PORTS)]
    for one in all_three:
        for place in (one.one, one.other):
            one.start(place, sys.executable, "-m", "benchmarks.connects", "serve", *ports)
        one.await_ways(_PORT)
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        for one in in_turns(all_three):
            if one.name in ended:
                continue
            try:
                measured = _measure(one, seconds, begun)
            except LabError as error:
                if one.name != _PEER or one.name not in found:
                    raise
                progress(str(error))
                ended[one.name] = number
                continue
            found.setdefault(one.name, []).append(measured)
    rates = {who: round(median(each.rate for each in found[who])) for who in (one.name for one in all_three)}
    counters = {
        "a plain NORMAL bridge": rates["NORMAL"],
        "a plain NORMAL bridge by OVN": round(rates["NORMAL"] / rates[_PEER], 2),
        "flows": {one.name: one.flows for one in all_three},
        "rounds": {who: [round(each.rate) for each in found[who]] for who in rates},
        **_costs({who: found[who] for who in rates}),
        **{f"round in which ovs-vswitchd of {who} ended by itself": number for who, number in ended.items()},
    }
    ours, theirs = rates["Sluice"], rates[_PEER]
    method = _METHOD.format(seconds=seconds, rounds=rounds)
    met = ours >= _GOAL * theirs
    return Result("connections", ours, theirs, "connections/s", _PEER, f">= {_GOAL:g} times OVN", met, counters, method)


def _costs(found: Mapping[str, Sequence[_Measured]]) -> dict[str, Any]:
    def medians(figure: Callable[[Spent], float], digits: int | None = None) -> dict[str, float]:
        """Of one connection."""
        return {who: round(median(figure(one.spent) / one.opened for one in all_of), digits) for who, all_of in of}

    of = found.items()
    return {
        "processor microseconds of ovs-vswitchd per connection": medians(lambda spent: spent.seconds * 1e6),
        "of these in system calls": medians(lambda spent: spent.system * 1e6),
        "processors that ovs-vswitchd used (it forwards in one thread)": {
            who: round(median(one.spent.seconds / one.opened * one.rate for one in all_of), 2) for who, all_of in of
        },
        "packets per connection": medians(lambda spent: spent.packets, 1),
        "upcalls per connection": medians(lambda spent: spent.upcalls, 4),
    }


def _measure(one: Contender, seconds: int, begun: dict[str, int]) -> _Measured:
    """Call for so long; adds to what the contender has ``begun``."""
    first = begun.get(one.name, 0)
    caller = ("-m", "benchmarks.connects", "call", one.public, _PORT, one.source, str(seconds), str(first))
    said, spent = one.spent_by(lambda: one.run(one.outside, sys.executable, *caller, timeout=seconds + 20))
    opened, new = map(int, said.split())
    begun[one.name] = first + new
    if not opened:
        raise LabError(f"{one.name}: no connection came to be in {seconds} s")
    return _Measured(opened / seconds, opened, spent)
