"""Raw Ethernet frames in a namespace: ``python -m topologies.frames send|hear IFACE ...``.

``send IFACE RATE`` sends each line of standard input (hexadecimal) as a frame, RATE a second (0 = as fast as it can).
``hear IFACE MARK SECONDS`` prints "ready", then every frame received as a line of hexadecimal, until one contains the
bytes MARK or SECONDS are over; what the namespace itself sends is left out.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterable, Sequence
from subprocess import PIPE, Popen
from types import TracebackType

from topologies.vantage import Vantage

#: Hear on all interfaces of the namespace.
EVERY_INTERFACE = "any"
_ALL = socket.htons(0x0003)  # ETH_P_ALL
_RCVBUFFORCE = 33  # SO_RCVBUFFORCE of Linux


def send(vantage: Vantage, interface: str, frames: Iterable[bytes], rate: int = 0) -> None:
    """Send ``frames`` out of ``interface`` of the namespace, ``rate`` a second (0 = as fast as it can)."""
    what = ("send", interface, str(rate))
    command = ("ip", "netns", "exec", vantage.namespace, sys.executable, "-m", "topologies.frames", *what)
    with Popen(command, stdin=PIPE, text=True) as process:
        process.communicate("".join(f"{frame.hex()}\n" for frame in frames), timeout=60)
    if process.returncode:
        raise OSError(f"frames could not be sent from {vantage.namespace}")


class Ear:
    """Hears the frames that come in by an interface; a context manager that is ready when entered."""

    def __init__(self, vantage: Vantage, interface: str, mark: bytes, seconds: float = 10.0) -> None:
        what = ("hear", interface, mark.hex(), str(seconds))
        self._command = ("ip", "netns", "exec", vantage.namespace, sys.executable, "-m", "topologies.frames", *what)
        self._process: Popen[str] | None = None

    def __enter__(self) -> Ear:
        self._process = Popen(self._command, stdout=PIPE, text=True)
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise OSError("nothing can be heard there")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def heard(self) -> list[bytes]:
        """Wait for the mark (or the end of the time) and return all frames up to it."""
        if self._process is None:
            raise OSError("enter the context first")
        text, _ = self._process.communicate()
        return [bytes.fromhex(line) for line in text.split()]


def main(arguments: Sequence[str]) -> int:
    """Send or hear as the arguments say."""
    verb, interface, *rest = arguments
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, _ALL) as wire:
        if interface != EVERY_INTERFACE:
            wire.bind((interface, 0))
        if verb == "send":
            _send(wire, int(rest[0]))
            return 0
        wire.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 16 << 20)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _hear(wire, bytes.fromhex(rest[0]), time.monotonic() + float(rest[1]))
    return 0


def _send(wire: socket.socket, rate: int) -> None:
    start = time.monotonic()
    for number, line in enumerate(sys.stdin):
        while rate and number > rate * (time.monotonic() - start):
            time.sleep(0.001)
        wire.send(bytes.fromhex(line))


def _hear(wire: socket.socket, mark: bytes, deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame, address = wire.recvfrom(65536)
        except TimeoutError:
            return
        if address[2] == socket.PACKET_OUTGOING:
            continue
        sys.stdout.write(f"{frame.hex()}\n")
        sys.stdout.flush()
        if mark in frame:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
