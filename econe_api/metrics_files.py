"""Where the API's processes keep their figures for one another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share(state: Path) -> None:
    """Make the directory anew and name it to the Prometheus client; before the processes are forked."""
    directory = state / "api-metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    os.environ[_VARIABLE] = str(directory)


def directory() -> str:
    """Return the directory that :func:`share` has made."""
    return os.environ[_VARIABLE]


def forget(pid: int) -> None:
    """A process has ended: what it had under way is over."""
    from prometheus_client.multiprocess import mark_process_dead

    if _VARIABLE in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
