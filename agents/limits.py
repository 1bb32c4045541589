"""How many connections one instance may have in the connection tracker, so that none can fill it for its neighbours.

Open vSwitch counts connections by zone, and the zone of an instance is its port number.  A default limit for all zones
would be one budget that they share, up to Open vSwitch 3.4, so every zone gets a limit of its own.  The limits live in
ovs-vswitchd's memory: they are set anew every few seconds, because a restart forgets them, which costs nothing when
they are as they should be.  Those of ports that have gone are taken away, or they would gather there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from agents.questions import Questions

_LOG = logging.getLogger(__name__)

PERIOD_S = 5.0
DEFAULT = 16_384
"""Connections that one port may have."""
_AT_ONCE = 200
_ZONE_BITS = 0xFFFF


class Limits:
    """Keeps the limit of every instance's zone at ``most`` connections; ``questions`` is for this alone."""

    def __init__(self, questions: Questions, most: int) -> None:
        self._questions = questions
        self._most = most
        self._datapath = ""
        self._zones: frozenset[int] = frozenset()
        self._gone: set[int] = set()
        self._due: float | None = None
        self._complaint: str | None = None

    def want(self, datapath_type: str, ofports: Iterable[int]) -> None:
        """Make these ports of a bridge of that type ("" = the kernel's) the ones to limit."""
        kind = datapath_type or "system"
        datapath, zones = f"{kind}@ovs-{kind}", frozenset(ofport & _ZONE_BITS for ofport in ofports)
        if (datapath, zones) != (self._datapath, self._zones):
            # A datapath that the bridge has left is not ours any more.
            self._gone = (self._gone | self._zones) - zones if datapath == self._datapath else set()
            self._datapath, self._zones, self._due = datapath, zones, 0.0

    def run(self, now: float) -> None:
        """Do what can be done without waiting, at ``now`` on the monotonic clock."""
        if self._due is not None and now >= self._due:
            self._due = now + PERIOD_S
            zones = sorted(self._zones)
            for start in range(0, len(zones), _AT_ONCE):
                limits = [f"zone={zone},limit={self._most}" for zone in zones[start : start + _AT_ONCE]]
                self._questions.put(None, "dpctl/ct-set-limits", [self._datapath, *limits])
            gone, self._gone = sorted(self._gone), set()
            for start in range(0, len(gone), _AT_ONCE):
                some = ",".join(str(zone) for zone in gone[start : start + _AT_ONCE])
                self._questions.put(None, "dpctl/ct-del-limits", [self._datapath, f"zone={some}"])
        for answer in self._questions.run():
            error = answer.get("error")
            if error and error != self._complaint:
                _LOG.warning("connections per port cannot be limited: %s", error)
            self._complaint = error

    @property
    def wants(self) -> tuple[int, bool] | None:
        """Descriptor to wait on for reading; None while nothing is under way."""
        return self._questions.wants

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due at the latest, on the monotonic clock; None when there is nothing to limit."""
        due = [when for when in (self._due, self._questions.deadline) if when is not None]
        return min(due, default=None)
