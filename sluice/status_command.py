"""``sluice status``: is what the store promises installed on every host?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import click

from channel.client import ChannelError, request
from econe_api.config import Config
from sluice.screen import json_option, opened_store, show_json, show_table

IN_SYNC = 0
LAGS = 2
_TIMEOUT = 5.0
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host as the controller sees it; None where it does not know.

    ``dpid`` is 16 hex digits, ``agent`` whether its agent is connected.
    """

    name: str
    dpid: str | None
    connected: bool
    agent: bool
    desired: int | None
    installed: int | None
    ports: int
    flows: int
    problems: tuple[str, ...]

    @property
    def in_sync(self) -> bool:
        """Whether the switch is reachable, and has acknowledged all that it should have."""
        complete = self.installed is not None and self.installed == self.desired
        return self.connected and self.agent and complete and not self.problems


@dataclass(frozen=True, slots=True)
class Status:
    """The store's revision beside the controller's, what the controller says, and the compute worker's problems."""

    store_revision: int
    controller_revision: int
    hosts: tuple[HostStatus, ...]
    problems: tuple[str, ...]
    counters: Mapping[str, Any]
    compute: tuple[str, ...] = ()

    @property
    def in_sync(self) -> bool:
        """Whether every host has what the store held when it was asked."""
        current = self.controller_revision >= self.store_revision
        return current and not self.problems and all(host.in_sync for host in self.hosts)


@click.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show hosts, revisions, ports and problems.

    Exit status: 0 = all in sync, 1 = no answer from the controller, 2 = a host lags or has a problem.
    """
    config: Config = context.obj
    # The store is read first: a controller that is in sync knows at least this revision when it answers.
    with opened_store(config) as store:
        revision = store.revision()
    found = _ask(config, revision)
    if as_json:
        show_json({**asdict(found), "in_sync": found.in_sync})
    else:
        _show(found)
    context.exit(IN_SYNC if found.in_sync else LAGS)


def _ask(config: Config, revision: int) -> Status:
    try:
        reply = request(config.controller.socket, {"op": "status"}, _TIMEOUT)
    except ChannelError as error:
        raise ChannelError(f"the controller does not answer: {error}; start it with 'python -m controller'") from error
    try:
        return Status(
            store_revision=revision,
            controller_revision=int(reply["revision"]),
            hosts=_with_absent([_host(host) for host in reply["hosts"]], config),
            problems=tuple(str(problem) for problem in reply["problems"]),
            counters=dict(reply["counters"]),
            compute=_compute(config),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ChannelError(
            "the controller's answer is not as this program knows it; run both from the same version"
        ) from error


def _compute(config: Config) -> tuple[str, ...]:
    """What keeps instances from being as they are wanted; no news of flows, so that it is not out of sync."""
    try:
        reply = request(config.compute.socket, {"op": "status"}, _TIMEOUT)
        return tuple(str(problem) for problem in reply["problems"])
    except (ChannelError, KeyError, TypeError) as error:
        return (f"the compute worker does not answer: {error}; start it with 'python -m econe_api.compute'",)


def _with_absent(known: list[HostStatus], config: Config) -> tuple[HostStatus, ...]:
    """Add the configured hosts that the controller, perhaps started after they went down, has never heard of."""
    absent = {hypervisor.name for hypervisor in config.hypervisors} - {host.name for host in known}
    text = "its agent has not connected since the controller started"
    unheard = [HostStatus(name, None, False, False, None, None, 0, 0, (text,)) for name in absent]
    return tuple(sorted(known + unheard, key=lambda host: host.name))


def _host(host: Mapping[str, Any]) -> HostStatus:
    return HostStatus(
        name=str(host["name"]),
        dpid=_maybe(host["dpid"], str),
        connected=bool(host["connected"]),
        agent=bool(host["agent"]),
        desired=_maybe(host["desired"], int),
        installed=_maybe(host["installed"], int),
        ports=int(host["ports"]),
        flows=int(host["flows"]),
        problems=tuple(str(problem) for problem in host["problems"]),
    )


def _maybe(value: Any, kind: Callable[[Any], _Value]) -> _Value | None:
    return None if value is None else kind(value)


def _show(found: Status) -> None:
    click.echo(f"store at revision {found.store_revision}, controller at {found.controller_revision}")
    columns = ("Host", "Datapath", "Switch", "Agent", "Desired", "Installed", "Ports", "Flows", "State")
    show_table(columns, [_row(host) for host in found.hosts])
    for problem in found.problems:
        click.echo(f"problem: {problem}")
    for host in found.hosts:
        for problem in host.problems:
            click.echo(f"problem: {host.name}: {problem}")
    for problem in found.compute:
        click.echo(f"instances: {problem}")
    click.echo("all in sync" if found.in_sync else "not in sync")


def _row(host: HostStatus) -> tuple[object, ...]:
    def known(value: int | None) -> object:
        return "-" if value is None else value

    return (
        host.name,
        host.dpid or "-",
        "connected" if host.connected else "away",
        "connected" if host.agent else "away",
        known(host.desired),
        known(host.installed),
        host.ports,
        host.flows,
        "in sync" if host.in_sync else "problem" if host.problems else "lags",
    )
