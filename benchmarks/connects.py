"""Connections opened and ended as fast as it goes: ``python -m benchmarks.connects serve PORT`` and ``call ...``.

``await HOST PORT SOURCE`` returns when a connection comes to be ("" as source: any), within fifteen seconds or not at
all.  ``call HOST PORT SOURCE SECONDS`` opens, reads one byte and resets, one connection after the other in four
threads, and prints how many were whole.  A reset leaves no TIME_WAIT behind, so source ports do not run out.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time

_THREADS = 4
_BACKLOG = 512
_PATIENCE = 3.0
_LONGEST = 15.0
_RESET = struct.pack("ii", 1, 0)


def serve(port: int) -> None:
    """Accept for ever; every caller gets a byte."""
    listener = socket.create_server(("", port), backlog=_BACKLOG)

    def answer() -> None:
        while True:
            with contextlib.suppress(OSError), listener.accept()[0] as peer:
                peer.sendall(b"!")
                peer.recv(1)

    for _ in range(_THREADS):
        threading.Thread(target=answer, daemon=True).start()
    threading.Event().wait()


def wait(host: str, port: int, source: str) -> bool:
    """Does a connection come to be?"""
    deadline = time.monotonic() + _LONGEST
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0, (source, 0)):
            return True
        time.sleep(0.1)
    return False


def call(host: str, port: int, source: str, seconds: float) -> int:
    """How many connections came to be in that time."""
    counts = [0] * _THREADS
    deadline = time.monotonic() + seconds

    def dial(place: int) -> None:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.socket() as peer:
                peer.settimeout(_PATIENCE)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                peer.bind((source, 0))
                peer.connect((host, port))
                counts[place] += len(peer.recv(1))

    threads = [threading.Thread(target=dial, args=(place,)) for place in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    elif sys.argv[1] == "await":
        sys.exit(not wait(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    else:
        sys.stdout.write(f"{call(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))}\n")
