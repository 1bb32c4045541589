"""``scripts/demo``: build the small cloud, take the tour, say what was seen, and leave nothing behind."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from topologies import command
from topologies.cloud import Cloud, Plan
from topologies.errors import LabError
from topologies.interrupts import Interrupts
from topologies.stage import Stage
from topologies.tour import MACHINE_STEPS, STEPS, Report, Step, take

PROG = "scripts/demo"
#: Virtual machines whose CPUs are emulated take their time.
MACHINE_PATIENCE = 24.0


class DemoFailedError(LabError):
    """Something was not as expected; the summary has said what."""


def main() -> int:
    """Run the demo and return its exit status."""
    parser = command.Parser(prog=PROG, description="Build a small cloud on this machine and tour it with boto3.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the observations there")
    parser.add_argument(
        "--name", default="sluicedemo", help="begin the namespaces' names with it (default %(default)s)"
    )
    parser.add_argument(
        "--backend",
        choices=("namespace", "libvirt"),
        default="namespace",
        help="what instances are: network namespaces, or virtual machines (default %(default)s)",
    )
    options = parser.parse_args()
    return command.run(PROG, lambda interrupts: _demo(options, interrupts))


def _demo(options: Namespace, interrupts: Interrupts) -> int:
    if options.json is not None:
        # A file that cannot be written is better known now, and one of an interrupted tour says that it was not taken.
        _write(options.json, {"as_expected": False, "steps": []})
    console = Console(highlight=False, soft_wrap=True)
    start = time.monotonic()
    with command.scratch_state(options.name) as state, console.status("building the cloud") as status:

        def progress(text: str) -> None:
            status.update(text)
            console.print(Text(f"  {text}", style="dim"))

        machines = options.backend == "libvirt"
        steps = MACHINE_STEPS if machines else STEPS
        console.print("Building a small cloud: two hypervisors, a fabric, a public network, an outside host")
        cloud = Cloud(Plan(options.name, state, backend=options.backend), progress, interrupts.check)
        try:
            cloud.start()
            command.forget_earlier(state)
            built = time.monotonic() - start
            console.print(f"  ready after {built:.1f} s; API at {cloud.endpoint}")
            stage = Stage(cloud, interrupts.check, patience=MACHINE_PATIENCE if machines else 1.0)
            reports = _tour(stage, steps, console, status)
        finally:
            status.update("taking the cloud down")
            with interrupts.ignored():
                cloud.close()
        seconds = time.monotonic() - start
        good = _summary(console, reports, len(steps), built, seconds)
        if options.json is not None:
            documents = [report.document() for report in reports]
            figures = {"built_seconds": round(built, 3), "seconds": round(seconds, 3)}
            _write(options.json, {"as_expected": good, **figures, "steps": documents})
        if not good:
            raise DemoFailedError("not everything was as expected")
    return 0


def _tour(stage: Stage, steps: Sequence[Step], console: Console, status: Status) -> list[Report]:
    reports: list[Report] = []
    for report in take(stage, status.update, steps):
        reports.append(report)
        _print(console, len(reports), report)
    return reports


def _print(console: Console, number: int, report: Report) -> None:
    console.print()
    console.print(Text(f"{number}. {report.name}", style="bold"))
    for call in report.calls:
        console.print(Text(f"   called    {call}"))
    for one in report.observations:
        mark, style = ("observed", "green") if one.as_expected else ("WRONG   ", "bold red")
        wanted = "" if one.as_expected else f", expected {one.expected}"
        console.print(Text(f"   {mark}  {one.what}: {one.seen}{wanted} ({one.seconds:.2f} s)", style=style))
    if report.error is not None:
        console.print(Text(f"   FAILED    {report.error}", style="bold red"))
    console.print(Text(f"   {report.seconds:.2f} s", style="dim"))


def _summary(console: Console, reports: list[Report], steps: int, built: float, seconds: float) -> bool:
    table = Table(title="Summary", title_justify="left", box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("as expected", justify="right")
    table.add_column("seconds", justify="right")
    table.add_row("Build the cloud", "", f"{built:.1f}")
    for report in reports:
        right = sum(one.as_expected for one in report.observations)
        verdict = f"{right} of {len(report.observations)}" if report.error is None else "call failed"
        style = "green" if report.as_expected else "bold red"
        table.add_row(report.name, Text(verdict, style=style), f"{report.seconds:.1f}")
    good = len(reports) == steps and all(report.as_expected for report in reports)
    console.print()
    console.print(table)
    verdict = "Everything was as expected" if good else "NOT everything was as expected"
    console.print(f"{verdict}; {seconds:.1f} s in all, and nothing is left behind.")
    return good


def _write(path: Path, document: dict[str, object]) -> None:
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path} cannot be written ({error.strerror}): name another file with --json") from error


if __name__ == "__main__":
    sys.exit(main())
