"""Looks at every host, compares, names what differs, heals on request; also by itself, now and then.

Never in the way of changes: a bridge that is at work is left alone, a look that a change overtook is thrown away, and
what is read is compared in pieces.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import eventlet
from eventlet.greenpool import GreenPool

from controller.agent_channel import AskError
from controller.bridge import Bridge
from controller.composer import Composer
from controller.desired import Desired
from controller.findings import PASSING, Finding, HostView, find, stale_zones, zones_of
from controller.mending import Mending
from controller.openflow import OutcomeUnknownError
from controller.session import Session
from flowrules import tables
from flowrules.addresses import ipv4_to_text
from flowrules.fields import ARP_TPA
from flowrules.live import Change, Comparison, field_values

LOG = logging.getLogger(__name__)

#: Looks at a bridge before it is reported as too busy, and seconds to wait for it to come to rest.
_TRIES = 5
_ROUNDS = 3
_REST = 0.5
_HOSTS_AT_ONCE = 8
_MEND_BOUND = 15.0
#: Connections beyond which the periodic audit does not read a host's connection table: reading stops its switch.
_FEW_CONNECTIONS = 20_000
#: Fragments resolved, and flows compared, before others get their turn.
_SLICE = 500
_MOST_FINDINGS = 2000
_MOST_LOGGED = 20


class Auditor:
    """``interval`` seconds between looks of its own, 0 = none."""

    def __init__(self, composer: Composer, interval: float) -> None:
        self._composer = composer
        self._interval = interval
        self._before: set[Finding] = set()

    def run(self) -> None:
        """Look now and then until the greenlet is killed."""
        while self._interval:
            eventlet.sleep(self._interval)
            try:
                self._look_by_itself()
            except Exception:
                LOG.exception("the audit failed; it will be tried again")
        eventlet.event.Event().wait()

    def audit(self, host: str | None, *, repair: bool = False, foreign: bool = False) -> dict[str, Any]:
        """The reply to an ``audit`` request; raises ValueError for a host that nobody knows."""
        if not self._composer.loaded:
            raise ValueError("the store has not been read yet")
        known = self._composer.known_hosts()
        if host is not None and host not in known:
            raise ValueError(f"there is no host {host!r}; known: {', '.join(sorted(known)) or 'none'}")
        hosts = sorted(known) if host is None else [host]
        start = time.monotonic()
        views = self._views(hosts)
        found = remaining = self._findings(views, host)
        if repair:
            self._repair(views, foreign=foreign)
            views = self._views(hosts)
            remaining = self._findings(views, host)
        self._note(hosts, remaining)
        return {
            "ok": True,
            "revision": self._composer.revision(),
            "seconds": round(time.monotonic() - start, 3),
            "hosts": [{"name": view.name, "flows": self._flows(view.name)} for view in views],
            "findings": [asdict(one) for one in found[:_MOST_FINDINGS]],
            "remaining": [asdict(one) for one in remaining[:_MOST_FINDINGS]],
            "count": len(found),
            "repaired": repair,
        }

    def _look_by_itself(self) -> None:
        hosts = sorted(self._composer.known_hosts())
        views = [self._view(host, thorough=False) for host in hosts]
        found = set(find(self._composer.index, views))
        telling = [one for one in found if one.kind not in PASSING or one in self._before]
        self._before = found
        self._note(hosts, telling)

    def _note(self, hosts: Iterable[str], found: list[Finding]) -> None:
        noted = self._composer.audited
        for host in hosts:
            mine = [one for one in found if one.host == host]
            known = set(noted.get(host, ()))
            fresh = [one for one in mine if one not in known]
            if len(fresh) > _MOST_LOGGED:
                LOG.warning("audit: %s: %d new differences, the first ones are:", host, len(fresh))
            for one in fresh[:_MOST_LOGGED]:
                LOG.warning("audit: %s: %s: %s; likely cause: %s", host, one.kind.value, one.what, one.cause)
            gone = known - set(mine)
            if gone:
                LOG.info("audit: %s: %d differences are gone", host, len(gone))
            noted[host] = mine

    def _findings(self, views: list[HostView], host: str | None) -> list[Finding]:
        found = find(self._composer.index, views)
        return [one for one in found if host in (None, one.host)]

    def _flows(self, host: str) -> int:
        bridge = self._composer.bridges.get(host)
        return bridge.flows if bridge else 0

    # Looking.

    def _views(self, hosts: list[str]) -> list[HostView]:
        """All hosts as they were at one revision, if the store lets it be: an address may be moving between them."""
        views: list[HostView] = []
        for _ in range(_ROUNDS):
            revision = self._composer.revision()
            views = list(GreenPool(_HOSTS_AT_ONCE).imap(self._view, hosts))
            if revision == self._composer.revision():
                break
        return views

    def _view(self, host: str, *, thorough: bool = True) -> HostView:
        bridge = self._composer.bridges.get(host)
        for _ in range(_TRIES):
            view = self._blank(host, bridge)
            if bridge is None or bridge.session is None:
                break
            session, stamp = bridge.session, self._stamp(bridge)
            try:
                looked = bridge.quiet and self._look(view, bridge, session, thorough=thorough)
                if looked and stamp == self._stamp(bridge) and bridge.quiet:
                    break
            except OutcomeUnknownError as error:
                view.unseen.append(f"its switch did not answer: {error}")
                break
            eventlet.sleep(_REST)
        else:
            view = self._blank(host, bridge)
            view.unseen.append("its flows are being changed all the time")
        self._look_at_connections(view, thorough=thorough)
        return view

    def _blank(self, host: str, bridge: Bridge | None) -> HostView:
        view = HostView(host, self._composer.index.hosts.get(host), self._composer.has_agent(host))
        if bridge is not None:
            view.switch = bridge.session is not None
            view.owners = bridge.desired.owners
            view.uncompiled = list(bridge.desired.problems.values())
        return view

    def _stamp(self, bridge: Bridge) -> tuple[object, ...]:
        return bridge.session, bridge.bundles, bridge.flow_mods, self._composer.index.hosts.get(bridge.host)

    def _look(self, view: HostView, bridge: Bridge, session: Session, *, thorough: bool) -> bool:
        """Look at one bridge; False when the store went on meanwhile."""
        desired, installed = bridge.desired.flows, bridge.installed
        both = [(flow, installed[key]) for key, flow in desired.items() if key in installed]
        view.unacknowledged = len(desired.keys() ^ installed.keys())
        view.unacknowledged += sum(1 for flow, known in both if flow is not known and flow != known)
        comparison, answers = Comparison(desired), set()
        if thorough and not self._from_scratch(view, bridge):
            return False
        for part in session.dump_live():
            comparison.take(part)
            for flow in part:
                if flow.table == tables.EXTERNAL_IN and flow.instructions:
                    answers.update(field_values(flow.match_bytes, ARP_TPA))
            eventlet.sleep(0)
        view.answers = frozenset(map(ipv4_to_text, answers))
        view.differences = comparison.finish()
        view.live_ports = session.ports()
        return True

    def _from_scratch(self, view: HostView, bridge: Bridge) -> bool:
        """Build the desired flows again from the store's objects."""
        world, revision = self._composer.world, self._composer.revision()
        places = dict(world.index.hosts)
        fresh, keys = Desired(bridge.host), list(world.keys(bridge.host))
        for start in range(0, len(keys), _SLICE):
            fresh.update(world.index, keys[start : start + _SLICE])
            eventlet.sleep(0)
        wanted = bridge.desired.flows
        view.undesired = sum(1 for key in fresh.flows.keys() | wanted.keys() if fresh.flows.get(key) != wanted.get(key))
        moved = places.keys() ^ world.index.hosts.keys()
        moved |= {host for host, ports in places.items() if world.index.hosts.get(host) is not ports}
        return revision == self._composer.revision() and not moved

    def _look_at_connections(self, view: HostView, *, thorough: bool) -> None:
        if not view.agent or not view.switch:
            return
        try:
            if not thorough and self._connections(view.name) > _FEW_CONNECTIONS:
                return
            answer = self._composer.channel.ask(view.name, "dpctl/dump-conntrack")
        except AskError as error:
            view.unseen.append(f"its connections could not be read: {error}")
            return
        view.zones = zones_of(answer.text)
        if answer.truncated:
            view.unseen.append("it has more connections than can be read; only the first ones were looked at")

    def _connections(self, host: str) -> int:
        """How many there are; the kernel's datapath does not tell, which counts as few."""
        try:
            return int(self._composer.channel.ask(host, "dpctl/ct-get-nconns").text)
        except (AskError, ValueError):
            return 0

    # Healing.

    def _repair(self, views: list[HostView], *, foreign: bool) -> None:
        waiting: list[Mending] = []
        for view in views:
            bridge = self._composer.bridges.get(view.name)
            if bridge is None or bridge.session is None:
                continue
            if view.unacknowledged:
                bridge.reread()
            mending = _mending(view, foreign=foreign)
            if mending.keys or mending.strays or mending.zones:
                bridge.mend(mending)
                waiting.append(mending)
        with eventlet.Timeout(_MEND_BOUND, False):
            for mending in waiting:
                mending.done.wait()


def _mending(view: HostView, *, foreign: bool) -> Mending:
    unwanted = {Change.EXTRA, Change.FOREIGN} if foreign else {Change.EXTRA}
    return Mending(
        frozenset(one.wanted.key for one in view.differences if one.wanted is not None),
        tuple(one.live.installed for one in view.differences if one.change in unwanted and one.live is not None),
        tuple(stale_zones(view)),
    )
