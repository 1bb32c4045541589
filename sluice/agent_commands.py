"""``sluice agent``: what is done on a hypervisor itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from agents import joining
from agents.config_file import SYSTEM_FILE, AgentConfigError, read_arguments, written
from agents.findings import Verdict, judge
from agents.joining import JoinError
from agents.options import Options, parse
from certificates.files import FilesError, HostFolder
from certificates.token import TokenError, read
from sluice.screen import json_option, show_json, show_table

FOLDER = Path("/var/lib/sluice-agent")
"""Where a host keeps its key and certificate."""


class AgentError(Exception):
    """A command on a hypervisor failed; the text is one line with cause and mend."""


@click.group()
def agent() -> None:
    """The agent of this hypervisor; works without the control plane's configuration."""


_file = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=SYSTEM_FILE,
    show_default=True,
    help="The agent's configuration.",
)


@agent.command("join")
@click.argument("token")
@click.option("--controller", "where", required=True, metavar="URL", help="tls://HOST:PORT where agents report.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="For the key.")
@click.option("--uplink", help="Interface to the public network.")
@click.option("--fabric", help="Interface to the other hypervisors.")
@_file
def join(token: str, where: str, folder: Path, uplink: str | None, fabric: str | None, file: Path) -> None:
    """Get this host its certificate with TOKEN, and write the agent's configuration if there is none."""
    try:
        wanted = read(token)
        address = joining.read_address(where)
        joined = joining.join(wanted, address, HostFolder(folder))
        until = joined.credentials.holder().until
    except (TokenError, JoinError, FilesError) as error:
        raise AgentError(str(error)) from error
    click.echo(f"joined as {wanted.host}; the certificate is good until {until:%Y-%m-%d} and renews itself")
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    known = {
        "host": wanted.host,
        "controller": f"ssl:{host}:{joined.openflow_port}",
        "report": f"{host}:{address[1]}",
        "tls": str(folder.absolute()),
        "uplink": uplink,
        "fabric": fabric,
    }
    if file.exists():
        click.echo(f"{file} is left as it is; it should say:\n{written(known)}")
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(written(known), encoding="utf-8")
    except OSError as error:
        raise AgentError(f"{file} cannot be written ({error.strerror}); write it yourself: {known}") from error
    click.echo(f"{file} is written; look over it, then: sluice agent check, systemctl enable --now sluice-agent")


@agent.command("run")
@_file
@click.pass_context
def run(context: click.Context, file: Path) -> None:
    """Keep the bridge right and the controller told, until SIGTERM."""
    options = _options(file)
    from agents.__main__ import run as run_agent  # which needs Open vSwitch's library, as no other command here

    context.exit(run_agent(options))


@agent.command("check")
@_file
@json_option
@click.pass_context
def check(context: click.Context, file: Path, as_json: bool) -> None:
    """Look whether this host has what it needs, and say how to mend what it has not.

    Exit status: 0 = all in order, 1 = something fails, 2 = there are warnings alone.
    """
    from agents import survey

    options = _options(file)
    found = judge(survey.wanted(options), survey.look(options), datetime.now(UTC))
    worst = {one.verdict for one in found}
    if as_json:
        show_json([asdict(one) for one in found])
    else:
        show_table(("", "What", "Said", "To mend"), [(one.verdict, one.what, one.said, one.mend) for one in found])
    context.exit(1 if Verdict.FAIL in worst else 2 if Verdict.WARN in worst else 0)


def _options(file: Path) -> Options:
    try:
        return parse(read_arguments(file.read_text(encoding="utf-8")))
    except OSError as error:
        mend = "'sluice agent join' writes it, or name another with --file"
        raise AgentError(f"{file} cannot be read ({error.strerror}); {mend}") from error
    except (AgentConfigError, ValueError) as error:
        raise AgentError(f"{file}: {error}") from error
