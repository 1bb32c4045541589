"""``scripts/bench all``: every benchmark, one after the other, and the page."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from benchmarks import page
from benchmarks.result import NOTES

#: The order of the page.
ROWS = (
    "associate",
    "authorize",
    "member",
    "bulk",
    "restart",
    "memory",
    "connections",
    "dataplane",
    "flows",
    "api",
    "churn",
    "churn-8000",
)
#: Rows that are another benchmark's, measured otherwise.
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"churn-8000": ("churn", {"vms": 8000})}


@click.command("all")
@click.option(
    "--figures",
    default="bench-figures",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the figures go, a file each.",
)
@click.option(
    "--only", multiple=True, type=click.Choice(ROWS), help="Measure these alone; the page shows all there are."
)
@click.pass_context
def command(context: click.Context, figures: Path, only: tuple[str, ...]) -> None:
    """Run every benchmark with its default sizes, then write docs/benchmarks.md.  Takes the better part of an hour.

    A benchmark that fails is named and left out; the others go on.
    """
    figures.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in only or ROWS:
        NOTES.rule(name)
        try:
            module, options = _VARIANTS.get(name, (name, {}))
            context.invoke(import_module(f"benchmarks.{module}").command, file=figures / f"{name}.json", **options)
        except Exception as error:
            NOTES.print(f"{name} failed: {type(error).__name__}: {error}")
            failed.append(name)
    there = [file for name in ROWS if (file := figures / f"{name}.json").exists()]
    page.write(there, Path("docs"))
    if failed:
        raise click.ClickException(f"without figures of this run: {', '.join(failed)}")
