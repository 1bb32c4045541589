"""The agent's loop: database in, bridge prepared, snapshot out."""

from __future__ import annotations

import logging
import select
import time

from agents.bridge import DesiredBridge, Plan, plan
from agents.ovsdb import Ovsdb
from agents.ports import Snapshot, snapshot
from agents.report import Link
from agents.settle import Settling

_LOG = logging.getLogger(__name__)
_QUIET_S = 0.01
_LONGEST_BURST_S = 0.1
_LONGEST_NAP_S = 60.0
_RETRY_S = 0.5


class Agent:
    """Keeps one bridge prepared and the controller told about it.

    While the database is not known, nothing is told: a snapshot says what is, and silence is not an empty bridge.
    """

    def __init__(self, desired: DesiredBridge, ovsdb: Ovsdb, link: Link) -> None:
        self._desired = desired
        self._ovsdb = ovsdb
        self._link = link
        self._seen: int | None = None
        self._plan = Plan()
        self._waiting = False
        self._settling = Settling(_QUIET_S, _LONGEST_BURST_S)
        self._problems: tuple[str, ...] = ()
        self._told: Snapshot | None = None
        self._held = False

    def run(self, wakeup: int) -> None:
        """Run until descriptor ``wakeup`` is readable."""
        while True:
            due = self.step()
            self._ovsdb.wait([(wakeup, False), *filter(None, [self._link.wants, self._link.question])], due)
            if select.select([wakeup], [], [], 0)[0]:
                return

    def step(self) -> float:
        """Do what can be done now; return when to come back at the latest, on the monotonic clock."""
        self._ovsdb.run()
        self._look()
        self._link.run()
        now = time.monotonic()
        due = [now + _LONGEST_NAP_S, self._link.deadline]
        if self._settling.due is not None:
            due.append(self._settling.due)
        if self._waiting:
            due.append(now + _RETRY_S)
        return min(due)

    def _look(self) -> None:
        """Compare the database with what is wanted, and act on the difference."""
        idle = not self._waiting and self._settling.due is None
        if idle and self._seen == self._ovsdb.changes:
            return
        observed = self._ovsdb.observe()
        if observed is None:  # what was about to be told may no longer be so
            self._seen = None
            self._settling.forget()
            return
        now = time.monotonic()
        if self._seen != self._ovsdb.changes:
            self._seen = self._ovsdb.changes
            self._plan = plan(self._desired, observed)
            self._waiting = bool(self._plan.operations)
            self._settling.touch(now)
        if self._waiting:
            self._waiting = not self._ovsdb.apply(self._plan.operations)
        if self._settling.take(now):
            self._tell(snapshot(observed, self._desired.uplink, self._desired.fabric, self._plan.problems))

    def _tell(self, latest: Snapshot | None) -> None:
        if latest is None:
            if not self._held:
                _LOG.info("waiting for ovs-vswitchd to set bridge %s up", self._desired.name)
            self._held = True
            return
        self._held = False
        if latest == self._told:
            return
        self._told = latest
        for problem in latest.problems:
            if problem not in self._problems:
                _LOG.warning("problem: %s", problem)
        for problem in self._problems:
            if problem not in latest.problems:
                _LOG.info("mended: %s", problem)
        self._problems = latest.problems
        self._link.offer(latest)
