"""From an accepted OpenFlow connection to a switch of the composer's; the listener is ours, in the place of Ryu's.

Ryu's tells neither when a connection begins nor whose certificate a switch has shown.  A peer is a stranger until its
handshakes are over (:mod:`controller.handshakes`): that of TLS, where there is TLS, which lets in whoever has the
certificate of a host that has joined, and that of OpenFlow, in which the switch tells its datapath id.  Whether that is
its own to tell is said by :class:`controller.switches.Switches`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import eventlet
from ryu.controller import controller as ryu_controller

from controller import doors
from controller.admission import Peer, RefusedError
from controller.composer import Composer
from controller.handshakes import Handshakes
from controller.openflow import OpenFlowSession
from controller.tls import TlsDoor

LOG = logging.getLogger(__name__)

_WHAT = "OpenFlow connection from"


class OpenFlowServer:
    """The OpenFlow connections there are; ``datapath`` is Ryu's object for one.  Without a ``door`` there is no TLS."""

    def __init__(self, composer: Composer, door: TlsDoor | None = None) -> None:
        self._composer = composer
        self._door = door
        self._handshakes = Handshakes(_WHAT, composer.refusals)
        self._peers: dict[Any, Peer] = {}  # by connection, as Ryu has it
        self._claims: dict[Any, Any] = {}  # datapath -> the greenlet that sees whether the switch may have its id
        self._sessions: dict[Any, OpenFlowSession] = {}  # by datapath

    def install(self) -> None:
        """Have Ryu listen by this object; to be called before Ryu listens."""
        server = self

        class StreamServer:
            """What Ryu makes; of its arguments for TLS none is needed."""

            def __init__(self, address: tuple[str, int], handle: Callable[[Any, Any], None], **_tls: Any) -> None:
                self._handle = handle
                self._listener = doors.listen(*address)

            def serve_forever(self) -> None:
                """Accept until the process ends; who is slow keeps nobody waiting."""
                while True:
                    eventlet.spawn(server.talk, self._handle, *self._listener.accept())

        ryu_controller.StreamServer = StreamServer

    def talk(self, handle: Callable[[Any, Any], None], connection: Any, address: Any) -> None:
        """Serve one connection to its end, which may be that of its handshake; ``handle`` is Ryu's part."""
        number = None
        try:
            if self._door is not None:
                connection = self._door.wrap(connection)
            self._handshakes.begin(connection, address[0])
            peer = Peer()
            if self._door is not None:
                connection.shake()
                peer = self._composer.admission.identify(connection.certificate)
                number = self._composer.admission.enter(peer, lambda: _cut(connection))
            self._peers[connection] = peer
            handle(connection, address)
        except RefusedError as error:
            if self._handshakes.end(connection):  # else it was put out, which was noted
                self._composer.refusals.note(_WHAT, address[0], f"it {error}")
        except OSError as error:
            LOG.debug("%s %s: it %s", _WHAT, address[0], error)
        finally:
            self._handshakes.end(connection)
            self._peers.pop(connection, None)
            if number is not None:
                self._composer.admission.leave(number)
            connection.close()

    def ready(self, datapath: Any) -> None:
        """A peer has finished the handshake of OpenFlow.  Does not block."""
        peer = self._peers.get(datapath.socket)
        if peer is not None and self._handshakes.end(datapath.socket):
            self._claims[datapath] = eventlet.spawn(self._claim, datapath, peer)

    def gone(self, datapath: Any) -> None:
        """A connection that Ryu had is over.  Does not block."""
        claim = self._claims.pop(datapath, None)
        if claim is not None:
            claim.kill()
        session = self._sessions.pop(datapath, None)
        if session is not None:
            self._composer.switch_lost(session)

    def _claim(self, datapath: Any, peer: Peer) -> None:
        session = self._sessions[datapath] = OpenFlowSession(datapath)
        try:
            self._composer.switch_connected(session.dpid, session, peer.host)
        except RefusedError as error:
            self._composer.refusals.note(_WHAT, session.address, f"it {error}")
            session.hang_up()
        finally:
            self._claims.pop(datapath, None)


def _cut(connection: Any) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
