"""``scripts/bench SUBCOMMAND``: figures of ours and of the peer, side by side."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import flows
from benchmarks.policy import Policy
from econe_api.compute.netns import CommandError
from topologies.errors import LabError

_NOTES = Console(stderr=True)


@click.group()
def main() -> None:
    """Measure Sluice beside its peers on this machine."""


@main.command("flows")
@click.option("--ports", default=200, show_default=True, help="Ports of the network.")
@click.option("--local", default=100, show_default=True, help="How many of them are on this host.")
@click.option("--elastic", default=100, show_default=True, help="How many local ports have an elastic IP.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures to this file as well.")
def count_flows(ports: int, local: int, elastic: int, file: Path | None) -> None:
    """Flows on one host for one policy: a shared group of five rules, elastic IPs; ours and OVN's."""
    if not 0 <= elastic <= local <= ports <= 10_000:
        raise click.UsageError("elastic <= local <= ports <= 10000, please")
    figures = flows.run(Policy(ports, local, elastic), f"bench{os.getpid()}", _NOTES.print)
    _NOTES.print(f"Flows on one host: {local} local ports of {ports}, {elastic} elastic IPs, one group of 5 rules")
    table = Table()
    for title in ("", "flows", "ratio"):
        table.add_column(title, justify="right" if title else "left")
    table.add_row("Sluice", str(figures["ours"]), "1.00")
    table.add_row("OVN", str(figures["ovn"]), f"{figures['ovn'] / figures['ours']:.2f}")
    Console().print(table)
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (LabError, CommandError, OSError) as error:
        sys.exit(f"scripts/bench: {error}")
