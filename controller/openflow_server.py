"""The OpenFlow listener: in the place of Ryu's, because Ryu's does not tell whose certificate a switch has shown.

With TLS a switch is let in when its certificate is that of a host that has joined; whether it is the switch of that
host its datapath id tells later (:meth:`controller.composer.Composer.switch_connected`).
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import eventlet
from ryu.controller import controller as ryu_controller

from controller.admission import Admission, Peer, RefusedError
from controller.doors import family
from controller.tls import GreenTls, TlsDoor

LOG = logging.getLogger(__name__)

#: Connections that wait to be accepted.
_BACKLOG = 1024


def install(admission: Admission, door: TlsDoor) -> None:
    """Have Ryu listen by this module, with TLS; to be called before Ryu listens."""

    class StreamServer:
        """What Ryu makes; of its arguments for TLS none is needed."""

        def __init__(self, address: tuple[str, int], handle: Callable[[Any, Any], None], **_tls: Any) -> None:
            self._handle = handle
            self._listener = eventlet.listen(address, family=family(address[0]), backlog=_BACKLOG, reuse_port=False)

        def serve_forever(self) -> None:
            """Accept until the process ends; who is slow keeps nobody waiting."""
            while True:
                connection, address = self._listener.accept()
                eventlet.spawn(self._talk, connection, address)

        def _talk(self, connection: Any, address: Any) -> None:
            try:
                admitted = _admit(admission, door, connection)
            except RefusedError as error:
                if admission.refused(f"an OpenFlow connection from {address[0]}", str(error)):
                    LOG.warning("OpenFlow connection from %s is refused: it %s", address[0], error)
                return
            except ConnectionError as error:
                LOG.debug("OpenFlow connection from %s: it %s", address[0], error)
                return
            number = admission.enter(admitted.peer, lambda: _cut(admitted))
            try:
                self._handle(admitted, address)
            finally:
                admission.leave(number)

    ryu_controller.StreamServer = StreamServer


def peer_of(datapath: Any) -> Peer:
    """Return who is at the end of a Ryu datapath's connection."""
    connection = datapath.socket
    return connection.peer if isinstance(connection, GreenTls) else Peer()


def _admit(admission: Admission, door: TlsDoor, connection: Any) -> GreenTls:
    tls = door.shake(connection)
    try:
        tls.peer = admission.identify(tls.certificate)
    except RefusedError:
        tls.close()
        raise
    return tls


def _cut(connection: GreenTls) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
