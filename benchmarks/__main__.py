"""``scripts/bench SUBCOMMAND``: figures of ours and of the peer, side by side."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType

import click

from econe_api.compute.netns import CommandError
from topologies.errors import LabError
from topologies.interrupts import SIGNALS

#: One line per subcommand: ``benchmarks/NAME.py`` has a click command called ``command``.
MODULES = (
    "all",
    "api",
    "associate",
    "authorize",
    "bulk",
    "churn",
    "connections",
    "dataplane",
    "flows",
    "member",
    "memory",
    "page",
    "restart",
)


@click.group()
def main() -> None:
    """Measure Sluice beside its peers on this machine."""


for _name in MODULES:
    main.add_command(import_module(f"benchmarks.{_name}").command)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """End in order: context managers clean up, and nothing interrupts them at that."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for _signal in SIGNALS:
        signal.signal(_signal, _interrupted)
    try:
        main()
    except (LabError, CommandError, OSError) as error:
        sys.exit(f"scripts/bench: {error}")
