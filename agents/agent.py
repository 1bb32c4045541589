"""The agent's loop: database in, bridge prepared, snapshot out."""

from __future__ import annotations

import importlib.metadata
import logging
import select
import time
from dataclasses import replace

from agents.bridge import DesiredBridge, Plan, plan
from agents.driver import DriverDoor
from agents.gateways import Resolver
from agents.limits import Limits
from agents.ovsdb import Ovsdb
from agents.peers import Peers
from agents.ports import Snapshot, snapshot
from agents.renewal import Renewal
from agents.report import Link
from agents.service import MetadataService
from agents.settle import Settling

_LOG = logging.getLogger(__name__)
_QUIET_S = 0.01
_LONGEST_BURST_S = 0.1
_LONGEST_NAP_S = 60.0
_RETRY_S = 0.5
_VERSION = importlib.metadata.version("sluice")


class Agent:
    """Keeps one bridge prepared and the controller told about it.

    While the database is not known, nothing is told: a snapshot says what is, and silence is not an empty bridge.
    """

    def __init__(
        self,
        desired: DesiredBridge,
        ovsdb: Ovsdb,
        link: Link,
        limits: Limits | None = None,
        service: MetadataService | None = None,
        door: DriverDoor | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        self._desired = desired
        self._renewal = renewal
        self._service = service
        self._door = door
        self._ovsdb = ovsdb
        self._link = link
        self._limits = limits
        self._seen: int | None = None
        self._plan = Plan()
        self._waiting = False
        self._settling = Settling(_QUIET_S, _LONGEST_BURST_S)
        self._problems: tuple[str, ...] = ()
        self.told: Snapshot | None = None
        self.snapshots = 0
        self._held = False
        self._resolver = Resolver(desired.uplink)
        self._peers = Peers(desired.fabric_ip)
        self._bare: Snapshot | None = None  # of the database alone

    def run(self, wakeup: int) -> None:
        """Run until descriptor ``wakeup`` is readable."""
        while True:
            due = self.step()
            readers = [self._link.wants, self._link.question, self._resolver.wants, *self._limiting()]
            readers += [self._service.wants] if self._service is not None else []
            readers += self._door.wants if self._door is not None else []
            self._ovsdb.wait([(wakeup, False), *filter(None, readers)], due)
            if select.select([wakeup], [], [], 0)[0]:
                self._resolver.close()
                return

    def step(self) -> float:
        """Do what can be done now; return when to come back at the latest, on the monotonic clock."""
        self._ovsdb.run()
        self._renew()
        self._serve()
        if self._service is None or self._service.settled:
            self._look()
        self._link.run()
        self._ask_gateways()
        now = time.monotonic()
        self._peers.run(self._link.peers, now)
        due = [now + _LONGEST_NAP_S, self._link.deadline]
        if self._door is not None:
            self._door.run(now)
            due += [self._door.deadline] if self._door.deadline is not None else []
        if self._service is not None and self._service.deadline is not None:
            due.append(self._service.deadline)
        if self._renewal is not None:
            due.append(self._renewal.deadline)
        if self._limits is not None:
            self._limits.run(now)
            if self._limits.deadline is not None:
                due.append(self._limits.deadline)
        if self._settling.due is not None:
            due.append(self._settling.due)
        if self._waiting:
            due.append(now + _RETRY_S)
        due += [one.deadline for one in (self._resolver, self._peers) if one.deadline is not None]
        return min(due)

    def _limiting(self) -> list[tuple[int, bool] | None]:
        return [self._limits.wants] if self._limits is not None else []

    def _serve(self) -> None:
        """See to the metadata service; once it has a port, the bridge needs that as well."""
        if self._service is None or not (self._service.begun or self._ovsdb.ours):
            return
        before = self._service.problem
        self._service.run(time.monotonic(), self._ports)
        if self._service.ready and self._desired.metadata != self._service.port:
            self._desired = replace(self._desired, metadata=self._service.port, retired=self._service.spare)
            self._seen = None
        if self._service.problem != before and self._bare is not None:
            self._tell(self._whole())

    def _renew(self) -> None:
        """See to the certificate; Open vSwitch uses the same one."""
        if self._renewal is None:
            return
        before = self._renewal.problem
        self._renewal.run(self._link, time.monotonic())
        if self._renewal.files != self._desired.ssl:
            self._desired = replace(self._desired, ssl=self._renewal.files)
            self._seen = None
        if self._renewal.problem != before and self._bare is not None:
            self._tell(self._whole())

    def _ports(self) -> frozenset[str]:
        """Names of the ports that are on the bridge."""
        observed = self._ovsdb.observe()
        return observed.bridge.ports if observed is not None and observed.bridge is not None else frozenset()

    def _look(self) -> None:
        """Compare the database with what is wanted, and act on the difference."""
        idle = not self._waiting and self._settling.due is None
        if idle and self._seen == self._ovsdb.changes:
            return
        observed = self._ovsdb.observe()
        if observed is None:  # what was about to be told may no longer be so
            self._seen = self._bare = None
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
            names = (self._service.port, self._service.spare) if self._service is not None else ()
            self._bare = snapshot(observed, self._desired.uplink, self._desired.fabric, self._plan.problems, names)
            if self._limits is not None and self._bare is not None and observed.bridge is not None:
                instances = [port.ofport for port in self._bare.ports if port.role == "instance"]
                self._limits.want(observed.bridge.datapath_type, instances)
            self._tell(self._whole())

    def _ask_gateways(self) -> None:
        before = self._resolver.known, self._resolver.problem
        self._resolver.run(self._link.gateways, time.monotonic())
        if (self._resolver.known, self._resolver.problem) != before and self._bare is not None:
            self._tell(self._whole())

    def _whole(self) -> Snapshot | None:
        """The latest snapshot with what is not in the database."""
        if self._bare is None:
            return None
        service = self._service.problem if self._service is not None else None
        ending = self._renewal.problem if self._renewal is not None else None
        problems = (*self._bare.problems, *filter(None, [self._resolver.problem, service, ending]))
        return replace(
            self._bare,
            fabric_mode=self._desired.fabric_mode,
            fabric_ip=self._desired.fabric_ip,
            gateways=self._resolver.known,
            agent_version=_VERSION,
            problems=problems,
        )

    def _tell(self, latest: Snapshot | None) -> None:
        if latest is None:
            if not self._held:
                _LOG.info("waiting for ovs-vswitchd to set bridge %s up", self._desired.name)
            self._held = True
            return
        self._held = False
        if latest == self.told:
            return
        self.told = latest
        self.snapshots += 1
        for problem in latest.problems:
            if problem not in self._problems:
                _LOG.warning("problem: %s", problem)
        for problem in self._problems:
            if problem not in latest.problems:
                _LOG.info("mended: %s", problem)
        self._problems = latest.problems
        self._link.offer(latest)
