"""``ping`` from a place of the lab, 200 a second, with every lost packet named."""

from __future__ import annotations

import re
import signal
import subprocess
from types import TracebackType

from topologies.errors import LabError
from topologies.vantage import Vantage

#: Seconds between two packets.
INTERVAL = 0.005
#: Packets that may still be under way when it is told to stop.
_UNDER_WAY = 5
_FIRST = 10
_HALF = 1 << 15


class Ping:
    """Pings ``address`` from the first answers on until :meth:`stop`; a context manager."""

    def __init__(self, vantage: Vantage, address: str) -> None:
        command = ("ip", "netns", "exec", vantage.namespace, "ping", "-n", "-D", "-i", str(INTERVAL), address)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if self.process.stdout is None:
            raise LabError("ping cannot be read")
        self._first = [self.process.stdout.readline() for _ in range(_FIRST)]

    def stop(self) -> tuple[int, list[int]]:
        """End it; tell how many packets were sent and the numbers of those that were not answered."""
        self.process.send_signal(signal.SIGINT)
        text = "".join(self._first) + self.process.communicate(timeout=15)[0]
        summary = re.search(r"(\d+) packets transmitted", text)
        if summary is None:
            raise LabError(f"ping ended early: {text[-200:]}")
        sent, came = int(summary[1]), answered(text)
        return sent, [number for number in range(1, sent - _UNDER_WAY) if number not in came]

    def __enter__(self) -> Ping:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def answered(text: str) -> set[int]:
    """The numbers of the packets that were answered, from what ping has printed.

    On the wire they have 16 bits and begin anew after five and a half minutes: each is taken for the one that is
    nearest to the one before.
    """
    numbers, latest = set(), 0
    for word in re.findall(r"icmp_seq=(\d+) ttl", text):
        latest += (int(word) - latest + _HALF) % (2 * _HALF) - _HALF
        numbers.add(latest)
    return numbers
