"""``scripts/bench page FILES...``: docs/benchmarks.md and its pictures, from what ``--json`` of benchmarks wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks.result import NOTES, Result, number, read
from benchmarks.svg import draw

_DOCS = Path("docs")
_INTRODUCTION = """\
# Benchmarks

`scripts/bench all` takes these figures and writes this page. Every peer ran beside Sluice in the same run on one
machine, so read the ratio first (ours by theirs): absolute figures are those of one small machine on one day, and a
load above its cores spoils them. Counters (flow-mods, passes) do not depend on the machine.
"""


@click.command("page")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--docs", default=_DOCS, show_default=True, type=click.Path(path_type=Path, file_okay=False))
def command(files: tuple[Path, ...], docs: Path) -> None:
    """Write docs/benchmarks.md and one picture per row from FILES, which benchmarks wrote with --json."""
    rows = write(files, docs)
    NOTES.print(f"{docs / 'benchmarks.md'}: {rows} rows")


def write(files: Iterable[Path], docs: Path) -> int:
    """Write page and pictures below ``docs``, of rows with one name the last; returns how many rows."""
    machine: dict[str, Any] = {}
    rows: dict[str, Result] = {}
    for file in files:
        machine, found = read(file)
        rows |= {one.row: one for one in found}
    pictures = docs / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    names = {row: f"{_file_name(row)}.svg" for row in rows}
    for stale in {one.name for one in pictures.glob("*.svg")} - set(names.values()):
        (pictures / stale).unlink()
    for row, result in rows.items():
        (pictures / names[row]).write_text(draw(result), encoding="utf-8")
    text = "\n".join([_INTRODUCTION, *_machine(machine), *_table(rows.values()), *_sections(rows, names)])
    (docs / "benchmarks.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    return len(rows)


def _machine(machine: dict[str, Any]) -> list[str]:
    return ["## The machine", "", "| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in machine.items()), ""]


def _table(rows: Iterable[Result]) -> list[str]:
    lines = ["## All rows", "", "| row | Sluice | peer | ratio | unit | goal | |", "|---|---:|---:|---:|---|---|---|"]
    for one in rows:
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        cells = [f"[{one.row}](#{_anchor(one.row)})", number(one.ours), number(one.theirs), ratio, one.unit, one.goal]
        lines.append(f"| {' | '.join(_cell(cell) for cell in [*cells, _met(one)])} |")
    return [*lines, ""]


def _sections(rows: dict[str, Result], names: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for row, one in rows.items():
        lines += [
            f"## {row}",
            "",
            f"![{row}](benchmarks/{names[row]})",
            "",
            f"Beside {one.peer}. {one.method}".strip(),
            "",
        ]
        if one.goal:
            lines += [f"Goal: {one.goal}; {_met(one) or 'not judged'}.", ""]
        lines += [f"* {name}: {_said(value)}" for name, value in one.counters.items()]
        lines += [""] if one.counters else []
    return lines


def _met(one: Result) -> str:
    return {None: "", True: "met", False: "**missed**"}[one.met]


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_said(inner) for inner in value)
    return number(value) if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _file_name(row: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")


def _anchor(row: str) -> str:
    """GitHub's name of a heading."""
    return re.sub(r"[^\w\- ]", "", row.lower()).replace(" ", "-")
