"""Which host answers for an elastic IP, so that a move never has two owners.

The old host's flows go and are acknowledged before the new host's come.  An old host that does not answer within
``PATIENCE`` seconds, or is not connected, is not waited for: elastic IPs are there to be moved away from a dead host.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

PATIENCE = 5.0


@dataclass(slots=True)
class Handover:
    """Holders of elastic IPs as acknowledged by their switches; ``clock`` gives seconds."""

    clock: Callable[[], float]
    holders: dict[str, str] = field(default_factory=dict)
    _asked: dict[tuple[str, str], float] = field(default_factory=dict)

    def may_claim(self, public_ip: str, host: str, connected: Collection[str], unsynced: Collection[str]) -> bool:
        """May ``host`` install the elastic IP now?

        Not while another connected host still holds it, nor while another connected host has not been compared with
        the desired state yet and so might hold it.
        """
        holder = self.holders.get(public_ip)
        held = holder is not None and holder != host and holder in connected
        unknown = holder != host and any(other != host for other in unsynced)
        if not held and not unknown:
            self._asked.pop((public_ip, host), None)
            return True
        since = self._asked.setdefault((public_ip, host), self.clock())
        if self.clock() - since < PATIENCE:
            return False
        del self._asked[public_ip, host]
        return True

    def claimed(self, public_ip: str, host: str) -> bool:
        """``host`` has acknowledged the flows of the elastic IP; True when it did not hold it before."""
        fresh = self.holders.get(public_ip) != host
        self.holders[public_ip] = host
        return fresh

    def released(self, public_ip: str, host: str) -> None:
        """``host`` has acknowledged that the flows are gone."""
        if self.holders.get(public_ip) == host:
            del self.holders[public_ip]
