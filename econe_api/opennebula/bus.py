"""Listens to oned's events: ZeroMQ publications of two frames, a key and a document ("Hooks" in OpenNebula's guide).

Events are lost without notice, anybody who reaches the port can listen, and nothing says who sent them.  So only the
VM's id is taken from the key, and only as a reason to ask oned about it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

import zmq

_LOG = logging.getLogger(__name__)
_TOPIC = b"EVENT STATE VM/"
_KEY = re.compile(rb"EVENT STATE VM/[A-Z_]*/[A-Z_]*/(\d{1,10}) ?")
_MOST_BYTES = 16 * 1024 * 1024
_KEEPALIVE = ((zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 30), (zmq.TCP_KEEPALIVE_INTVL, 10))


def vm_of(key: bytes) -> int | None:
    """Return the VM that an event's key names, None when it is not an event of a VM's state."""
    found = _KEY.fullmatch(key)
    return int(found[1]) if found else None


def listen(address: str, hint: Callable[[int], None]) -> threading.Thread:
    """Call ``hint`` with the id of every VM whose state changes, from a thread of its own, until the process ends.

    Connections are made again by themselves; raises :class:`zmq.ZMQError` for an address that is none.
    """
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, _TOPIC)
    socket.setsockopt(zmq.MAXMSGSIZE, _MOST_BYTES)
    socket.setsockopt(zmq.LINGER, 0)
    for option, value in _KEEPALIVE:
        socket.setsockopt(option, value)
    socket.connect(address)
    thread = threading.Thread(target=_run, args=(socket, hint), name="opennebula-events", daemon=True)
    thread.start()
    return thread


def _run(socket: zmq.Socket[bytes], hint: Callable[[int], None]) -> None:
    while True:
        try:
            key = socket.recv_multipart()[0]
        except zmq.ContextTerminated:
            return
        except zmq.ZMQError as error:
            _LOG.warning("oned's events: %s", error)
            continue
        vm = vm_of(key)
        if vm is not None:
            hint(vm)
