"""From an accepted connection to a switch of the composer's: a bounded handshake, and one connection per datapath id.

* A peer has :data:`PATIENCE` seconds from the first byte it could send to the end of the handshake; of more than
  :data:`MOST_WAITING` peers in it the one that came first has to go, so that a real switch, which needs milliseconds,
  always gets in.
* A second connection with a datapath id that is connected already is refused while the first one gives any sign of
  life.  Taking the newer one would put one host's flows on another's bridge; refusing it always would keep out a switch
  whose former connection died without a word.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any, Protocol

import eventlet

from controller.openflow import OpenFlowSession
from controller.refusals import Refusals

LOG = logging.getLogger(__name__)

#: Seconds for a handshake.
PATIENCE = 10.0
MOST_WAITING = 2048
#: Seconds within which a switch must show that it is there when another claims its datapath id.
_SIGN_OF_LIFE = 3.0


class Listener(Protocol):
    """What :class:`controller.composer.Composer` offers."""

    def switch_connected(self, dpid: int, session: OpenFlowSession) -> None:
        """A switch is past its handshake."""

    def switch_lost(self, dpid: int, session: OpenFlowSession) -> None:
        """The connection of a switch ended."""


class Switches:
    """The OpenFlow connections there are; ``datapath`` is Ryu's object for one.  Nothing here blocks its caller."""

    def __init__(self, listener: Listener, refusals: Refusals) -> None:
        self._listener = listener
        self._refusals = refusals
        self._waiting: dict[Any, Any] = {}  # datapath in its handshake -> its timer, oldest first
        self._contests: dict[Any, Any] = {}  # datapath that claims an id which is taken -> greenlet
        self._sessions: dict[Any, OpenFlowSession] = {}
        self._by_id: dict[int, Any] = {}

    def arrived(self, datapath: Any) -> None:
        """A peer has connected."""
        self._waiting[datapath] = eventlet.spawn_after(PATIENCE, self._too_slow, datapath)
        if len(self._waiting) > MOST_WAITING:
            oldest = next(iter(self._waiting))
            self._put_out(oldest, f"more than {MOST_WAITING} connections are in their handshake")

    def ready(self, datapath: Any) -> None:
        """A peer has finished its handshake."""
        if self._end_waiting(datapath):
            self._claim(datapath)

    def gone(self, datapath: Any) -> None:
        """A connection is over."""
        self._end_waiting(datapath)
        contest = self._contests.pop(datapath, None)
        if contest is not None:
            contest.kill()
        session = self._sessions.pop(datapath, None)
        if session is None:
            return
        LOG.info("switch %016x disconnected", session.dpid)
        if self._by_id.get(session.dpid) is datapath:
            del self._by_id[session.dpid]
        self._listener.switch_lost(session.dpid, session)

    def _end_waiting(self, datapath: Any) -> bool:
        timer = self._waiting.pop(datapath, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _too_slow(self, datapath: Any) -> None:
        self._put_out(datapath, f"it did not finish the handshake within {PATIENCE:g} s")

    def _claim(self, datapath: Any) -> None:
        dpid = int(datapath.id)
        if dpid in self._by_id:
            self._contests[datapath] = eventlet.spawn(self._contest, dpid, datapath)
        else:
            self._admit(dpid, datapath)

    def _contest(self, dpid: int, datapath: Any) -> None:
        while (holder := self._by_id.get(dpid)) is not None:
            if self._sessions[holder].is_there(_SIGN_OF_LIFE):
                del self._contests[datapath]
                reason = f"datapath {dpid:016x} is connected from {holder.address[0]} already; give one of them another"
                self._put_out(datapath, reason)
                return
            if self._by_id.get(dpid) is holder:
                self._put_out(holder, f"it is silent, and datapath {dpid:016x} has connected anew")
                self.gone(holder)
        del self._contests[datapath]
        self._admit(dpid, datapath)

    def _admit(self, dpid: int, datapath: Any) -> None:
        session = self._sessions[datapath] = OpenFlowSession(datapath)
        self._by_id[dpid] = datapath
        LOG.info("switch %016x connected from %s", dpid, datapath.address[0])
        self._listener.switch_connected(dpid, session)

    def _put_out(self, datapath: Any, reason: str) -> None:
        self._end_waiting(datapath)
        self._refusals.note("OpenFlow", datapath.address[0], reason)
        # Closing puts an event into the application's queue, for whose room its own greenlet must not wait.
        eventlet.spawn(_hang_up, datapath)


def _hang_up(datapath: Any) -> None:
    datapath.close()
    with suppress(OSError):  # wakes whoever reads, who would wait for the peer otherwise
        datapath.socket.shutdown(SHUT_RDWR)
