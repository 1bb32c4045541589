"""Runs a Mininet command in a room of its own: a network namespace with a private Open vSwitch.

``python -m topologies.mininet_room COMMAND...`` needs no Open vSwitch running on the machine and touches none that is;
when the command ends, however it ends, everything it started and the room itself go.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from econe_api.compute import netns
from topologies.errors import LabError
from topologies.lab import Lab

_HOST = "h1"

#: A process namespace: ends with its first process, and all that Mininet leaves behind ends with it.
_ALL_END_TOGETHER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def run(command: Sequence[str], name: str) -> int:
    """Run ``command`` in a room called ``name``, with this process's terminal; return its exit status.

    Raises :class:`LabError` when the room cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as state, Lab(name, 1, Path(state)) as lab:
        room = netns.inside(lab.netns(_HOST), [*_ALL_END_TOGETHER, *command])
        environment = {**os.environ, **lab.hypervisor(_HOST).environment}
        process = subprocess.Popen(room, env=environment)
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()


def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    if not arguments:
        sys.stderr.write("usage: python -m topologies.mininet_room COMMAND [ARGUMENT]...\n")
        return 2
    try:
        return run(arguments, f"mn{secrets.token_hex(4)}")
    except LabError as error:
        sys.stderr.write(f"mininet_room: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
