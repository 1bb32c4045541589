"""One bridge: desired flows against installed flows, brought together by one greenlet.

Model: ``desired`` is what the store and the agents call for; ``installed`` is what the switch has acknowledged, None
when that is not known.  The greenlet takes the marks that have gathered, brings ``desired`` up to date, sends the
difference as one bundle and takes the acknowledgement over into ``installed``.

Goals: (1) nothing is sent before the store and the agent of the host have been heard; (2) after a reconnect or an
unknown outcome the switch's own table is read and only the difference is sent, so an unchanged restart sends nothing;
(3) an elastic IP comes only when its old host has let go (:mod:`controller.handover`); (4) a port's conntrack zone is
flushed before a port is admitted, after it is gone or its number changed hands, never else; (5) a meter comes before
the flows that name it and goes after them.

Tension: (2) wants to trust the mirror, a switch may have restarted.  A restart loses the connection, and a new
connection always begins with a reading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import eventlet
from eventlet.event import Event
from eventlet.semaphore import Semaphore

from controller.collector import Collector
from controller.desired import Desired, Draft
from controller.handover import Handover
from controller.index import Index
from controller.keys import ElasticKey, Key
from controller.mending import Mending, flow_mods
from controller.meters import BridgeMeters
from controller.narrowing import Concerned, concerned, every_port
from controller.packet_in import Handler, PacketQueue
from controller.pending import Pending, Span
from controller.session import Session
from controller.steps import STEP, in_steps
from controller.zones import admitted_zone, zone_of_installed
from flowrules.diff import Diff, changes, diff, encode_delete
from flowrules.diff import Key as FlowKey
from flowrules.encode import FlowAdds
from flowrules.flow import Flow
from flowrules.intent import Intent
from telemetry import logs

LOG = logging.getLogger(__name__)

#: Seconds between tries after a refusal, and between looks at an elastic IP that another host still holds.
_RETRY = (0.1, 0.5, 1.0, 2.0, 5.0)
_HELD = 0.05


class Surroundings(Protocol):
    """What a bridge needs to know of the rest of the cloud."""

    handover: Handover
    handlers: Mapping[int, Handler]
    readings: Semaphore
    collector: Collector

    @property
    def index(self) -> Index:
        """The present records and bindings."""

    def revision(self) -> int:
        """The store's revision that the index stands for."""

    def connected(self) -> set[str]:
        """Hosts with a session."""

    def unsynced(self) -> set[str]:
        """Hosts with a session whose flows have not been compared yet."""

    def claimed(self, host: str, public_ip: str) -> None:
        """An elastic IP has come to ``host``."""

    def suspect(self, host: str, ports: Concerned) -> None:
        """The rules of these ports have changed on the switch of ``host``."""

    def settled(self, host: str) -> None:
        """The bridge of ``host`` has made progress, or lost ground; whoever waits should look again."""


class Bridge:
    """The flows of one host."""

    def __init__(self, host: str, surroundings: Surroundings) -> None:
        self.host = host
        self.desired = Desired(host)
        self.session: Session | None = None
        self.flow_mods = 0
        self.bundles = 0
        self.foreign = 0
        self.problem: str | None = None
        self.meters = BridgeMeters()
        self._metered = True  # may the next flows to be sent need other meters?
        self.packets = PacketQueue(host, lambda: surroundings.index, surroundings.handlers)
        self._around = surroundings
        self._ready = False  # store loaded and agent heard
        self.synced = False  # has the switch been brought in line once on this connection?
        self._installed: dict[FlowKey, Flow] | None = None
        self._marks: set[Key] = set()
        self._requests: dict[str, None] = {}  # what the marks belong to, for the log
        self._causes: list[str] = []  # the same of the marks taken up
        self._touched: set[FlowKey] = set()
        self._elastic: set[ElasticKey] = set()
        self._suspects = Concerned()  # ports whose rules change with the next bundle
        self._mending: list[Mending] = []
        self._pending = Pending()
        self._set_aside_at = 0  # number of flows
        self._wake = Event()
        self._greenlet = eventlet.spawn(self._run)

    # Called from outside; none of these blocks.

    def mark(self, keys: Iterable[Key], span: Span, requests: Iterable[str] = ()) -> None:
        """Fragments may have changed in the revisions of ``span``, by these API requests."""
        self._marks.update(keys)
        if self._marks:
            self._requests.update(dict.fromkeys(requests))
            self._pending.add(span)
            self._poke()

    def attach(self, session: Session) -> None:
        """A switch has connected: its flows are not known yet."""
        if self.session is not None:
            self.session.close()
        self.session, self._installed, self.synced = session, None, False
        session.on_packet_in(self.packets.offer)
        self._around.settled(self.host)
        self._poke()

    def detach(self, session: Session) -> None:
        """That session is over."""
        session.close()
        if self.session is session:
            self.session, self._installed, self.synced = None, None, False
            self._around.settled(self.host)

    def mend(self, mending: Mending) -> None:
        """Have what the audit found healed; ``mending.done`` is sent when the switch has acknowledged it."""
        self._mending.append(mending)
        self._poke()

    def reread(self) -> None:
        """Take nothing for installed any more: the switch is read and compared again."""
        self._installed, self.synced = None, False
        self._around.settled(self.host)
        self._poke()

    def start(self) -> None:
        """Everything that must be known before the first flow is sent is known now."""
        self._ready = True
        self._poke()

    def stop(self) -> None:
        """End the greenlet."""
        self._greenlet.kill()
        self.packets.close()
        if self.session is not None:
            self.session.close()

    @property
    def backlog(self) -> int:
        """Number of fragments that may have changed and have not been looked at."""
        return len(self._marks)

    @property
    def installed(self) -> Mapping[FlowKey, Flow]:
        """The flows that the switch has acknowledged."""
        return self._installed or {}

    @property
    def quiet(self) -> bool:
        """Is there nothing under way, so that switch, mirror and desired flows must be equal?"""
        return self.session is not None and self.synced and not self._pending.in_flight and not self._unfinished()

    @property
    def flows(self) -> int:
        """Number of flows the switch has acknowledged."""
        return len(self._installed or ())

    def has_installed(self, revision: int) -> bool:
        """Is everything of ``revision`` that concerns this host acknowledged?"""
        return not self._pending.has(revision)

    @property
    def installed_revision(self) -> int:
        """The newest revision up to which nothing is missing here."""
        missing = self._pending.oldest
        return self._around.revision() if missing is None else missing - 1

    @property
    def behind(self) -> bool:
        """Is anything missing here?"""
        return self._pending.oldest is not None

    # The greenlet.

    def _poke(self) -> None:
        if not self._wake.ready():
            self._wake.send()

    def _run(self) -> None:
        failures = 0
        while True:
            self._wake.wait()
            self._wake = Event()
            while self._ready and self.session is not None and self._unfinished():
                try:
                    with self._turn():
                        if self.session is not None:
                            self._step(self.session)
                            self._set_aside()
                except Exception as error:
                    self._failed(error)
                    self._around.settled(self.host)
                    eventlet.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
                    failures += 1
                else:
                    failures, self.problem = 0, None
                self._around.settled(self.host)
                if self._touched:
                    eventlet.sleep(_HELD)

    def _set_aside(self) -> None:
        """What many flows have left behind in memory stays there."""
        grown = abs(len(self.desired.flows) - self._set_aside_at)
        if grown > STEP:
            self._set_aside_at = len(self.desired.flows)
            self._around.collector.set_aside()

    def _turn(self) -> AbstractContextManager[object]:
        """Readings of whole tables go a few at a time, or all that wait would be counted as the switches' silence."""
        return self._around.readings if self._installed is None else nullcontext()

    def _unfinished(self) -> bool:
        return self._installed is None or bool(self._marks or self._touched or self._mending)

    def _failed(self, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if problem != self.problem:
            LOG.warning("host %s: %s; its flows will be read and compared again", self.host, problem)
        self.problem = problem
        self._installed, self.synced = None, False

    def _step(self, session: Session) -> None:
        """Take the marks, send the difference, take the acknowledgement over."""
        self._mend(session)
        draft = self._draft()
        self._causes, self._requests = [*self._requests], {}
        before = {key: self.desired.intent(key) for key in draft}
        self._touched |= self.desired.adopt(draft)
        self._suspect(before)
        if session is not self.session:
            return
        found, held = self._compare(session)
        # Copies, because marks may come in while the switch is thinking.
        touched, wanted = frozenset(self._touched), {flow.key: flow for flow in found.adds}
        gone = [key for key in touched if key not in self.desired.flows or key in held]
        self._send(session, found)
        if session is not self.session or self._installed is None:
            return
        for key in gone:
            self._installed.pop(key, None)
        self._installed.update(wanted)
        suspects, self._suspects = self._suspects, Concerned()
        self._around.suspect(self.host, suspects)
        self._touched, self.synced = set(held), True
        self._settle_elastic(held, {self.desired.owners.get(key) for key in wanted})
        if not held:
            self._pending.done()

    def _draft(self) -> Draft:
        """What the marks come to, those included that come in while that is worked out.

        Others get their turn in between, so echoes are answered whatever there is to compile.
        """
        draft: Draft = {}
        while self._marks:
            self._pending.take()
            marks, self._marks = self._marks, set()
            self._elastic |= {key for key in marks if isinstance(key, ElasticKey)}
            for part in in_steps(list(marks)):
                self.desired.prepare(self._around.index, part, draft)
        return draft

    def _suspect(self, before: Mapping[Key, Intent | None]) -> None:
        ports, groups = self.desired.ports.values(), self.desired.groups.values()
        if self._installed is None:
            self._suspects |= every_port(ports)
        else:
            changed = {key: (old, self.desired.intent(key)) for key, old in before.items()}
            self._suspects |= concerned(changed, ports, groups)

    def _mend(self, session: Session) -> None:
        """Send again what is acknowledged and was found spoilt; ports that stay keep their connections."""
        while self._mending and self._installed is not None:
            mending = self._mending.pop(0)
            used = {port.ofport & 0xFFFF for port in self._around.index.hosts[self.host].interfaces.values()}
            deletes, adds = flow_mods(mending, self._installed)
            session.apply(deletes, adds)
            session.flush_zone(*(zone for zone in mending.zones if zone not in used))
            self.flow_mods += len(deletes) + len(adds)
            self.bundles += len(deletes) + len(adds) > 1
            LOG.info("host %s: mended, %d flows added, %d deleted", self.host, len(adds), len(deletes))
            mending.done.send()

    def _compare(self, session: Session) -> tuple[Diff, set[FlowKey]]:
        """What to send now, and the flows that have to wait for another host.

        A flow that waits is not wanted yet, so what stands in its place goes.
        """
        if self._installed is None:
            self._metered = True
            self.meters.read(session)
            dumped = session.dump()
            found = diff(self.desired.flows, dumped)
            held = self._held(found.adds)
            if held:
                found = diff(self._without(held), dumped)
            self._take_reading(found, held)
            return found, held
        touched, installed = self._touched, self._installed
        before = {key: installed[key] for key in touched if key in installed}
        after = {key: self.desired.flows[key] for key in touched if key in self.desired.flows}
        self._metered = any(flow.meter for flow in (*before.values(), *after.values()))
        found = changes(before, after)
        held = self._held(found.adds)
        if held:
            found = changes(before, {key: flow for key, flow in after.items() if key not in held})
        return found, held

    def _without(self, held: set[FlowKey]) -> dict[FlowKey, Flow]:
        return {key: flow for key, flow in self.desired.flows.items() if key not in held}

    def _take_reading(self, found: Diff, held: set[FlowKey]) -> None:
        """What the switch has of the desired flows is installed; everything elastic is to be looked at again."""
        self.foreign = len(found.foreign)
        missing = {flow.key for flow in found.adds} | held
        self._installed = self._without(missing)
        self._touched = missing
        self._elastic |= {key for key in self.desired.fragments if isinstance(key, ElasticKey)}
        self._elastic |= {ElasticKey(ip) for ip, host in self._around.handover.holders.items() if host == self.host}

    def _held(self, adds: Iterable[Flow]) -> set[FlowKey]:
        """Flows of elastic IPs that another host has not let go of yet."""
        verdicts: dict[ElasticKey, bool] = {}
        held = set()
        for flow in adds:
            owner = self.desired.owners.get(flow.key)
            if not isinstance(owner, ElasticKey):
                continue
            if owner not in verdicts:
                around = self._around
                verdicts[owner] = around.handover.may_claim(
                    owner.public_ip, self.host, around.connected(), around.unsynced()
                )
            if not verdicts[owner]:
                held.add(flow.key)
        return held

    def _settle_elastic(self, held: set[FlowKey], sent: set[Key | None]) -> None:
        waiting = {self.desired.owners.get(key) for key in held}
        present = self.desired.fragments
        for key in self._elastic - waiting:
            if key not in present:
                self._around.handover.released(key.public_ip, self.host)
            elif self._around.handover.claimed(key.public_ip, self.host) and key in sent:
                self._around.claimed(self.host, key.public_ip)
        self._elastic &= waiting

    def _send(self, session: Session, found: Diff) -> None:
        meters = self.desired.meters if self._metered else ()
        if self._metered:
            self.meters.prepare(session, meters)
        if not found.empty:
            self._send_flows(session, found)
        if self._metered:
            self.meters.prune(session, meters)

    def _send_flows(self, session: Session, found: Diff) -> None:
        admitted = {zone for flow in found.adds if (zone := admitted_zone(flow)) is not None}
        gone = {zone for item in found.deletes if (zone := zone_of_installed(item)) is not None}
        session.flush_zone(*sorted(admitted))
        session.apply([encode_delete(item) for item in found.deletes], FlowAdds(found.adds))
        # A number that went from one port to another had traffic up to this moment, which may have brought back what
        # was flushed before.
        replaced = [flow for flow in found.adds if flow.key in (self._installed or {})]
        reused = {zone for flow in replaced if (zone := admitted_zone(flow)) is not None}
        session.flush_zone(*sorted((gone - admitted) | reused))
        self.flow_mods += len(found.adds) + len(found.deletes)
        self.bundles += len(found.adds) + len(found.deletes) > 1
        counts = len(found.adds), len(found.deletes)
        LOG.info("host %s: %d flows added, %d deleted", self.host, *counts, extra=logs.of(*self._causes))
