"""What every benchmark comes to: rows of one shape, printed as a table, kept as JSON, drawn by the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe

NOTES = Console(stderr=True)
Progress = Callable[[str], None]

json_option = click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures to this file as well."
)


@dataclass(frozen=True, slots=True)
class Result:
    """One row: ``ours`` and ``theirs`` in ``unit``, measured in one run.

    ``row`` names it ("bulk", or "api: AllocateAddress" when a benchmark has several), ``peer`` is who was measured
    beside us (``theirs`` None: nobody was, and ``peer`` says what to read the figure against), ``goal`` is the aim in
    words, ``met`` None when there is none.  ``counters`` are figures that do not drift with the machine's load,
    ``method`` says in a sentence or two what was done.
    """

    row: str
    ours: float
    theirs: float | None
    unit: str
    peer: str
    goal: str = ""
    met: bool | None = None
    counters: dict[str, Any] = field(default_factory=dict)
    method: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by theirs."""
        return round(self.ours / self.theirs, 3) if self.theirs else None

    def as_json(self) -> dict[str, Any]:
        """The row as it is written to files."""
        return {**asdict(self), "ratio": self.ratio}


def report(results: Sequence[Result], file: Path | None) -> None:
    """Print the rows; write them to ``file``, with the machine they were measured on."""
    table = Table()
    for title in ("", "ours", "theirs", "ratio", "unit", "goal", ""):
        table.add_column(title, justify="right" if title in ("ours", "theirs", "ratio") else "left")
    for one in results:
        verdict = {None: "", True: "met", False: "missed"}[one.met]
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        table.add_row(one.row, number(one.ours), number(one.theirs), ratio, one.unit, one.goal, verdict)
    Console().print(table)
    for one in results:
        counted = ", ".join(f"{name}: {value}" for name, value in one.counters.items())
        NOTES.print(f"{one.row}, beside {one.peer}. {counted}", highlight=False)
    if file is not None:
        write(results, file)


def write(results: Sequence[Result], file: Path) -> None:
    """Keep the rows for ``scripts/bench page``."""
    document = {"machine": describe(), "results": [one.as_json() for one in results]}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> tuple[dict[str, Any], list[Result]]:
    """The machine and the rows of a file that :func:`write` made; click.ClickException when it is not one."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        rows = [{name: value for name, value in row.items() if name != "ratio"} for row in document["results"]]
        return dict(document["machine"]), [Result(**row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.ClickException(
            f"{file} holds no figures of scripts/bench ({error}): write it with --json of a benchmark"
        ) from error


def number(value: float | None) -> str:
    """A figure with as many digits as say something."""
    if value is None:
        return ""
    if value != 0 and abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"
