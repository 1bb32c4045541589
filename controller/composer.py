"""Puts it together: store changes and port bindings in, bridges told, acknowledgements counted.

Runs on eventlet's one thread; nothing here blocks, but for questions and for a switch that claims a
datapath id which is taken.

No bridge is touched before the store has been read and the agents of all expected hosts have been heard: after a
restart a host that has not reported yet would look as if its instances were gone, and the others would drop their
routes to them.  A host that stays silent is waited for no longer than ``grace`` seconds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import eventlet
from eventlet.event import Event
from eventlet.semaphore import Semaphore
from eventlet.timeout import Timeout

from controller.acknowledgements import Acknowledgements
from controller.admission import Admission
from controller.agent_channel import AgentChannel
from controller.announcer import Announcer
from controller.bindings import HostPorts
from controller.bridge import Bridge
from controller.collector import Collector
from controller.findings import TOLD, Finding
from controller.handover import Handover
from controller.index import Index
from controller.narrowing import Concerned
from controller.packet_handlers import HANDLERS
from controller.packet_in import Handler
from controller.pending import Span
from controller.refusals import Refusals
from controller.session import Session
from controller.sweeper import Sweeper
from controller.switches import Switches
from controller.world import Dirty, World
from econe_api.store.records import Batch, Kind
from flowrules.addresses import ipv4_to_text
from flowrules.intent import Intent, Revocation

LOG = logging.getLogger(__name__)

#: Switches whose whole tables are read, compared and mended at a time.
_READINGS = 16


class Composer:
    """The cloud as this controller sees it."""

    def __init__(
        self,
        expected: Iterable[str] = (),
        grace: float = 10.0,
        revocation: Revocation = Revocation.CUT,
        handlers: Mapping[int, Handler] = HANDLERS,
        allowed_destinations: Iterable[str] = (),
        denied_destinations: Iterable[str] = (),
    ) -> None:
        self.handlers = handlers
        self._expected = frozenset(expected)
        self._started = False  # has everybody been heard, or waited for long enough?
        self._going = False  # have the bridges been let go?
        self.world = World()
        self.world.index.revocation = revocation
        self.world.index.allowed_destinations = tuple(allowed_destinations)
        self.world.index.denied_destinations = tuple(denied_destinations)
        self.bridges: dict[str, Bridge] = {}
        self.handover = Handover(time.monotonic)
        self.readings = Semaphore(_READINGS)
        self.collector = Collector()
        self.loaded = False  # has the store been read?
        self.store_problem: str | None = None
        self._agents: dict[str, int] = {}  # host -> number of its live agent connection
        self._heard: dict[str, float] = {}  # host -> when its agent last said something, on the monotonic clock
        self.refusals = Refusals(time.monotonic)
        self.admission = Admission(self.refusals)
        self._switches = Switches(self.refusals, self.switch_lost)
        self.channel = AgentChannel()
        self.audited: dict[str, list[Finding]] = {}  # what the last audit of each host found
        self._announcer = Announcer(self)
        self._sweeper = Sweeper(self)
        self._batches = Event()
        self._connected: set[str] = set()
        self._unsynced: set[str] = set()
        self._behind: set[str] = set()  # hosts that miss some revision
        self._waits = Acknowledgements()
        self.waiting = 0  # calls that wait for an acknowledgement
        eventlet.spawn_after(grace, self._start)

    def _start_when_heard(self) -> None:
        if not self._going and (self._started or (self.loaded and self.world.index.hosts.keys() >= self._awaited())):
            self._start()

    def _start(self) -> None:
        """Let the bridges go, if the store has been read; every later bridge goes at once."""
        if not self._started:
            silent = sorted(self._awaited() - self.world.index.hosts.keys())
            if silent:
                LOG.warning("no agent has reported from %s; going on without", ", ".join(silent))
        self._started = True
        if self.loaded and not self._going:
            self._going = True
            for bridge in self.bridges.values():
                bridge.start()

    def _awaited(self) -> set[str]:
        return {host for host in self._expected if not self.admission.removed(host)}

    # Store.

    def take_batch(self, batch: Batch) -> None:
        """Changes from the store; the first one must be the full state."""
        since = -1 if batch.full else self.world.revision
        dirty = self.world.apply(batch)
        self.loaded = True
        self.store_problem = None
        self._mark(dirty, Span(since, batch.revision), batch.requests)
        if any(change.kind is Kind.HOST for change in batch.changes) or batch.full:
            self.admission.update(self.world.index.enrolled)
            for host in [host for host in self.bridges if self.admission.removed(host)]:
                self._forget(host)
        self._start_when_heard()
        batches, self._batches = self._batches, Event()
        batches.send()

    def _forget(self, host: str) -> None:
        """A host was taken out: what its agent said is no longer true."""
        LOG.info("host %s was removed", host)
        self.channel.closed(host)
        self._agents.pop(host, None)
        self._mark(self.world.bind(host, None), self._now())
        self.bridges.pop(host).stop()
        self.settled(host)

    # Agents.

    def agent_connected(self, host: str, connection: int) -> None:
        """An agent said hello; a newer connection of one host replaces the older."""
        self._agents[host] = connection
        self.agent_heard(host)

    def agent_heard(self, host: str) -> None:
        """An agent said something."""
        self._heard[host] = time.monotonic()

    def agent_lost(self, host: str, connection: int) -> None:
        """An agent's connection ended.  What it said stays true: silence is not an empty host."""
        if self._agents.get(host) == connection:
            del self._agents[host]

    def take_snapshot(self, host: str, ports: HostPorts) -> str | None:
        """An agent's snapshot; returns a refusal in words when another host already has this datapath."""
        if self.admission.removed(host):
            return f"host {host} was removed"
        for other, known in self.world.index.hosts.items():
            if other != host and known.dpid == ports.dpid:
                return f"datapath {ports.dpid:016x} belongs to host {other} already; give one of them another"
        bridge = self.bridges.get(host)
        if bridge is None:
            bridge = self.bridges[host] = Bridge(host, self)
            if self._going:
                bridge.start()
        before = self.world.index.hosts.get(host)
        if before is not None:
            # An agent that has just started has not asked yet; what was known is good until it knows better.
            ports = replace(ports, gateways={**before.gateways, **ports.gateways})
        self.agent_heard(host)
        self._mark(self.world.bind(host, ports), self._now())
        if before is not None and before.dpid != ports.dpid and bridge.session is not None:
            bridge.detach(bridge.session)
        session = self._switches.of(host, ports.dpid)
        if session is not None and bridge.session is not session:
            bridge.attach(session)
        self._start_when_heard()
        return None

    # Switches.

    def switch_connected(self, dpid: int, session: Session, owner: str | None = None) -> None:
        """A switch is past its handshake; its agent may or may not have been heard yet.

        ``owner`` is the host whose certificate it has shown, None without TLS.  Raises
        :class:`controller.admission.RefusedError` when it may not have this datapath id.  Where that is taken this
        waits for its holder (:meth:`controller.switches.Switches.enter`).
        """
        self._switches.enter(dpid, owner, session, self.world.index.hosts)
        for host, ports in self.world.index.hosts.items():
            if ports.dpid == dpid:
                self.bridges[host].attach(session)

    def switch_lost(self, session: Session) -> None:
        """The connection of a switch ended."""
        self._switches.leave(session)
        session.close()
        for bridge in self.bridges.values():
            if bridge.session is session:
                bridge.detach(session)
        self.collector.lost()

    # Surroundings of the bridges.

    @property
    def index(self) -> Index:
        """The present records and bindings."""
        return self.world.index

    def revision(self) -> int:
        """The store's revision that the index stands for."""
        return self.world.revision

    def connected(self) -> set[str]:
        """Hosts with a session."""
        return self._connected

    def unsynced(self) -> set[str]:
        """Hosts with a session whose flows have not been brought in line yet."""
        return self._unsynced

    def claimed(self, host: str, public_ip: str) -> None:
        """An elastic IP has come to ``host``: the public network is told."""
        self._announcer.announce(host, public_ip)

    def suspect(self, host: str, ports: Concerned) -> None:
        """The rules of these ports have changed: their connections are looked at."""
        self._sweeper.suspect(host, ports)

    def revocation(self) -> Revocation:
        """What becomes of connections whose rule has gone."""
        return self.world.index.revocation

    def intents_of(self, host: str) -> Iterable[Intent]:
        """Everything that the bridge of a host shall know."""
        bridge = self.bridges.get(host)
        return bridge.desired.intents().values() if bridge else ()

    def emit(self, host: str, message: bytes) -> None:
        """Send messages to a switch, if it is connected."""
        bridge = self.bridges.get(host)
        if bridge is not None and bridge.session is not None:
            bridge.session.emit(message)

    def known_hosts(self) -> set[str]:
        """Hosts that are expected or have been heard."""
        return {*self._expected, *self.world.index.hosts}

    @property
    def agents(self) -> int:
        """Number of agents that are connected."""
        return len(self._agents)

    def has_agent(self, host: str) -> bool:
        """Is the agent of ``host`` connected?"""
        return host in self._agents

    def settled(self, host: str) -> None:
        """Look at a bridge again, and wake whoever waits for it."""
        bridge = self.bridges.get(host)
        reachable = bridge is not None and bridge.session is not None
        for hosts, is_one in (
            (self._connected, reachable),
            (self._unsynced, reachable and bridge is not None and not bridge.synced),
            (self._behind, bridge is not None and bridge.behind),
        ):
            (hosts.add if is_one else hosts.discard)(host)
        self._waits.settled(host, bridge.has_installed if bridge is not None and reachable else None)

    def _now(self) -> Span:
        return Span(self.world.revision - 1, self.world.revision)

    def _mark(self, dirty: Dirty, span: Span, requests: Iterable[str] = ()) -> None:
        for host, keys in dirty.items():
            bridge = self.bridges.get(host)
            if bridge is not None:
                bridge.mark(keys, span, requests)
                self._behind.add(host)

    # Questions.

    def wait_installed(self, revision: int, timeout: float) -> tuple[bool, list[str]]:
        """Wait until ``revision`` is installed on every reachable host that it concerns, at most ``timeout`` seconds.

        Returns whether it is installed everywhere, and the hosts that lag.
        """
        self.waiting += 1
        try:
            with Timeout(timeout, False):
                while self.world.revision < revision:
                    self._batches.wait()
                while missing := self._lagging(revision, reachable=True):
                    self._waits.wait(revision, missing)
        finally:
            self.waiting -= 1
        lagging = sorted(self._lagging(revision))
        return not lagging and self.world.revision >= revision, lagging

    def _lagging(self, revision: int, *, reachable: bool = False) -> list[str]:
        if self.world.revision < revision:
            return list(self.bridges)
        behind = [(host, self.bridges[host]) for host in self._behind]
        return [
            host
            for host, bridge in behind
            if not bridge.has_installed(revision) and (bridge.session is not None or not reachable)
        ]

    def status(self) -> dict[str, Any]:
        """The reply to ``status`` (docs/architecture.md, "Messages")."""
        unlike = len({ports.mode for ports in self.world.index.hosts.values()}) > 1
        hosts = [self._host_status(host, unlike=unlike) for host in sorted(self.bridges)]
        problems = [] if self.loaded else ["the store has not been read yet"]
        problems += [*self._switches.strangers(self.world.index.hosts), *self.refusals.problems()]
        if self.store_problem:
            problems.append(self.store_problem)
        return {
            "revision": self.world.revision,
            "hosts": hosts,
            "problems": problems,
            "counters": self.counters(),
        }

    def counters(self) -> dict[str, int]:
        """Work done since the start."""
        bridges = self.bridges.values()
        return {
            "flow_mods": sum(bridge.flow_mods for bridge in bridges),
            "meter_mods": sum(bridge.meters.mods for bridge in bridges),
            "bundles": sum(bridge.bundles for bridge in bridges),
            "marked": self._sweeper.marked,
            "refused_peers": self.refusals.count,
            "compiled": sum(bridge.desired.counters.compiled for bridge in bridges),
            "resolved": sum(bridge.desired.counters.resolved for bridge in bridges),
        }

    def _host_status(self, host: str, *, unlike: bool) -> dict[str, Any]:
        bridge, ports = self.bridges[host], self.world.index.hosts[host]
        problems = [*ports.problems, *bridge.desired.problems.values()]
        if bridge.session is None:
            problems.append("its switch is not connected")
        if host not in self._agents:
            problems.append("its agent is not connected")
        problems += [f"gateway {one} has not answered on its uplink" for one in self.index.unresolved(host)]
        problems += self._fabric_problems(host) if unlike else []
        if bridge.problem:
            problems.append(bridge.problem)
        if bridge.foreign:
            problems.append(f"{bridge.foreign} flows on {ports.bridge} are not ours")
        counts = Counter(one.kind.value for one in self.audited.get(host, ()) if one.kind not in TOLD)
        if counts:
            told = ", ".join(f"{kind} ({count})" for kind, count in counts.items())
            problems.append(f"the last audit found {told}; see 'sluice audit --host {host}'")
        return {
            "name": host,
            "dpid": f"{ports.dpid:016x}",
            "connected": bridge.session is not None,
            "agent": host in self._agents,
            "ovs_version": ports.versions[0],
            "agent_version": ports.versions[1],
            "seen": round(time.monotonic() - self._heard[host], 1),
            "in_sync": bridge.session is not None and bridge.synced and not bridge.behind,
            "desired": self.world.revision,
            "installed": bridge.installed_revision,
            "ports": len(ports.interfaces),
            "flows": bridge.flows,
            "flow_mods": bridge.flow_mods,
            "meter_mods": bridge.meters.mods,
            **bridge.packets.counters,
            "problems": problems,
        }

    def _fabric_problems(self, host: str) -> list[str]:
        hosts = self.index.hosts
        unlike = [other for other, ports in hosts.items() if ports.mode != hosts[host].mode]
        return [f"its fabric is {hosts[host].mode}, unlike that of {', '.join(sorted(unlike))}: no way leads there"]

    def gateways(self) -> list[str]:
        """Gateways whose MACs the agents shall find out."""
        return sorted({pool.gateway for pool in self.index.pools.values() if not pool.gateway_mac})

    def peers(self, host: str) -> list[str]:
        """Where other hosts take tunnel packets; none when ``host`` has no tunnels."""
        hosts = self.index.hosts
        if host not in hosts or hosts[host].tunnel_ip is None:
            return []
        ends = {ports.tunnel_ip for name, ports in hosts.items() if name != host and ports.tunnel_ip is not None}
        return [ipv4_to_text(end) for end in sorted(ends)]

    def close(self) -> None:
        """End all greenlets."""
        for bridge in self.bridges.values():
            bridge.stop()
        eventlet.sleep(0)
