"""Who may speak for which host: the one place that both listeners ask.

A connection is judged by the certificate it showed.  The store says which serial numbers hold; until the store has been
read nobody is let in, and whoever is in when a certificate is revoked, or the host is removed, is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from certificates.authority import CertificateError, holder
from controller.refusals import Refusals
from econe_api.store.records import REMOVED, HostRecord


class RefusedError(Exception):
    """A connection may not go on; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by certificate: host and serial number; both None on a listener without TLS."""

    host: str | None = None
    serial: str | None = None


class Admission:
    """``refusals`` is where they are noted."""

    def __init__(self, refusals: Refusals) -> None:
        self.refusals = refusals
        self._hosts: Mapping[str, HostRecord] | None = None
        self._live: dict[int, tuple[Peer, str | None, Callable[[], None]]] = {}
        self._next = 0

    def update(self, hosts: Mapping[str, HostRecord]) -> None:
        """Take what the store says of hosts, and cut whoever may not be there any more."""
        self._hosts = dict(hosts)
        for number, (peer, host, cut) in list(self._live.items()):
            try:
                self.check(peer)
                if host is not None:
                    self.check_host(peer, host)
            except RefusedError as error:
                self._live.pop(number, None)
                self.refusals.note("a live connection of", str(host or peer.host), f"it {error}")
                cut()

    def identify(self, certificate: bytes | None) -> Peer:
        """Return whose certificate (DER, its signature checked by TLS) it is; raises :class:`RefusedError`."""
        if certificate is None:
            raise RefusedError("shows no certificate")
        try:
            found = holder(certificate)
        except CertificateError as error:
            raise RefusedError(str(error)) from error
        peer = Peer(found.name, found.serial)
        self.check(peer)
        return peer

    def check(self, peer: Peer) -> None:
        """See that a host's certificate holds now; raises :class:`RefusedError`."""
        if peer.host is None:
            return
        if self._hosts is None:
            raise RefusedError("the store has not been read yet, so no certificate can be judged")
        record = self._hosts.get(peer.host)
        if record is None:
            raise RefusedError(f"shows a certificate of {peer.host}, which has not joined")
        if record.state == REMOVED:
            raise RefusedError(f"shows a certificate of {peer.host}, which was removed")
        if peer.serial not in record.serials:
            raise RefusedError(f"shows a certificate of {peer.host} that was revoked")

    def check_host(self, peer: Peer, host: str) -> None:
        """See that ``peer`` may speak for ``host``; raises :class:`RefusedError`."""
        if peer.host not in (None, host):
            raise RefusedError(f"says it is host {host[:80]}, but its certificate is that of {peer.host}")
        if self.removed(host):
            raise RefusedError(f"host {host} was removed; 'sluice host add {host}' lets it come back")

    def removed(self, host: str) -> bool:
        """Was the host taken out?"""
        record = self._hosts.get(host) if self._hosts is not None else None
        return record is not None and record.state == REMOVED

    def invited(self, host: str, digest: str) -> bool:
        """May a join token be used (as far as is known here; the store has the last word)?"""
        record = self._hosts.get(host) if self._hosts is not None else None
        return record is not None and digest in record.invitations

    def holds(self, host: str, serial: str) -> bool:
        """Is it known here that a certificate holds?"""
        record = self._hosts.get(host) if self._hosts is not None else None
        return record is not None and serial in record.serials

    def enter(self, peer: Peer, cut: Callable[[], None], host: str | None = None) -> int:
        """Note a live connection, of an agent that speaks for ``host``; returns its number for :meth:`leave`.

        ``cut`` ends it at once, and must neither block nor raise.
        """
        self._next += 1
        self._live[self._next] = peer, host, cut
        return self._next

    def leave(self, number: int) -> None:
        """A connection has ended."""
        self._live.pop(number, None)
