"""``sluice trace``: would this connection be allowed, by which rule, and where does it end if not?"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import click
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from channel.client import request
from econe_api.config import Config
from econe_api.store.store import Store
from econe_api.store.whereabouts import find_interfaces
from sluice.screen import json_option, opened_store, show, show_json

ALLOWED = 0
DENIED = 2
_TIMEOUT = 60.0
_PROTOCOLS = {
    **{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51},
    **{"icmpv6": 58, "vrrp": 112, "sctp": 132},
}
_ICMP = (1, 58)


@click.command()
@click.argument("source")
@click.argument("destination")
@click.argument("protocol")
@click.argument("port", required=False)
@json_option
@click.pass_context
def trace(
    context: click.Context, source: str, destination: str, protocol: str, port: str | None, as_json: bool
) -> None:
    """Ask the switches what they would do with a new connection from SOURCE to DESTINATION.

    Both are an instance id, the Name of an instance, a network interface id, a private, IPv6 or elastic IP address, or
    any address outside.  PROTOCOL is a name (tcp, udp, icmp, icmpv6, ...) or number, PORT a port, for ICMP TYPE or
    TYPE/CODE (default: an echo request).  Between two instances it goes by IPv4, but icmpv6 and IPv6 addresses by IPv6.

    Exit status: 0 = allowed, 2 = denied, 1 = it cannot be told.
    """
    config: Config = context.obj
    message: dict[str, Any] = {"op": "trace", **_service(protocol, port)}
    with opened_store(config) as store:
        message["source"], message["destination"] = _end(store, source), _end(store, destination)
    found = request(config.controller.socket, message, _TIMEOUT)
    if as_json:
        show_json({key: value for key, value in found.items() if key != "ok"})
    else:
        _show(found, source, destination)
    context.exit(ALLOWED if found["allowed"] else DENIED)


def _service(protocol: str, port: str | None) -> dict[str, int | None]:
    number = _PROTOCOLS.get(protocol.lower())
    if number is None:
        number = _number(protocol, 255, f"{protocol!r} is no protocol: name {', '.join(_PROTOCOLS)} or a number")
    code = None
    if number in _ICMP and port is not None and "/" in port:
        port, _, text = port.partition("/")
        code = _number(text, 255, f"{text!r} is no ICMP code")
    most = 255 if number in _ICMP else 65535
    return {
        "protocol": number,
        "port": None if port is None else _number(port, most, f"{port!r} is no port from 0 to {most}"),
        "code": code,
    }


def _number(text: str, most: int, complaint: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > most:
        raise click.UsageError(complaint)
    return int(text)


def _end(store: Store, name: str) -> dict[str, str]:
    try:
        return {"address": str(ip_address(name))}
    except ValueError:
        found = find_interfaces(store, name)
    if not found:
        raise click.UsageError(f"there is no instance or interface {name!r}")
    if len(found) > 1:
        ids = ", ".join(f"{one.instance} of account {one.account}" for one in found)
        raise click.UsageError(f"{name!r} is the Name of several instances, name one by its id: {ids}")
    return {"interface": found[0].interface}


def _show(found: Mapping[str, Any], source: str, destination: str) -> None:
    allowed = bool(found["allowed"])
    verdict = Text("ALLOWED" if allowed else "DENIED", style="bold green" if allowed else "bold red")
    ends = f"{_named(source, found['source'])} -> {_named(destination, found['destination'])}"
    head = Text.assemble(verdict, f"  {found['service']}  {ends}")
    lines: list[Text] = [head, Text(str(found["reason"]))]
    for rule in found["rules"]:
        by = f"{rule['direction']:<7} by {rule['rule']} of {rule['group_words']}"
        lines.append(Text(f"{by}: {rule['words']} (on {rule['host']})"))
    if found["dropped"]:
        place = found["dropped"]
        lines.append(Text(f"dropped on {place['host']} in table {place['table']} {place['name']}", style="dim"))
    lines += [Text(f"note: {note}", style="yellow") for note in found["notes"]]
    show(Group(*lines), *(_hop(hop) for hop in found["hops"]))


def _named(asked: str, words: str) -> str:
    """What was asked for, put before what it is when that does not say it."""
    return words if asked in words else f"{asked} = {words}"


def _hop(hop: Mapping[str, Any]) -> Panel:
    steps = Table(box=None, pad_edge=False, show_header=False)
    steps.add_column(justify="right", style="cyan")
    steps.add_column(style="cyan", no_wrap=True)
    steps.add_column(overflow="fold")
    for step in hop["steps"]:
        words = Text(str(step["words"]))
        if step["drops"] and hop["left"] is None and step is hop["steps"][-1]:
            words.append(" - dropped", style="bold red")
        steps.add_row(str(step["table"]), str(step["name"]), words)
    left = hop["left"] or "nowhere"
    return Panel(steps, title=Text(f"{hop['host']}: {hop['entered']} -> {left}"), title_align="left", expand=False)
