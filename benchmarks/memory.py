"""Resident memory of the controller for each flow of its switches."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.policy import Policy
from benchmarks.result import NOTES, Progress, Result, json_option, report
from benchmarks.room import OwnSide, Room

_GOAL = 1000
_PUBLISHED = 1800
_METHOD = (
    "Resident memory of a process with the controller's parts, after {flows} flows of one host were acknowledged, less "
    "that of the same process before the first record. It holds the store's records, the intents, the desired "
    "and the installed flows. Antrea's figure is its authors' and was not measured here."
)


@click.command("memory")
@click.option(
    "--ports", default=11_000, show_default=True, help="Ports of the network, half of them here (100,000 flows)."
)
@json_option
def command(ports: int, file: Path | None) -> None:
    """Bytes of the controller's resident memory per flow; Antrea's published figure is for reference only."""
    if not 2 <= ports <= 20_000:
        raise click.UsageError("2 to 20000 ports, please")
    report([run(Policy(ports, ports // 2, ports // 2), f"mem{os.getpid()}", NOTES.print)], file)


def run(policy: Policy, name: str, progress: Progress) -> Result:
    """Measure in a process that does nothing else."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, Room(name, Path(folder)) as room:
        progress(f"{policy.ports} ports, {policy.local} of them here")
        with OwnSide(room, policy) as side:
            figures = side.figures()
        progress("the same once more, with the flows there")
        with OwnSide(room, policy) as side:
            again = _each(side.figures())
    flows, each = figures["flows"], _each(figures)
    counters = {
        "flows": flows,
        "MB before the first record": round(figures["rss_before"] / 1e6, 1),
        "MB after": round(figures["rss_after"] / 1e6, 1),
        "bytes a flow of a controller that found its flows installed": again,
        "Antrea's published figure, bytes a flow": _PUBLISHED,
    }
    peer = "nobody in this run (Antrea publishes about 1.8 kB)"
    method = _METHOD.format(flows=flows)
    return Result("memory", each, None, "bytes/flow", peer, "<= 1000 bytes", each <= _GOAL, counters, method)


def _each(figures: dict[str, Any]) -> int:
    grown = int(figures["rss_after"]) - int(figures["rss_before"])
    return int(grown / figures["flows"])
