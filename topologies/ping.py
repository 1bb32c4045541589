"""``ping`` from a place of the lab, 200 a second, with every lost packet named."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from types import TracebackType

from topologies.errors import LabError
from topologies.vantage import Vantage

#: Seconds between two packets: one that is not answered is waited for, the next one after an answer comes sooner.
INTERVAL = 0.01
_ASKED = 0.004
#: Packets that may still be under way when it is told to stop.
_UNDER_WAY = 5
_FIRST = 10
_PATIENCE = 15.0
_HALF = 1 << 15


class Ping:
    """Pings ``address`` from the first answers on until :meth:`stop`; a context manager."""

    def __init__(self, vantage: Vantage, address: str) -> None:
        command = ("ip", "netns", "exec", vantage.namespace, "ping", "-n", "-D", "-i", str(_ASKED), address)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: list[str] = []
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._begun.wait()

    def _read(self) -> None:
        # All the while: with nobody to read what it says, ping stops sending when the pipe is full, after four seconds.
        for line in self.process.stdout or ():
            self._lines.append(line)
            if len(self._lines) == _FIRST:
                self._begun.set()
        self._begun.set()

    def stop(self) -> tuple[int, list[int]]:
        """End it; tell how many packets were sent and the numbers of those that were not answered."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        text = "".join(self._lines)
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
            self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


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
