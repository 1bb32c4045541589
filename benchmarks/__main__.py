"""``scripts/bench SUBCOMMAND``: figures of ours and of the peer, side by side."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import api, associate, authorize, flows, member
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


@main.command("api")
@click.option("--groups", default=1000, show_default=True, help="Security groups that there are.")
@click.option("--addresses", default=1000, show_default=True, help="Elastic IPs that there are.")
@click.option("--calls", default=200, show_default=True, help="Calls of each kind that are timed.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures to this file as well.")
def time_api(groups: int, addresses: int, calls: int, file: Path | None) -> None:
    """One boto3 script against our API (durable, signatures checked) and moto_server (in memory, unchecked)."""
    if not (10 <= calls <= addresses <= 10_000 and 1 <= groups <= 10_000):
        raise click.UsageError("10 <= calls <= addresses <= 10000 and 1 <= groups <= 10000, please")
    figures = api.run(groups, addresses, calls, _NOTES.print)
    table = Table(title=f"boto3 calls with {groups} groups and {addresses} addresses: median of the whole call")
    for title in ("", "Sluice, ms", "moto_server, ms", "ratio", "Sluice with controller, ms"):
        table.add_column(title, justify="right" if title else "left")
    for row in figures["rows"]:
        times = [f"{row[key]:.2f}" for key in ("ours_ms", "moto_ms", "ratio", "acknowledged_ms")]
        table.add_row(row["call"], *times)
    rates = figures["allocations_per_second"]
    shown = [str(rates["ours"]), str(rates["moto"]), "", str(rates["acknowledged"])]
    table.add_row("AllocateAddress a second, 8 clients", *shown)
    statements = Table(title="SQL statements of a call: constant in the number of rows")
    for title in ("", "5 rows", "300 rows"):
        statements.add_column(title, justify="right" if title else "left")
    for action, counted in figures["statements"].items():
        statements.add_row(action, str(counted["small"]), str(counted["large"]))
    Console().print(table, statements)
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


for _module in (associate, authorize, member):
    main.add_command(_module.command)


if __name__ == "__main__":
    try:
        main()
    except (LabError, CommandError, OSError) as error:
        sys.exit(f"scripts/bench: {error}")
