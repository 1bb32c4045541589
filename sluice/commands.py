"""The tree of commands."""

from __future__ import annotations

from pathlib import Path

import click

from econe_api.config import load
from sluice.account_commands import account, quota
from sluice.address_commands import usage, whohad
from sluice.agent_commands import agent
from sluice.audit_command import audit
from sluice.config_command import config
from sluice.host_commands import host
from sluice.instance_commands import instance
from sluice.key_commands import key
from sluice.log_command import log
from sluice.opennebula_commands import opennebula
from sluice.pool_commands import pool
from sluice.status_command import status
from sluice.trace_command import trace

_FIRST_STEPS = """\b
First steps:
  sluice config check                    is the configuration in order?
  sluice pool add 203.0.113.0/24         hand out these public addresses
  sluice account create alice            a tenant, its network and its keys
  sluice status                          is every host as it should be?
  sluice trace i-... 203.0.113.9 tcp 80  would this connection pass, and why (not)?
  sluice audit --repair                  compare every switch with the store, heal
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_FIRST_STEPS)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.  Default: $SLUICE_CONFIG, else /etc/sluice/sluice.toml if it is there.",
)
@click.version_option(package_name="sluice", message="sluice %(version)s")
@click.pass_context
def cli(context: click.Context, config_file: Path | None) -> None:
    """Run a cloud's elastic IPs and security groups on Open vSwitch."""
    # The one has to live with a file that is wrong, the other is for hosts that have none.
    if context.invoked_subcommand not in (config.name, agent.name):
        context.obj = load(config_file)


_COMMANDS = (
    account,
    key,
    quota,
    pool,
    host,
    agent,
    instance,
    status,
    audit,
    trace,
    log,
    whohad,
    usage,
    opennebula,
    config,
)
for command in _COMMANDS:
    cli.add_command(command)
