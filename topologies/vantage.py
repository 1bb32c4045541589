"""A place to look at the cloud from: a network namespace, such as the outside host's or an instance's."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from topologies.errors import LabError

#: Seconds that a probe waits for an answer before it calls the port shut.
PROBE = 1.0
#: What a probe says when nothing came back.
SHUT = "no answer"
_NAMED = Path("/run/netns")  # joined with an absolute path it gives that path


@dataclass(frozen=True, slots=True)
class Vantage:
    """Runs commands in ``namespace``: a name that ``ip netns`` knows, or a path such as ``/proc/PID/ns/net``."""

    namespace: str

    def run(self, *command: str, seconds: float = 10.0) -> subprocess.CompletedProcess[str]:
        """Run a command there; whatever its exit status.  Raises LabError when it takes more than ``seconds``."""
        try:
            return subprocess.run(
                self._within(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"in namespace {self.namespace}, not done within {seconds:g} s: {' '.join(command)}"
            ) from error

    def fetch(self, host: str, port: int = 80) -> str:
        """Ask a guest's web server: "ID saw ADDRESS", who answered and the client address it saw, or "no answer"."""
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        got = self.run("curl", "--silent", "--fail", "--noproxy", "*", "--max-time", str(PROBE), url)
        if got.returncode != 0:
            return SHUT
        return " saw ".join(got.stdout.split())

    def echo(self, host: str, port: int) -> str:
        """Say one line to the echo server at ``host``; return "echo" or "no answer"."""
        got = self.run(*_talk(host, port), "1")
        return "echo" if got.stdout.startswith("echo") else SHUT

    def converse(self, host: str, port: int) -> Conversation:
        """Open a connection to the echo server and keep talking, ten lines a second, until closed."""
        return Conversation(self._within(_talk(host, port)))

    def watch(self, module: str, *arguments: str) -> Conversation:
        """Run one of this package's programs there until closed; every line it prints counts as an echo."""
        return self.converse_with(sys.executable, "-m", module, *arguments)

    def converse_with(self, *command: str) -> Conversation:
        """Run any command there until closed; every line it prints counts as an echo."""
        return Conversation(self._within(command))

    def _within(self, command: Sequence[str]) -> tuple[str, ...]:
        return ("nsenter", f"--net={_NAMED / self.namespace}", "--", *command)


class Conversation:
    """A live TCP connection: ``with vantage.converse(...) as talk``."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._last = time.monotonic()
        self._echoes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def echoes(self) -> int:
        """How many lines have come back."""
        return self._echoes

    @property
    def silence(self) -> float:
        """Seconds since the last line came back, or since the start."""
        return time.monotonic() - self._last

    @property
    def alive(self) -> bool:
        """Does the program still run?"""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        for _line in self._process.stdout or ():
            self._last = time.monotonic()
            self._echoes += 1


def _talk(host: str, port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "topologies.talk", host, str(port))
