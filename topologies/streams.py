"""One-sided talk: ``python -m topologies.streams ROLE ...``.  Prints a line for everything that comes in.

``serve-udp PORT`` answers nobody: from the first datagram on it sends a numbered line to whoever sent the latest one,
fifty a second.  ``call-udp HOST PORT COUNT SOURCE`` sends COUNT datagrams from port SOURCE, fifty a second (0 = without
end), and goes on listening.
``serve-tcp PORT`` sends lines, fifty a second, to all callers; ``call-tcp HOST PORT`` connects and only reads.
``pour-udp HOST PORT RATE SECONDS`` sends that many numbered datagrams a second; ``count-udp PORT SECONDS`` prints, when
the time is over or nothing has come for a second, how many different ones came: "PORT COUNT".
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

PAUSE = 0.02
_SIZE = 2048
_SO_RCVBUFFORCE = 33  # Linux: beyond net.core.rmem_max, which fits no flood


def main(arguments: list[str]) -> int:
    """Play the role that the arguments name."""
    role, *rest = arguments
    _ROLES[role](*rest)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _udp(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", port))
    return made


def _serve_udp(port: str) -> None:
    with _udp(int(port)) as peer:
        client, number = None, 0
        _say("ready")
        while True:
            if select.select([peer], [], [], PAUSE)[0]:
                client = peer.recvfrom(_SIZE)[1]
                _say("heard")
            if client is not None:
                number += 1
                with contextlib.suppress(OSError):
                    peer.sendto(b"%d\n" % number, client)


def _call_udp(host: str, port: str, count: str, source: str) -> None:
    with _udp(int(source)) as peer:
        number = 0
        while True:
            if count == "0" or number < int(count):
                number += 1
                with contextlib.suppress(OSError):
                    peer.sendto(b"%d\n" % number, (host, int(port)))
            deadline = time.monotonic() + PAUSE
            while (left := deadline - time.monotonic()) > 0:
                if select.select([peer], [], [], left)[0]:
                    with contextlib.suppress(OSError):
                        peer.recv(_SIZE)
                        _say("heard")


def _serve_tcp(port: str) -> None:
    def pour(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while True:
                client.sendall(b"line\n")
                time.sleep(PAUSE)

    with socket.create_server(("", int(port))) as server:
        _say("ready")
        while True:
            threading.Thread(target=pour, args=(server.accept()[0],), daemon=True).start()


def _call_tcp(host: str, port: str) -> None:
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.settimeout(None)
        while peer.recv(_SIZE):
            _say("heard")


def _pour_udp(host: str, port: str, rate: str, seconds: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        start, sent = time.monotonic(), 0
        while (passed := time.monotonic() - start) < float(seconds):
            due = int(passed * float(rate))
            for number in range(sent, due):
                peer.sendto(number.to_bytes(4, "big"), (host, int(port)))
            sent = max(sent, due)
            time.sleep(0.001)
    _say(f"sent {sent}")


def _count_udp(port: str, seconds: str) -> None:
    seen: set[bytes] = set()
    with _udp(int(port)) as peer:
        peer.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        _say("ready")
        deadline = time.monotonic() + float(seconds)
        while (left := deadline - time.monotonic()) > 0:
            peer.settimeout(min(left, 1.0) if seen else left)
            try:
                seen.add(peer.recv(_SIZE))
            except TimeoutError:
                break
    _say(f"{port} {len(seen)}")


_ROLES: dict[str, Callable[..., None]] = {
    "serve-udp": _serve_udp,
    "call-udp": _call_udp,
    "serve-tcp": _serve_tcp,
    "call-tcp": _call_tcp,
    "pour-udp": _pour_udp,
    "count-udp": _count_udp,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
