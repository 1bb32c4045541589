"""How commands show what they found: JSON for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from econe_api.config import Config
from econe_api.store.store import Store

_PLAIN_WIDTH = 200
_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Give the command ``--json``, as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")(command)


@contextmanager
def opened_store(config: Config) -> Iterator[Store]:
    """Open the store of ``config`` for one command."""
    store = Store.open(config)
    try:
        yield store
    finally:
        store.close()


def show_json(value: Any) -> None:
    """Write ``value`` as indented JSON."""
    click.echo(json.dumps(value, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, values as they are; into a pipe it is never cut to a screen's width."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False).print(table)


def show(*parts: RenderableType) -> None:
    """Write parts one below the other; into a pipe without colours and never cut to a screen's width."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)
    for part in parts:
        console.print(part)
