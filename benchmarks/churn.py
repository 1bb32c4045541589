"""``scripts/bench churn``: shows what :mod:`benchmarks.churn_cloud` and :mod:`benchmarks.scale_churn` measure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import churn_cloud, scale_churn
from benchmarks.result import NOTES, Result, json_option, report
from benchmarks.scale_rows import TOGETHER

_ROWS = (
    ("RunInstances answered", "run_call_ms"),
    ("RunInstances -> running", "running_ms"),
    ("TerminateInstances answered", "terminate_call_ms"),
    ("TerminateInstances -> gone", "gone_ms"),
)
_SHOWN = 5
_METHOD = (
    "Instances of the namespace backend come and go through API, store, worker, agents, controller and switches; then "
    "switches, kernel and database are searched for what is left of them."
)
_METHOD_AMONG_MANY = (
    "Beside so many instances, 16 a hypervisor, others come and go through API, store, worker, OVSDB, agents, "
    f"controller and switches, all but the guest in them, in {scale_churn.VPCS} VPCs by turns; then switches and "
    "database are searched for what is left."
)


@click.command("churn")
@click.option("--rate", default=20.0, show_default=True, help="Starts a second, and as many stops.")
@click.option("--seconds", default=120.0, show_default=True, help="How long.")
@click.option("--life", default=1.0, show_default=True, help="Seconds that an instance runs before it is stopped.")
@click.option(
    "--vms", type=click.IntRange(64, 8000), help="Instances that are there besides, 16 a hypervisor; none has a guest."
)
@json_option
def command(rate: float, seconds: float, life: float, vms: int | None, file: Path | None) -> None:
    """Start and stop instances through everything, and look for what is left of them.

    They are namespaces on two hypervisors; with --vms, ports of hundreds of bridges that have many already.
    Exit status 1 when something is left, or a call failed.  There is no peer.
    """
    if not (0 < rate <= 1000 and 1 <= seconds <= 86400 and 0 <= life <= 3600):
        raise click.UsageError("0 < rate <= 1000, 1 <= seconds <= 86400 and 0 <= life <= 3600, please")
    if vms is None:
        figures = churn_cloud.run(rate, seconds, life, NOTES.print, f"churn{os.getpid()}")
    else:
        figures = scale_churn.run(vms, rate, seconds, life, TOGETHER, NOTES.print)
    Console().print(*_tables(figures))
    is_clean = not (any(figures["residue"].values()) or figures["left_behind"] or figures["failures"])
    held = figures["starts_per_second"]
    result = Result(
        row="churn" if vms is None else f"churn, {vms} VMs",
        ours=held,
        theirs=None,
        unit="starts/s",
        peer="none; as many stops go on beside them",
        goal=f"{rate:g} starts and stops a second, nothing left",
        met=is_clean and min(held, figures["stops_per_second"]) >= 0.95 * rate,
        counters=_summary(figures),
        method=_METHOD if vms is None else _METHOD_AMONG_MANY,
    )
    report([result], file)
    if not is_clean:
        raise click.exceptions.Exit(1)


def _summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    each = {f"{name} each": round(total / figures["starts"], 1) for name, total in figures["counters"].items()}
    cpu = {
        f"{name} CPU ms each": round(used * 1000 / figures["starts"]) for name, used in figures["cpu_seconds"].items()
    }
    medians = {f"{title}, median ms": figures[key]["p50"] for title, key in _ROWS}
    left = sum(map(len, figures["residue"].values()))
    ends = {"starts": figures["starts"], "stops a second": figures["stops_per_second"]}
    sizes = {name: figures[name] for name in ("cloud", "load") if name in figures}
    return {**ends, "left behind": left, "failures": figures["failures"], **medians, **each, **cpu, **sizes}


def _tables(figures: Mapping[str, Any]) -> list[Table]:
    held = f"{figures['starts_per_second']} starts and {figures['stops_per_second']} stops a second"
    times = Table(
        title=f"{held} of {figures['rate']:g} each, for {figures['seconds']} s; {figures['failures']} failures"
    )
    for title in ("ms", "p50", "p90", "p99", "max"):
        times.add_column(title, justify="left" if title == "ms" else "right")
    for title, key in _ROWS:
        times.add_row(title, *(str(value) for value in figures[key].values()))
    if figures["first_failure"]:
        times.caption = f"first failure: {figures['first_failure']}"
    work = Table(title=f"Work for one instance's start and stop, of {figures['starts']}")
    cores = (f"{who} {share}" for who, share in figures["cores"].items())
    work.caption = f"cores of this machine meanwhile: {', '.join(cores)}"
    for title in ("counter", "each", "process", "CPU ms each"):
        work.add_column(title, justify="right" if "each" in title else "left")
    counted, used = list(figures["counters"].items()), list(figures["cpu_seconds"].items())
    for number in range(max(len(counted), len(used))):
        left = _each(counted, number, 1 / figures["starts"])
        right = _each(used, number, 1000 / figures["starts"])
        work.add_row(*left, *right)
    residue = Table(title="What is left")
    for title in ("kind", "left", ""):
        residue.add_column(title, justify="right" if title == "left" else "left")
    for kind, left in figures["residue"].items():
        residue.add_row(kind, str(len(left)), ", ".join(left[:_SHOWN]))
    return [times, work, residue]


def _each(entries: Sequence[tuple[str, float]], number: int, factor: float) -> tuple[str, str]:
    if number >= len(entries):
        return "", ""
    name, total = entries[number]
    return name, f"{total * factor:.1f}"
