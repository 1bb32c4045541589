"""A process of the small cloud: started in its namespace, logged to its file, ended by its own process id."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Seconds that a process has to end by itself after SIGTERM.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start a process; ``namespace`` None is the caller's own, ``environment`` comes on top of the caller's."""

    name: str
    command: tuple[str, ...]
    log: Path
    namespace: str | None
    environment: Mapping[str, str]


class Daemon:
    """One process, started again as often as asked.

    It is the leader of its own session, so that Ctrl-C at the terminal reaches only whoever started it, and it gets
    SIGTERM from the kernel when the thread that started it ends without having stopped it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        enter = () if self.recipe.namespace is None else ("ip", "netns", "exec", self.recipe.namespace)
        with self.recipe.log.open("ab") as log:
            self._process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "TERM", "--", *enter, *self.recipe.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.recipe.environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id; setpriv and ip replace themselves, so it is the daemon's own."""
        if self._process is None:
            raise ProcessLookupError(f"{self.recipe.name} was never started")
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status (negative: the signal that ended it); None while it runs or was not started."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def ask_to_end(self) -> None:
        """Send SIGTERM; :meth:`stop` waits for the end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it, by SIGKILL when SIGTERM does not within :data:`PATIENCE`."""
        self.ask_to_end()
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def sweep(self) -> None:
        """End what it has left in its session's process group (after :meth:`stop`)."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def last_words(self) -> str:
        """The last line it has logged, or "nothing in its log"."""
        lines = self.recipe.log.read_text(errors="replace").split("\n") if self.recipe.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing in its log")
