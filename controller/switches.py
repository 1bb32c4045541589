"""Which switch holds which datapath id: the one place that says whose it may be, and that it is one switch's alone.

* With TLS a switch may say the datapath id of the host whose certificate it has shown, and no other.  Without TLS
  nobody has shown anything, and a datapath is whose agent says so.
* A second connection with a datapath id (and certificate) that is connected already is refused while the first one
  gives any sign of life.  Taking the newer one would put one host's flows on another's bridge; refusing it always
  would keep out a switch whose former connection died without a word.
* A switch whose certificate is another host's never comes in the way of the right one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from controller.admission import RefusedError
from controller.bindings import HostPorts
from controller.refusals import Refusals
from controller.session import Session

LOG = logging.getLogger(__name__)

#: Seconds within which a switch must show that it is there when another claims its datapath id.
_SIGN_OF_LIFE = 3.0


class Switches:
    """The switches that are connected, by datapath id and by the host whose certificate they have shown.

    ``lost`` is told of a switch that had to go for its successor.
    """

    def __init__(self, refusals: Refusals, lost: Callable[[Session], None]) -> None:
        self._refusals = refusals
        self._lost = lost
        self._sessions: dict[tuple[int, str | None], Session] = {}

    def enter(self, dpid: int, owner: str | None, session: Session, hosts: Mapping[str, HostPorts]) -> None:
        """A switch has said its datapath id; raises :class:`RefusedError` when that cannot be its own.

        Waits for a sign of life of whoever holds it already, so it is for a green thread of the connection's own.
        ``hosts`` is looked at again after every wait.
        """
        _check(dpid, owner, hosts)
        while (holder := self._sessions.get((dpid, owner))) is not None:
            if holder.is_there(_SIGN_OF_LIFE):
                taken = f"datapath {dpid:016x}, which is connected from {holder.address} already"
                raise RefusedError(f"says it is {taken}; give one of them another")
            if self._sessions.get((dpid, owner)) is holder:
                reason = f"it is silent, and datapath {dpid:016x} has connected anew"
                self._refusals.note("OpenFlow connection from", holder.address, reason)
                holder.hang_up()
                self.leave(holder)
                self._lost(holder)
            _check(dpid, owner, hosts)
        self._sessions[dpid, owner] = session
        LOG.info("switch %016x connected from %s", dpid, session.address)

    def leave(self, session: Session) -> None:
        """The connection of a switch has ended."""
        for key in [key for key, known in self._sessions.items() if known is session]:
            LOG.info("switch %016x disconnected", key[0])
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


def _check(dpid: int, owner: str | None, hosts: Mapping[str, HostPorts]) -> None:
    if owner is None:
        return
    whose = next((host for host, ports in hosts.items() if ports.dpid == dpid), owner)
    if whose != owner:
        raise RefusedError(f"says it is datapath {dpid:016x}, host {whose}'s, with the certificate of {owner}")
    if owner in hosts and hosts[owner].dpid != dpid:
        right = f"{hosts[owner].dpid:016x}"
        raise RefusedError(f"says it is datapath {dpid:016x}, but that of host {owner} is {right}")
