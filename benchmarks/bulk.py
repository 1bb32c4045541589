"""Many flows into one empty switch: our compiler, encoder and session against ``ovs-ofctl --bundle add-flows``."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import click

from benchmarks.policy import Policy, our_flows
from benchmarks.result import NOTES, Progress, Result, json_option, report
from benchmarks.room import BRIDGE, OwnSide, Room
from flowrules.text import flow_text
from topologies.errors import LabError

_GOAL = 0.7
_METHOD = (
    "{flows} flows of {ports} ports ({local} here, each with an elastic IP) into one empty ovs-vswitchd, median of "
    "{rounds} rounds, taken in turns. Ours begins with the store's records and the agents' snapshots and ends with the "
    "acknowledgement: projection, compilation, reading the switch back, encoding, bundle, barriers. The peer reads a "
    "file with the same flows."
)


@click.command("bulk")
@click.option("--ports", default=2220, show_default=True, help="Ports of the network, half of them here.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; the medians are shown.")
@json_option
def command(ports: int, rounds: int, file: Path | None) -> None:
    """Flows a second into one empty switch, compilation included; beside ovs-ofctl --bundle add-flows."""
    if not (2 <= ports <= 20_000 and rounds > 0):
        raise click.UsageError("2 to 20000 ports and at least one round, please")
    report([run(Policy(ports, ports // 2, ports // 2), rounds, f"bulk{os.getpid()}", NOTES.print)], file)


def run(policy: Policy, rounds: int, name: str, progress: Progress) -> Result:
    """Measure; LabError when one of the two did not install what it should."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, Room(name, Path(folder)) as room:
        flows = our_flows(policy)
        lines = Path(folder) / "flows"
        lines.write_text("".join(f"{flow_text(flow)}\n" for flow in flows), encoding="utf-8")
        ours, theirs, phases = [], [], []
        for number in range(rounds + 1):  # the first one warms up, and makes the meters for both
            progress(f"round {number} of {rounds}: {len(flows)} flows")
            room.clear()
            with OwnSide(room, policy) as side:
                figures = side.figures()
            _check(room, len(flows))
            ours.append(len(flows) / figures["seconds"])
            phases.append(figures["phases"])
            room.clear()
            start = time.perf_counter()
            room.ofctl("--bundle", "add-flows", BRIDGE, str(lines))
            theirs.append(len(flows) / (time.perf_counter() - start))
            _check(room, len(flows))
    ours, theirs = ours[1:], theirs[1:]
    met = statistics.median(ours) >= _GOAL * statistics.median(theirs)
    counters = {
        "flow-mods": figures["flow_mods"],
        "bundles": figures["bundles"],
        "fragments compiled": figures["compiled"],
        "seconds of each part, median": {
            part: round(statistics.median(one[part] for one in phases[1:]), 3) for part in phases[0]
        },
    }
    sizes = {"flows": len(flows), "ports": policy.ports, "local": policy.local, "rounds": rounds}
    return Result(
        "bulk",
        round(statistics.median(ours)),
        round(statistics.median(theirs)),
        "flows/s",
        "ovs-ofctl -O OpenFlow14 --bundle add-flows",
        ">= 0.7 times ovs-ofctl",
        met,
        counters,
        _METHOD.format(**sizes),
    )


def _check(room: Room, flows: int) -> None:
    found = room.flow_count()
    if found != flows:
        raise LabError(f"the switch holds {found} flows, not {flows}")
