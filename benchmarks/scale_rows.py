"""What ``associate``, ``authorize`` and ``member`` have in common: both clouds, one after the other, at each size."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.machine import load
from benchmarks.ovn import Ovn
from benchmarks.ovn_cloud import OvnCloud, policy_of
from benchmarks.result import NOTES, Result
from benchmarks.scale_cloud import Census, Filler
from benchmarks.scale_lab import ScaleLab, median, timed

CALLS = 60
PEER_CALLS = 10
TOGETHER = 4
"""Bridges that share an ovs-vswitchd (docs/adr/0032-four-bridges-an-ovs-vswitchd.md)."""
_GROWTH = 1.2
WITHOUT = "CreateTags, which no switch hears of, shows what any call costs without the data plane."
PEER = "OVN, ovn-nbctl --wait=hv, 16 local ports on one real chassis, all other ports bound elsewhere"
Prepare = Callable[[Filler, Census], None]
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Figure:
    """Our side of a row: the median in milliseconds, and what was counted.

    ``grows``: more hypervisors have to hear of it in a larger cloud.
    """

    row: str
    milliseconds: float
    goal: float
    counters: dict[str, Any] = field(default_factory=dict)
    method: str = ""
    grows: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A cloud with so many bridges in each ovs-vswitchd, None = all in one, and what is measured there."""

    bridges: int | None
    ours: Callable[[ScaleLab], list[Figure]]


def options(command: _Command) -> _Command:
    """The options of the three."""
    command = click.option(
        "--bridges",
        default=TOGETHER,
        show_default=True,
        type=click.IntRange(1, 500),
        help="How many bridges share an ovs-vswitchd; 500 is one for all, which takes minutes to start.",
    )(command)
    return click.option(
        "--vms",
        multiple=True,
        type=click.IntRange(64, 8000),
        default=(200, 8000),
        show_default=True,
        help="Instances of the cloud, 16 a hypervisor; may be given several times.",
    )(command)


def measure(
    sizes: Sequence[int],
    layouts: Sequence[Layout],
    theirs: Callable[[OvnCloud], list[float]],
    prepare: Prepare | None = None,
) -> list[Result]:
    """Measure both at each size; a row that was measured at several sizes is followed by how it has grown."""
    results: list[Result] = []
    first: dict[str, tuple[int, Result]] = {}
    for vms in sorted(set(sizes)):
        figures: list[Figure] = []
        for layout in layouts:
            NOTES.print(f"Sluice with {vms} instances")
            with ScaleLab(vms, NOTES.print, layout.bridges, prepare) as lab:
                measured = layout.ours(lab)
                cloud = {"cloud": lab.sizes(), "load": load()}
            figures += [replace(figure, counters={**figure.counters, **cloud}) for figure in measured]
        NOTES.print(f"OVN with {vms} ports")
        peer = _peer(vms, theirs)
        for figure in figures:
            row = Result(
                row=f"{figure.row}, {vms} VMs",
                ours=figure.milliseconds,
                theirs=peer,
                unit="ms",
                peer=PEER,
                goal=f"<= {figure.goal:g} ms",
                met=figure.milliseconds <= figure.goal,
                counters=figure.counters,
                method=figure.method,
            )
            results.append(row)
            if figure.row in first:
                results.append(_growth(figure, first[figure.row], (vms, row)))
            first.setdefault(figure.row, (vms, row))
    return results


def without_data_plane(ec2: Any, instance: str) -> float:
    """Milliseconds of a durable call that no switch hears of: what any call costs, client and signature included."""
    tags = [[{"Key": "n", "Value": str(number)}] for number in range(CALLS)]
    return median(timed(CALLS, lambda number: ec2.create_tags(Resources=[instance], Tags=tags[number])))


def _peer(vms: int, theirs: Callable[[OvnCloud], list[float]]) -> float:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, Ovn(f"bench{os.getpid()}", Path(folder)) as ovn:
        cloud = OvnCloud(ovn, policy_of(vms))
        cloud.build()
        NOTES.print("OVN is as it should be")
        values = sorted(theirs(cloud))
    return round(values[len(values) // 2], 2)


def _growth(figure: Figure, small: tuple[int, Result], large: tuple[int, Result]) -> Result:
    growth = large[1].ours / small[1].ours
    theirs = (large[1].theirs or 0.0) / (small[1].theirs or 1.0)
    return Result(
        row=f"{figure.row}, growth {small[0]} -> {large[0]} VMs",
        ours=round(growth, 2),
        theirs=round(theirs, 2),
        unit="times",
        peer=PEER,
        goal="" if figure.grows else f"<= {_GROWTH:g} times",
        met=None if figure.grows else growth <= _GROWTH,
        method="The median at the larger size by that at the smaller one.",
    )
