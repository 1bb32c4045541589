"""The agents of many hypervisors in one process: ``python -m benchmarks.scale_agents --report IP:PORT FOLDER...``.

What an agent does once its bridge stands, with the agents' own code: it reads the rows of its bridge from a real
OVSDB, and keeps a connection of its own to the controller, which it tells what is plugged in.  ``FOLDER`` is that of a
:class:`benchmarks.scale_switch.SwitchProcess`; each of its bridges is the host of the same name.
"""

from __future__ import annotations

import argparse
import logging
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from agents.ovsdb import Ovsdb, bridge_row
from agents.ports import snapshot
from agents.questions import Questions
from agents.report import Link
from agents.rows import BridgeRow, Database
from agents.session import Backoff, Timing

_LOOK_S = 2.0
_TICK_S = 0.5
_RUNS = 50
"""As often at most does one database come first when it sends much."""
#: On a machine that carries a whole cloud an answer may take its time.
_TIMING = Timing(answer=120.0, silence=20.0)


class Waits:
    """Stands in for python-ovs's poller, and notes what its callers would have it wait for."""

    def __init__(self) -> None:
        self.descriptors: dict[int, int] = {}
        self.at_once = False

    def fd_wait(self, descriptor: int | socket.socket, events: int) -> None:
        """Wait for ``events`` of poll(2)."""
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self.descriptors[number] = self.descriptors.get(number, 0) | events

    def immediate_wake(self) -> None:
        """There is something to do already."""
        self.at_once = True

    def timer_wait(self, _: int) -> None:
        """Times are of hundreds of milliseconds: what looks at all replicas now and then is enough."""

    def timer_wait_until(self, _: int) -> None:
        """Likewise."""


class Replica(Ovsdb):
    """A replica of the rows of all bridges in one database."""

    def waits_for(self) -> Waits:
        """What there is to wait for before :meth:`run` has anything to do."""
        found = Waits()
        self._idl.wait(found)
        return found

    def bridges(self) -> list[BridgeRow]:
        """The bridges, as agents see them; none before the replica is whole."""
        return (
            [bridge_row(row, self._idl.interface) for row in self._idl.tables["Bridge"].rows.values()]
            if self.ours
            else []
        )


class Host:
    """One agent: the connection of one host."""

    def __init__(self, name: str, report: tuple[str, int], control: Path) -> None:
        self.name = name
        self.link = Link(name, report, _TIMING, Backoff(_TIMING, random.random), Questions(control))
        self._told: BridgeRow | None = None

    def tell(self, row: BridgeRow) -> bool:
        """Report the bridge, if it is complete and is not what was told last; is there something to report?"""
        if row == self._told or any(one.ofport is None for one in row.interfaces):
            return False
        latest = snapshot(Database(row), f"{self.name}-up", f"{self.name}-fab", ())
        if latest is None:
            return False
        self.link.offer(latest)
        self._told = row
        return True


class Agents:
    """All of them, around one poll."""

    def __init__(self, folders: list[Path], report: tuple[str, int]) -> None:
        self._report = report
        self._replicas = [(folder, Replica(f"unix:{folder / 'db.sock'}", "none")) for folder in folders]
        self._seen: dict[Path, int] = {}
        self._hosts: dict[str, Host] = {}
        self._poll = select.epoll()
        self._registered: dict[int, Host] = {}
        self._databases: dict[int, tuple[Path, Replica]] = {}

    def run(self) -> None:
        """Run until the process is ended."""
        look = tick = 0.0
        while True:
            now = time.monotonic()
            if now >= look:
                for folder, replica in self._replicas:
                    self._look(folder, replica)
                look = now + _LOOK_S
            if now >= tick:
                for host in self._hosts.values():
                    self._run(host)
                tick = now + _TICK_S
            for number, _ in self._poll.poll(max(0.0, min(look, tick) - time.monotonic())):
                if number in self._databases:
                    self._look(*self._databases[number])
                elif number in self._registered:
                    self._run(self._registered[number])

    def _look(self, folder: Path, replica: Replica) -> None:
        """Take in what the database has sent; whoever concerns it tells the controller at once."""
        for _ in range(_RUNS):
            replica.run()
            waits = replica.waits_for()
            self._await(folder, replica, waits.descriptors)
            if not waits.at_once:
                break
        if self._seen.get(folder) == replica.changes:
            return
        self._seen[folder] = replica.changes
        for row in replica.bridges():
            if row.name not in self._hosts:
                self._hosts[row.name] = Host(row.name, self._report, folder / "ovs-vswitchd.ctl")
            host = self._hosts[row.name]
            if host.tell(row):
                self._run(host)

    def _await(self, folder: Path, replica: Replica, wanted: Mapping[int, int]) -> None:
        gone = [number for number, (_, one) in self._databases.items() if one is replica and number not in wanted]
        for number in gone:
            del self._databases[number]
            self._forget(number)
        for number, events in wanted.items():
            self._databases[number] = folder, replica
            self._register(number, events)

    def _run(self, host: Host) -> None:
        before = dict(_events(host))
        host.link.run()
        after = dict(_events(host))
        for number in before.keys() - after.keys():
            if self._registered.get(number) is host:
                del self._registered[number]
                self._forget(number)
        for number, events in after.items():
            self._registered[number] = host
            self._register(number, events)

    def _register(self, number: int, events: int) -> None:
        try:
            self._poll.modify(number, events)
        except FileNotFoundError:
            self._poll.register(number, events)

    def _forget(self, number: int) -> None:
        with suppress(OSError):  # what is closed has gone from there by itself
            self._poll.unregister(number)


def _events(host: Host) -> Iterator[tuple[int, int]]:
    for wants in (host.link.wants, host.link.question):
        if wants is not None:
            number, writing = wants
            yield number, select.EPOLLIN | (select.EPOLLOUT if writing else 0)


def main() -> int:
    """Report until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale_agents", description=__doc__)
    parser.add_argument("--report", required=True)
    parser.add_argument("folders", nargs="+", type=Path)
    given = parser.parse_args()
    address, _, port = given.report.rpartition(":")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    Agents(given.folders, (address, int(port))).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
