"""A stream of numbered datagrams: ``python -m benchmarks.stream send HOST PORT RATE`` and ``... count PORT``.

The sender goes on until a line comes on its standard input and then prints how many it has sent.  The counter prints
"ready" with the first datagram, and, when none has come for a second, the number of the first one and how many
different ones have come.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time

_SILENCE = 1.0
_PATIENCE = 20.0


def send(host: str, port: int, rate: float) -> int:
    """Send until told to stop."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        start, sent = time.monotonic(), 0
        while not select.select([sys.stdin], [], [], 1 / rate)[0]:
            due = int((time.monotonic() - start) * rate)
            for number in range(sent, due):
                with contextlib.suppress(OSError):  # the other side may not listen yet
                    peer.sendto(number.to_bytes(4, "big"), (host, port))
            sent = max(sent, due)
    return sent


def count(port: int) -> tuple[int, int]:
    """Count until nothing comes any more: the first number, and how many numbers."""
    seen: set[int] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("", port))
        peer.settimeout(_PATIENCE)
        with contextlib.suppress(TimeoutError):
            while True:
                seen.add(int.from_bytes(peer.recv(4), "big"))
                if len(seen) == 1:
                    peer.settimeout(_SILENCE)
                    sys.stdout.write("ready\n")
                    sys.stdout.flush()
    return min(seen, default=0), len(seen)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        sys.stdout.write(f"{send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))}\n")
    else:
        sys.stdout.write("{} {}\n".format(*count(int(sys.argv[2]))))
