"""The programs behind scripts/demo and scripts/up, started as a user starts them, and what they must not leave."""

from __future__ import annotations

import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

START = 60.0


class Program:
    """A program in a session of its own, whose lines are read as they come."""

    def __init__(self, *command: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def read_until(self, text: str) -> None:
        """Read until a line contains the text."""
        deadline = time.monotonic() + START
        while True:
            line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"ended before it said {text!r}: {self.lines[-3:]} {self.process.stderr.read()}"
            self.lines.append(line)
            if text in line:
                return

    def signal_all(self, number: int) -> None:
        """Send a signal to its process group, as the terminal does."""
        os.killpg(self.process.pid, number)

    def ended(self, within: float = 30.0) -> int:
        """Wait for its end and return the exit status."""
        return self.process.wait(within)

    @property
    def exports(self) -> dict[str, str]:
        """The variables on the line of exports."""
        line = next(line for line in self.lines if line.strip().startswith("export "))
        return dict(re.findall(r"(\w+)=(\S+)", line))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short name: a cloud's sockets lie in its state, and a socket's path has 108 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="up-") as folder:
        yield Path(folder)


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a cloud; afterwards nothing of that name may be left, be it namespace, process or file."""
    name = f"s{secrets.token_hex(3)}"
    yield name
    assert leftovers(name) == []


def leftovers(name: str) -> list[str]:
    """Namespaces, processes and temporary files of the cloud of that name."""
    spaces = [entry.name for entry in Path("/run/netns").glob(f"{name}-*")]
    files = [str(entry) for entry in Path(tempfile.gettempdir()).glob(f"{name}-*")]
    mine = f"/{name}-".encode()
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mine in (entry / "cmdline").read_bytes() or mine in (entry / "environ").read_bytes():
                processes.append(entry.name)
        except OSError:
            continue
    return spaces + files + processes


@pytest.fixture
def start(name: str) -> Iterator[Callable[..., Program]]:
    """Start "demo" or "up" with arguments, under the test's own name; whatever still runs at the end is ended."""
    programs: list[Program] = []

    def begin(program: str, *arguments: str) -> Program:
        programs.append(Program(sys.executable, "-m", f"topologies.{program}", "--name", name, *arguments))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            program.signal_all(signal.SIGTERM)
            program.ended()


@pytest.fixture
def up(start: Callable[..., Program], tmp_path: Path) -> Callable[..., Program]:
    """Start "up" with arguments on a free port and wait until it is ready."""

    def begin(*arguments: str) -> Program:
        program = start("up", "--api-port", "0", "--state", str(tmp_path / "state"), *arguments)
        program.read_until("Ctrl-C ends it")
        return program

    return begin
