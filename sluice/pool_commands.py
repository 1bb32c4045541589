"""``sluice pool``: the public addresses that the cloud may hand out."""

from __future__ import annotations

import dataclasses

import click

from econe_api.config import Config
from econe_api.store import pools
from sluice.screen import json_option, opened_store, show_json, show_table


@click.group()
def pool() -> None:
    """Pools of elastic IPs."""


@pool.command("create")
@click.argument("name")
@click.option("--cidr", required=True, help="The public network, e.g. 203.0.113.0/24.")
@click.option("--gateway", required=True, help="Its router, e.g. 203.0.113.1.")
@click.option("--gateway-mac", default="", help="The router's MAC address (default: the hypervisors ask for it).")
@click.option("--first", required=True, help="First address to hand out.")
@click.option("--last", required=True, help="Last address to hand out.")
@json_option
@click.pass_obj
def create_pool(
    config: Config, name: str, cidr: str, gateway: str, gateway_mac: str, first: str, last: str, as_json: bool
) -> None:
    """Make pool NAME; making the same one again changes nothing."""
    with opened_store(config) as store:
        made = pools.create_pool(store, name, cidr, gateway, gateway_mac, first, last)
    _show(made, as_json)


@pool.command("add")
@click.argument("cidr")
@click.option("--name", help="Its name (default: the network's, such as 203.0.113.0-24).")
@click.option("--gateway", help="Its router: the first host's address, or the last one's (default: the first).")
@click.option("--gateway-mac", default="", help="The router's MAC address (default: the hypervisors ask for it).")
@json_option
@click.pass_obj
def add_network(
    config: Config, cidr: str, name: str | None, gateway: str | None, gateway_mac: str, as_json: bool
) -> None:
    """Hand out all addresses of the public network CIDR but its gateway's; doing so again changes nothing."""
    with opened_store(config) as store:
        made = pools.add_network(store, cidr, name, gateway, gateway_mac)
    _show(made, as_json)


@pool.command("remove")
@click.argument("name")
@click.pass_obj
def remove_pool(config: Config, name: str) -> None:
    """Take pool NAME away, of which no account may have an address."""
    with opened_store(config) as store:
        pools.remove_pool(store, name)


@pool.command("list")
@json_option
@click.pass_obj
def list_pools(config: Config, as_json: bool) -> None:
    """List pools and how many of their addresses are free."""
    with opened_store(config) as store:
        found = pools.list_pools(store)
    if as_json:
        show_json([dataclasses.asdict(one) for one in found])
        return
    rows = [(p.name, p.cidr, p.gateway, p.gateway_mac, p.first, p.last, p.free, p.used) for p in found]
    show_table(("Pool", "Network", "Gateway", "Gateway MAC", "First", "Last", "Free", "Used"), rows)


def _show(made: pools.Pool, as_json: bool) -> None:
    if as_json:
        show_json(dataclasses.asdict(made))
        return
    click.echo(f"pool {made.name}: {made.first} to {made.last}, {made.free} free, {made.used} used")
