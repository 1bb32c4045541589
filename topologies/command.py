"""What ``scripts/demo`` and ``scripts/up`` share: arguments, one-line errors, exit status, a place for files."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from econe_api.compute.netns import CommandError
from econe_api.config import ConfigError
from econe_api.store.errors import StoreError
from topologies.errors import LabError
from topologies.interrupts import Interrupted, Interrupts

_SCRATCH = "-state-"


class Parser(argparse.ArgumentParser):
    """Ends on a bad argument with one line and status 1."""

    def error(self, message: str) -> NoReturn:
        """Name the mistake."""
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def run(prog: str, work: Callable[[Interrupts], int]) -> int:
    """Do ``work`` and return the exit status; what went wrong, or that the user ended it, is one line on stderr."""
    # What is set for some other cloud must not steer our own client.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    interrupts = Interrupts()
    with interrupts.noted():
        try:
            return work(interrupts)
        except (Interrupted, LabError, CommandError, ConfigError, StoreError) as error:
            try:
                interrupts.check()  # Ctrl-C reaches the commands that build the lab too, and their failure is no news
            except Interrupted as interrupted:
                sys.stderr.write(f"{prog}: {interrupted}\n")
                return interrupted.status
            sys.stderr.write(f"{prog}: {error}\n")
            return 1


@contextmanager
def scratch_state(name: str) -> Iterator[Path]:
    """Give a state directory for the length of a ``with``; after a failure its logs stay, and stderr says where."""
    state = Path(tempfile.mkdtemp(prefix=f"{name}{_SCRATCH}"))
    try:
        yield state
    except Interrupted:
        shutil.rmtree(state)
        raise
    except BaseException:
        keep_logs(state)
        raise
    shutil.rmtree(state, ignore_errors=True)


def forget_earlier(state: Path) -> None:
    """Delete what earlier runs of this name left beside ``state``: logs of failures, everything of one that was killed.

    To be called when the name is ours, so that none of them is running.  A state directory of the user's is left alone.
    """
    name, separator, _ = state.name.rpartition(_SCRATCH)
    if separator and state.parent == Path(tempfile.gettempdir()):
        for earlier in state.parent.glob(f"{name}{_SCRATCH}*"):
            if earlier != state and not earlier.is_symlink() and earlier.stat().st_uid == os.getuid():
                shutil.rmtree(earlier)


def keep_logs(state: Path) -> None:
    """Delete everything in ``state`` but its logs, and say where they are; without logs delete the directory."""
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()
    if any(state.iterdir()):
        sys.stderr.write(f"the logs are in {state}\n")
    else:
        state.rmdir()
