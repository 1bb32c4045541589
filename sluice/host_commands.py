"""``sluice host``: hypervisors that join, are drained, and go."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from channel.client import ChannelError, request
from econe_api.config import Config
from econe_api.store import hosts
from econe_api.store.records import REMOVED
from sluice.invitation import invite, tell
from sluice.screen import json_option, opened_store, show_json, show_table

_TIMEOUT = 5.0
_ANYWHERE = ("0.0.0.0", "[::]")  # noqa: S104


@click.group()
def host() -> None:
    """Hypervisors."""


_valid = click.option(
    "--valid",
    type=click.IntRange(1, 7 * 24 * 60),
    default=60,
    show_default=True,
    metavar="MINUTES",
    help="How long the token may be used.",
)


@host.command("add")
@click.argument("name")
@_valid
@json_option
@click.pass_obj
def add(config: Config, name: str, valid: int, as_json: bool) -> None:
    """Let host NAME join: prints a token for 'sluice agent join' there, good once and for a while."""
    _invite(config, name, valid, as_json=as_json, again=False)


@host.command("token")
@click.argument("name")
@_valid
@json_option
@click.pass_obj
def token(config: Config, name: str, valid: int, as_json: bool) -> None:
    """Print a new token for host NAME, also one that has joined: what it held before is revoked when it is used."""
    _invite(config, name, valid, as_json=as_json, again=True)


def _invite(config: Config, name: str, valid: int, *, as_json: bool, again: bool) -> None:
    with opened_store(config) as store:
        made = invite(config, store, name, timedelta(minutes=valid), again=again)
    where = _reached(config.controller.agent_listen)
    if as_json:
        show_json({"host": name, "minutes": valid, "controller": where, **asdict(made)})
        return
    click.echo(
        f"on {name}, within {valid} minutes, as root:\n\n  sluice agent join {made.token} --controller tls://{where}\n"
    )
    if not config.controller.tls:
        click.echo("note: controller.tls is not set; without it nobody can join")
    if name not in {one.name for one in config.hypervisors}:
        click.echo(
            f"note: no [[hypervisor]] of the configuration is called {name}; instances are placed on those alone"
        )


def _reached(listening: str) -> str:
    """Where hosts reach what listens there; on all addresses, by this machine's name."""
    address, _, port = listening.rpartition(":")
    return f"{platform.node()}:{port}" if address in _ANYWHERE else listening


@host.command("list")
@json_option
@click.pass_obj
def list_hosts(config: Config, as_json: bool) -> None:
    """List hosts: state, datapath, versions, ports, when they were last heard, and by how much they lag."""
    with opened_store(config) as store:
        found = hosts.list_hosts(store)
    try:
        reply = request(config.controller.socket, {"op": "status"}, _TIMEOUT)
        live = {one["name"]: one for one in reply["hosts"]}
    except (ChannelError, KeyError, TypeError):
        live = {}
        click.echo("note: the controller does not answer, so what it knows is left out", err=True)
    shown = [_shown(one, live.get(one.name, {})) for one in found]
    if as_json:
        show_json(shown)
        return
    columns = ("Host", "State", "Datapath", "Agent", "OVS", "Ports", "Instances", "Seen", "Lagging", "Certificate")
    keys = ("name", "state", "dpid", "agent_version", "ovs_version", "ports", "instances", "seen", "lagging", "expires")
    show_table(columns, [["-" if one[key] is None else one[key] for key in keys] for one in shown])


def _shown(one: hosts.Host, live: dict[str, Any]) -> dict[str, Any]:
    state = "draining" if one.draining and one.state != REMOVED else one.state
    lag = None
    if live and live.get("installed") is not None:
        lag = live["desired"] - live["installed"] if not live.get("in_sync") else 0
    return {
        "name": one.name,
        "state": state,
        "dpid": live.get("dpid"),
        "agent_version": live.get("agent_version"),
        "ovs_version": live.get("ovs_version"),
        "connected": bool(live.get("connected") and live.get("agent")),
        "ports": live.get("ports"),
        "instances": one.instances,
        "seen": None if live.get("seen") is None else f"{live['seen']:.0f} s ago",
        "lagging": lag,
        "expires": one.expires.date().isoformat() if one.expires is not None else None,
    }


@host.command("drain")
@click.argument("name")
@click.option("--end", is_flag=True, help="Place instances there again.")
@click.pass_obj
def drain(config: Config, name: str, end: bool) -> None:
    """Place no new instances on host NAME; those that are there stay and go on."""
    with opened_store(config) as store:
        left = hosts.drain(store, name, draining=not end)
    click.echo(f"host {name}: {'new instances may come' if end else f'no new instances; {left} are there'}")


@host.command("remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also when instances are there.")
@click.pass_obj
def remove(config: Config, name: str, force: bool) -> None:
    """Take host NAME out: its certificates are revoked, its connections cut, nothing of it is let in any more."""
    with opened_store(config) as store:
        revision = hosts.remove(store, name, force=force)
    told = tell(config, revision)
    click.echo(f"host {name} is removed{'' if told else '; the controller does not answer, and will hear of it'}")
    if name in {one.name for one in config.hypervisors}:
        click.echo(f"note: take the [[hypervisor]] {name} out of the configuration as well")
