"""Keeps the ways to other hosts' tunnels known, so that no instance's packet is lost while a MAC is looked for.

Where Open vSwitch sends tunnel packets itself (its userspace datapath) it drops one whose next hop it does not know,
and learns from the answers to ARP that the host's own kernel gets.  So the kernel is given a reason to ask: a datagram
to the discard port (RFC 863) of each peer, a few times when it is new, then now and again before Open vSwitch forgets
it (15 minutes; the kernel asks again for what it has not heard of for a while).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

FIRST_S = (0.0, 1.0, 3.0)
"""Seconds from when a peer is first heard of to the datagrams that are sent at once."""
AGAIN_S = 60.0
"""Seconds between the later ones."""
_DISCARD = 9


class Due:
    """Whom to send to and when.  Pure: times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def want(self, addresses: Iterable[str], now: float) -> None:
        """Make these the peers that matter."""
        wanted = set(addresses)
        if wanted != self._times.keys():
            fresh = [now + pause for pause in FIRST_S]
            self._times = {address: self._times.get(address, list(fresh)) for address in wanted}

    def take(self, now: float) -> list[str]:
        """Return the peers to send to now, each once."""
        due = sorted(address for address, times in self._times.items() if times[0] <= now)
        for address in due:
            later = [when for when in self._times[address] if when > now]
            self._times[address] = later or [now + AGAIN_S]
        return due

    @property
    def deadline(self) -> float | None:
        """When :meth:`take` is due; None while there are no peers."""
        return min((times[0] for times in self._times.values()), default=None)


class Peers:
    """Sends from the address ``own``, None = no tunnels here; nothing here blocks or raises."""

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._due = Due()

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due, on the monotonic clock."""
        return self._due.deadline

    def run(self, addresses: Iterable[str], now: float) -> None:
        """Send what is due; ``addresses`` are the peers that matter."""
        if self._own is None:
            return
        self._due.want((address for address in addresses if address != self._own), now)
        due = self._due.take(now)
        if not due:
            return
        # No way to a peer, or no address of ours yet: the next round comes.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out,
        ):
            out.bind((self._own, 0))
            for address in due:
                with contextlib.suppress(OSError):
                    out.sendto(b"", (address, _DISCARD))
