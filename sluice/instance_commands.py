"""``sluice instance``: what the cloud has to be told about its instances."""

from __future__ import annotations

import click

from econe_api.config import Config
from econe_api.store.moves import move_instance
from sluice.screen import opened_store


@click.group()
def instance() -> None:
    """Instances, as the data plane sees them."""


@instance.command("moved")
@click.argument("instance_id")
@click.argument("host")
@click.pass_obj
def moved(config: Config, instance_id: str, host: str) -> None:
    """Note that INSTANCE_ID is on hypervisor HOST now, e.g. after a live migration; its traffic follows."""
    with opened_store(config) as store:
        changed = move_instance(store, instance_id, host)
    click.echo(f"{instance_id} is on {host}{'' if changed else ' already'}")
