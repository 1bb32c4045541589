"""``sluice`` and ``python -m sluice``: runs a command; what can be expected to go wrong is one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from channel.client import ChannelError
from econe_api.config import ConfigError
from econe_api.store.errors import StoreError
from econe_api.vnm.native import RefusedError
from sluice.agent_commands import AgentError
from sluice.commands import cli

FAILED = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (None: the process's own) and return the exit status."""
    try:
        status = cli.main(args=arguments, prog_name="sluice", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return FAILED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "sluice"
        return _fail(f"{error.format_message().rstrip('.')}; see '{path} --help'")
    except (AgentError, ChannelError, ConfigError, StoreError, RefusedError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader of our output has gone: nothing to tell it, and Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0


def _fail(text: str) -> int:
    click.echo(f"sluice: {' '.join(text.split())}", err=True)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
