"""Connections opened and ended as fast as it goes: ``python -m benchmarks.connects serve PORT...`` and ``call ...``.

``await HOST PORT SOURCE`` returns when a connection comes to be ("" as source: any), within fifteen seconds or not at
all.  ``call HOST PORT SOURCE SECONDS FIRST`` opens, reads one byte and resets, sixty-four connections at a time in one
loop, and prints how many were whole and how many were begun.

A reset leaves no TIME_WAIT behind, and no two connections have the same two ports: they are numbered from ``FIRST``,
which whoever calls again gives as the sum of all that were begun before.  Open vSwitch 3.1.0 ends itself when a
connection through its userspace NAT comes again soon after its reset (assertion in ``conn_update_state``).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

PORTS = 16
"""How many ports the server has, from the one that a caller names."""
_AT_ONCE = 64
_BACKLOG = 1024
_LONGEST = 15.0
_RESET = struct.pack("ii", 1, 0)
_LOWEST, _HIGHEST = 1024, 65535


def serve(ports: Iterable[int]) -> None:
    """Accept for ever; every caller gets a byte.

    What has been accepted is closed when many more have come, after its caller's reset, so that nothing else is sent.
    """
    events = select.epoll()
    listeners = {}
    for port in ports:
        listener = socket.create_server(("", port), backlog=_BACKLOG)
        listener.setblocking(False)
        events.register(listener, select.EPOLLIN)
        listeners[listener.fileno()] = listener
    accepted: deque[socket.socket] = deque()
    while True:
        for descriptor, _ in events.poll():
            with contextlib.suppress(OSError):
                while True:
                    peer = listeners[descriptor].accept()[0]
                    accepted.append(peer)
                    if len(accepted) > _BACKLOG:
                        accepted.popleft().close()
                    peer.send(b"!")


def wait(host: str, port: int, source: str) -> bool:
    """Does a connection come to be?"""
    deadline = time.monotonic() + _LONGEST
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0, (source, 0)):
            return True
        time.sleep(0.1)
    return False


def call(host: str, port: int, source: str, seconds: float, first: int) -> tuple[int, int]:
    """How many connections came to be in that time, and how many were begun, numbered from ``first``."""
    whole, begun = 0, 0
    waiting: dict[int, socket.socket] = {}
    pairs = port_pairs(port, first)
    events = select.epoll()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        while len(waiting) < _AT_ONCE:
            own, theirs = next(pairs)
            begun += 1
            peer = socket.socket()
            peer.setblocking(False)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            try:
                peer.bind((source, own))
                peer.connect_ex((host, theirs))
            except OSError:  # the port is in use, by somebody else
                peer.close()
                continue
            events.register(peer, select.EPOLLIN)
            waiting[peer.fileno()] = peer
        for descriptor, _ in events.poll(deadline - time.monotonic() if deadline > time.monotonic() else 0):
            with contextlib.suppress(OSError), waiting.pop(descriptor) as peer:
                whole += len(peer.recv(1))
    for peer in waiting.values():
        peer.close()
    return whole, begun


def port_pairs(port: int, first: int) -> Iterator[tuple[int, int]]:
    """A caller's and a server's port of each connection from number ``first`` on."""
    span = _HIGHEST - _LOWEST + 1
    number = first
    while True:
        yield _LOWEST + number % span, port + number // span % PORTS
        number += 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    elif sys.argv[1] == "await":
        sys.exit(not wait(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    else:
        counts = call(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), int(sys.argv[6]))
        sys.stdout.write("{} {}\n".format(*counts))
