"""The way out to a switch: straight into the socket where that is possible, else through Ryu's queue.

Ryu has a greenlet that sends for each connection and hands it every message through a queue.  Of a small message to a
socket that has room that is most of the cost, and a rule of a group that all hypervisors have is one such message to
each of them.
"""

from __future__ import annotations

from typing import Any


def send(datapath: Any, data: bytes | bytearray) -> bool:
    """Send ``data``, whole messages, behind whatever is under way on ``datapath``; False when the connection is over.

    May wait for room in the queue of Ryu's ``Datapath``.
    """
    queue = datapath.send_q
    # Whoever waits at an empty queue has sent everything: nothing of an earlier message is still to come.
    if queue is not None and queue.empty() and queue.getting():
        data = data[_push(datapath.socket, data) :]
        if not data:
            return True
    # There was no switch to another greenlet since, so the rest of a message follows its beginning.
    return bool(datapath.send(data))


def _push(connection: Any, data: bytes | bytearray) -> int:
    """How many bytes the socket has taken at once; none over TLS, where a record is sent whole or not at all."""
    raw = getattr(connection, "fd", None)
    if raw is None:
        return 0
    try:
        return int(raw.send(data))
    except OSError:  # no room, or a lost connection, which Ryu's own greenlet finds
        return 0
