"""``sluice audit``: do store, controller and every switch say the same, flow by flow and port by port?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from channel.client import ChannelError, request
from econe_api.config import Config
from sluice.screen import json_option, opened_store, show, show_json

CLEAN = 0
DIFFERS = 2
_TIMEOUT = 120.0
_CATCH_UP = 5.0
_SHOWN = 5
_Findings = Sequence[Mapping[str, Any]]


@click.command()
@click.option("--host", help="Look at this hypervisor only.")
@click.option("--repair", is_flag=True, help="Send flows again, delete extra ones, flush zones of ports that are gone.")
@click.option("--foreign", is_flag=True, help="With --repair: delete flows that are not ours as well.")
@json_option
@click.pass_context
def audit(context: click.Context, host: str | None, repair: bool, foreign: bool, as_json: bool) -> None:
    """Compare what the store promises with what every switch holds, and name each difference.

    Exit status: 0 = no difference (or all repaired), 2 = differences, 1 = no audit could be made.
    """
    if foreign and not repair:
        raise click.UsageError("--foreign deletes flows, so it needs --repair")
    config: Config = context.obj
    with opened_store(config) as store:
        revision = store.revision()
    # The controller shall have read what the store holds; whether the hosts have it is what the audit tells.
    request(config.controller.socket, {"op": "installed", "revision": revision, "timeout": _CATCH_UP}, _TIMEOUT)
    found = request(
        config.controller.socket, {"op": "audit", "host": host, "repair": repair, "foreign": foreign}, _TIMEOUT
    )
    try:
        behind = int(found["revision"]) < revision
        clean = not found["remaining"] and not behind
    except (KeyError, TypeError, ValueError) as error:
        raise ChannelError(
            "the controller's answer is not as this program knows it; run both from one version"
        ) from error
    if as_json:
        show_json({**{key: value for key, value in found.items() if key != "ok"}, "store_revision": revision})
    else:
        _show(found, revision, behind=behind)
    context.exit(CLEAN if clean else DIFFERS)


def _show(found: Mapping[str, Any], revision: int, *, behind: bool) -> None:
    hosts = found["hosts"]
    flows = sum(host["flows"] for host in hosts)
    looked = (
        f"looked at {len(hosts)} hosts with {flows} flows in {found['seconds']:.1f} s, revision {found['revision']}"
    )
    parts: list[RenderableType] = [Text(looked, style="dim")]
    if behind:
        parts.append(Text(f"the controller is behind the store, which is at revision {revision}", style="bold red"))
    remaining = {_identity(one) for one in found["remaining"]}
    by_host: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in [*found["findings"], *(one for one in found["remaining"] if one not in found["findings"])]:
        by_host[str(one["host"])].append(one)
    for host in hosts:
        mine = by_host.pop(host["name"], [])
        if mine:
            parts.append(_host(host["name"], mine, remaining, repaired=bool(found["repaired"])))
    hidden = int(found["count"]) - len(found["findings"])
    if hidden > 0:
        parts.append(Text(f"and {hidden} more differences"))
    parts.append(_sum(found))
    show(*parts)


def _sum(found: Mapping[str, Any]) -> Text:
    count, left = int(found["count"]), len(found["remaining"])
    if not count and not left:
        return Text("no difference", style="bold green")
    if found["repaired"]:
        style = "bold green" if not left else "bold red"
        return Text(f"{count} found, {left} left after the repair", style=style)
    return Text(f"{count} difference{'s' if count != 1 else ''}", style="bold red")


def _identity(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["host"], one["kind"], one["what"]


def _host(name: str, found: _Findings, remaining: set[tuple[Any, ...]], *, repaired: bool) -> Panel:
    """One host's differences, alike ones together: kind, cause and mend once, each difference in a line."""
    alike: defaultdict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in found:
        alike[one["kind"], one["cause"], one["mend"]].append(one)
    blocks = [_block(*key, members, remaining, repaired=repaired) for key, members in alike.items()]
    return Panel(Group(*blocks), title=Text(f"{name}: {len(found)}"), title_align="left", expand=False)


def _block(
    kind: str, cause: str, mend: str, members: _Findings, remaining: set[tuple[Any, ...]], *, repaired: bool
) -> Table:
    block = Table(box=None, pad_edge=False, show_header=False)
    block.add_column(style="cyan", no_wrap=True)
    block.add_column(overflow="fold")
    times = f"{len(members)} x " if len(members) > 1 else ""
    block.add_row("what", Text(f"{times}{kind}", style="bold"))
    for one in members[:_SHOWN]:
        line = Text(str(one["what"]))
        if repaired:
            left = _identity(one) in remaining
            line.append(" - still there" if left else " - repaired", style="red" if left else "green")
        block.add_row("", line)
    if len(members) > _SHOWN:
        block.add_row("", Text(f"and {len(members) - _SHOWN} more (--json names all)"))
    block.add_row("cause", Text(cause))
    block.add_row("mend", Text(mend))
    return block
