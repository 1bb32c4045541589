"""Stops established connections that no rule allows any more, also those in which the opener is silent.

The pipeline judges the opener's packets, so a connection in which only the other side sends would go on for ever after
its rule has gone.  After a change that forbids something the sweeper therefore (1) lets the switch's cached flows catch
up with the new ones, which are in force by then, so that nothing can be opened by the old rules any more; (2) reads the
connections of the ports concerned; (3) marks those that the present rules do not allow as blocked, and takes the mark
from those that they allow again.

Flushing a connection instead would be wrong: the next packet of the side that did not open it would open a new one, by
the rules of the other direction.

Level, not edge: a port is read again until it has been read whole, and all ports are when a switch or a controller has
come back.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol

import eventlet

from controller.agent_channel import AgentChannel, AskError
from controller.conntrack_dump import read_connections
from controller.narrowing import Concerned
from flowrules.conntrack import set_blocked
from flowrules.intent import Group, Intent, Member, Port, Revocation
from flowrules.judge import Connection, Policy, policy

LOG = logging.getLogger(__name__)

_RETRY = (0.5, 1.0, 2.0, 5.0)
#: Marks sent before others get a turn.
_AT_ONCE = 256
Mark = tuple[Connection, int]


class Cloud(Protocol):
    """What the sweeper asks of the rest of the controller."""

    channel: AgentChannel

    def revocation(self) -> Revocation:
        """What becomes of connections whose rule has gone."""

    def intents_of(self, host: str) -> Iterable[Intent]:
        """Everything that the bridge of a host shall know."""

    def emit(self, host: str, message: bytes) -> None:
        """Send messages to a switch, if it is connected."""


class Sweeper:
    """One greenlet per host, for as long as there is something to sweep."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._due: defaultdict[str, set[int]] = defaultdict(set)
        self._blocked: defaultdict[str, set[int]] = defaultdict(
            set
        )  # ports that had blocked connections when last read
        self._at_work: set[str] = set()
        self.marked = 0

    def suspect(self, host: str, ports: Concerned) -> None:
        """The rules of these ports have changed on the switch; returns at once."""
        self._due[host] |= ports.narrowed | (ports.widened & self._blocked[host])
        if self._due[host] and host not in self._at_work:
            self._at_work.add(host)
            eventlet.spawn(self._sweep, host)

    def _sweep(self, host: str) -> None:
        failures = 0
        try:
            while self._due[host]:
                due, self._due[host] = self._due[host], set()
                try:
                    self._settle(host)
                    for port in sorted(due):
                        self._sweep_port(host, port)
                        due.discard(port)
                    failures = 0
                except AskError as error:
                    self._due[host] |= due
                    if failures == 0:
                        LOG.warning("connections whose rule has gone cannot be looked for yet: %s", error)
                    eventlet.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
                    failures += 1
        finally:
            self._at_work.discard(host)

    def _settle(self, host: str) -> None:
        """Wait until every cached flow has been compared with the flow tables as they are now.

        Twice, because the first round to end may have begun before the change.
        """
        for _ in range(2):
            self._cloud.channel.ask(host, "revalidator/wait")

    def _sweep_port(self, host: str, zone: int) -> None:
        dump = self._cloud.channel.ask(host, "dpctl/dump-conntrack", "-m", f"zone={zone}")
        if dump.truncated:
            LOG.warning(
                "host %s: port %d has more connections than can be read; some may outlive their rule", host, zone
            )
        found = list(read_connections(dump.text))
        if not found:
            self._blocked[host].discard(zone)
            return
        intents = list(self._cloud.intents_of(host))
        port = next((item for item in intents if isinstance(item, Port) and item.ofport == zone), None)
        if port is None:
            return
        rules = policy(
            (item for item in intents if isinstance(item, Group)),
            (item for item in intents if isinstance(item, Member)),
        )
        keep = self._cloud.revocation() is Revocation.KEEP
        marks = list(marks_of(found, port, rules, keep=keep))
        (self._blocked[host].add if _stay_blocked(found, marks) else self._blocked[host].discard)(zone)
        self.marked += len(marks)
        for start in range(0, len(marks), _AT_ONCE):
            messages = [set_blocked(connection, zone, value) for connection, value in marks[start : start + _AT_ONCE]]
            self._cloud.emit(host, b"".join(messages))
            eventlet.sleep(0)


def marks_of(found: Iterable[tuple[Connection, bool]], port: Port, rules: Policy, *, keep: bool) -> Iterator[Mark]:
    """The marks to set (1) and to take away (0); ``keep`` = nothing is blocked that is not blocked yet."""
    for connection, blocked in found:
        allowed = rules.allows(port, connection)
        if allowed and blocked:
            yield connection, 0
        elif not allowed and not blocked and not keep:
            yield connection, 1


def _stay_blocked(found: Iterable[tuple[Connection, bool]], marks: Iterable[Mark]) -> bool:
    state = {**dict(found), **{connection: bool(value) for connection, value in marks}}
    return any(state.values())
