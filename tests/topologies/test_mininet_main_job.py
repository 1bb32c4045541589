"""The main job on the Mininet topologies: an EC2 client on one side, packets between Mininet's hosts on the other."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from econe_api.compute import netns

pytestmark = pytest.mark.lab

_ROOT = Path(__file__).parents[2]
_CALL = "import sys; from topologies.mininet_room import run; sys.exit(run(sys.argv[2:], sys.argv[1]))"
_WITH_PORT_TAKEN = (
    "import socket, subprocess, sys; taken = socket.create_server(('127.0.0.1', 6653)); "
    "sys.exit(subprocess.call(sys.argv[1:]))"
)
_TOUR = (sys.executable, "-m", "topologies.mininet_tour")
_OUTSIDE_IP = "203.0.113.10"


def _room(*command: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run ``command`` in a room; return its outcome and the room's name."""
    name = f"mj{secrets.token_hex(3)}"
    done = subprocess.run(
        [sys.executable, "-c", _CALL, name, *command],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return done, name


def _left_behind(name: str) -> list[str]:
    files = [str(path) for path in Path(tempfile.gettempdir()).glob(f"{name}-*")]
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if name in command or name in (entry / "environ").read_text(errors="replace"):
                    processes.append(command)
            except OSError:
                continue
    return [*netns.namespaces(f"{name}-"), *files, *processes]


@pytest.mark.parametrize(("topology", "hosts"), [("single_hypervisor", ["h1"]), ("two_hypervisors", ["h1", "h2"])])
def test_main_job(topology: str, hosts: list[str]) -> None:
    done, name = _room(*_TOUR, topology)
    assert done.stdout, done.stderr
    seen = json.loads(done.stdout)
    assert [one for step in seen["steps"] for one in step["observations"] if not one["as_expected"]] == []
    assert [step["error"] for step in seen["steps"]] == [None] * 10
    assert seen["as_expected"]
    assert done.returncode == 0
    _check_turning_points([one for step in seen["steps"] for one in step["observations"]], hosts)
    assert [host["name"] for host in seen["status"]["hosts"]] == hosts
    # The agents find nothing on Mininet's bridges that they would have to leave to a person, and all ports are gone.
    assert [(host["problems"], host["ports"], host["in_sync"]) for host in seen["status"]["hosts"]] == [
        ([], 0, True) for _ in hosts
    ]
    assert _left_behind(name) == []


def _check_turning_points(observations: list[dict[str, Any]], hosts: list[str]) -> None:
    """What the tour calls as expected is what this test expects, too."""

    def seen(start: str) -> list[str]:
        return [one["seen"] for one in observations if one["what"].startswith(start)]

    closed, opened, moved, _, gone = seen("GET http://198.51.100.64/ from the outside host")
    assert closed == gone == "no answer"
    assert opened.endswith(f" saw {_OUTSIDE_IP}")
    assert moved.endswith(f" saw {_OUTSIDE_IP}")
    assert opened != moved
    assert seen(f"GET http://{_OUTSIDE_IP}/ from inside") == ["outside saw 198.51.100.64"]
    assert seen("hypervisors whose") == [" and ".join(hosts)]
    (after,) = seen("its hypervisor, after ")
    before = next(one["what"].rpartition(" ")[2] for one in observations if one["what"].startswith("its hypervisor"))
    assert sorted({before, after}) == hosts
    assert seen("the same connection") == ["silent"]
    assert seen("instance that the address belongs to")[-1] == "none"


def test_unknown_topology_is_one_line() -> None:
    done, name = _room(*_TOUR, "three_hypervisors")
    assert done.returncode == 1
    assert "invalid choice: 'three_hypervisors'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert _left_behind(name) == []


def test_process_that_cannot_start_is_one_line_that_names_it() -> None:
    done, name = _room(sys.executable, "-c", _WITH_PORT_TAKEN, *_TOUR, "single_hypervisor")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]  # before it Mininet may have words of its own
    assert last.startswith("mininet_tour: controller ended at its start: controller: ")
    assert "127.0.0.1:6653 is in use" in last
    assert _left_behind(name) == []
