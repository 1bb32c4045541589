"""``sluice config``: the configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from econe_api.config import ConfigError, find, read
from econe_api.config_check import mistakes


@click.group()
def config() -> None:
    """The configuration file that all services of the control plane read."""


@config.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def check(context: click.Context, file: Path | None) -> None:
    """Name every mistake in FILE, with its line and what would mend it.

    Without FILE it is the one that the services would read: --config, $SLUICE_CONFIG or /etc/sluice/sluice.toml.
    Nothing is started or changed.  The exit status is 1 when there is a mistake.
    """
    path = find(file or context.find_root().params["config_file"])
    if path is None:
        click.echo("there is no configuration file: every setting has its default")
        return
    text = read(path)
    found = mistakes(text, str(path), path.absolute().parent)
    for mistake in found:
        click.echo(f"{path}:{mistake.line or 1}: {mistake.text}")
    if found:
        raise ConfigError(f"{path}: {len(found)} mistake{'s' if len(found) > 1 else ''}; mend them and check again")
    click.echo(f"{path}: in order")
