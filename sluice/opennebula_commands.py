"""``sluice opennebula``: machines that OpenNebula runs by itself (docs/opennebula-driver.md)."""

from __future__ import annotations

from typing import IO

import click

from econe_api.config import Config
from econe_api.vnm import machines
from econe_api.vnm.document import read_template
from econe_api.vnm.native import template_rules
from sluice.screen import json_option, opened_store, show_json, show_table


@click.group()
def opennebula() -> None:
    """Machines and security groups of OpenNebula's own."""


@opennebula.command("list")
@json_option
@click.pass_obj
def list_machines(config: Config, as_json: bool) -> None:
    """List the NICs that its network driver has taken over."""
    with opened_store(config) as store, store.read(machines.call("list")) as txn:
        rows = machines.listing(txn)
    names = ("machine", "nic", "network", "private_ip", "mac", "host", "instance", "interface")
    found = [{name: row._mapping[name] for name in names} for row in rows]
    if as_json:
        show_json(found)
        return
    titles = ("VM", "NIC", "Network", "Address", "MAC", "Host", "Instance", "Interface")
    show_table(titles, [tuple(one.values()) for one in found])


@opennebula.command("forget")
@click.argument("machine", type=int)
@click.pass_obj
def forget(config: Config, machine: int) -> None:
    """Forget OpenNebula's VM MACHINE, which ended without a word, e.g. together with its host."""
    with opened_store(config) as store, store.write(machines.call("forget")) as txn:
        gone = machines.forget(txn, machine, None)
    click.echo(f"VM {machine}: {gone} interfaces forgotten")


@opennebula.command("check")
@click.argument("file", type=click.File("rb"))
def check(file: IO[bytes]) -> None:
    """Say whether a security group, as 'onesecgroup show -x ID' prints it into FILE (- = here), can be enforced."""
    number, name, rules = read_template(file.read())
    made = template_rules(rules)
    click.echo(f"security group {number} ({name}): {len(rules)} rules of OpenNebula's, {len(made)} of Sluice's")
