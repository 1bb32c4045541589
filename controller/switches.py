"""The switches that are connected, by datapath id and by the host whose certificate they have shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.admission import RefusedError
from controller.bindings import HostPorts
from controller.session import Session


class Switches:
    """Without TLS nobody has shown anything, and a datapath is whose agent says so.

    A switch whose certificate is another host's never comes in the way of the right one.
    """

    def __init__(self) -> None:
        self._sessions: dict[tuple[int, str | None], Session] = {}

    def enter(self, dpid: int, owner: str | None, session: Session, hosts: Mapping[str, HostPorts]) -> None:
        """A switch has said its datapath id; raises :class:`RefusedError` when that cannot be its own."""
        if owner is not None:
            whose = next((host for host, ports in hosts.items() if ports.dpid == dpid), owner)
            if whose != owner:
                raise RefusedError(f"says it is datapath {dpid:016x}, host {whose}'s, with the certificate of {owner}")
            if owner in hosts and hosts[owner].dpid != dpid:
                right = f"{hosts[owner].dpid:016x}"
                raise RefusedError(f"says it is datapath {dpid:016x}, but that of host {owner} is {right}")
        self._sessions[dpid, owner] = session

    def leave(self, session: Session) -> None:
        """The connection of a switch has ended."""
        for key in [key for key, known in self._sessions.items() if known is session]:
            del self._sessions[key]

    def of(self, host: str, dpid: int) -> Session | None:
        """The switch of a host, None when it is not connected."""
        return self._sessions.get((dpid, host)) or self._sessions.get((dpid, None))

    def strangers(self, hosts: Mapping[str, HostPorts]) -> Iterator[str]:
        """What is to be said of switches that are no host's."""
        for dpid, owner in self._sessions:
            whose = [host for host, ports in hosts.items() if ports.dpid == dpid]
            if not whose:
                yield f"switch {dpid:016x} is connected but no agent claims it"
            elif owner not in (None, *whose):
                yield f"switch {dpid:016x} has the certificate of {owner}, but is that of {whose[0]}; it gets nothing"
