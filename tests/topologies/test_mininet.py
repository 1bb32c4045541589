"""The Mininet topologies, each in a room of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from econe_api.compute import netns

pytestmark = pytest.mark.lab

_ROOT = Path(__file__).parents[2]
_DRIVE = Path(__file__).with_name("mininet_drive.py")
_ROOM = (sys.executable, "-m", "topologies.mininet_room")
_CALL = "import sys; from topologies.mininet_room import run; sys.exit(run(sys.argv[2:], sys.argv[1]))"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _room(*command: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in a room and see that the room goes."""
    name = f"mt{secrets.token_hex(3)}"
    done = _run([sys.executable, "-c", _CALL, name, *command])
    assert netns.namespaces(f"{name}-") == []
    return done


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


def _named(word: str) -> list[int]:
    """Processes whose command line holds ``word``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("topology", ["single_hypervisor", "two_hypervisors"])
def test_topology_works_under_plain_mn(topology: str) -> None:
    custom = ("--custom", f"topologies/{topology}.py", "--topo", f"{topology},instances=1")
    done = _room("mn", *custom, "--controller", "none", "--test", "none")
    assert done.returncode == 0, done.stderr
    hypervisors = "h1 h2 pub" if topology == "two_hypervisors" else "h1 pub"
    assert hypervisors in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("topology", "hypervisors"), [("single_hypervisor", ["h1"]), ("two_hypervisors", ["h1", "h2"])]
)
def test_switches_connect_and_hosts_become_instances(topology: str, hypervisors: list[str]) -> None:
    done = _room(sys.executable, str(_DRIVE), topology)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["dpids"] == list(range(1, len(hypervisors) + 1))
    assert seen["outside"] == 0
    fixed = ["eth1", "eth2"] if len(hypervisors) == 2 else ["eth1"]
    idle = {name: [f"{name}-{port}" for port in fixed] for name in hypervisors}
    instances = seen["instances"]
    assert instances["idle"] == instances["left"] == idle
    assert instances["external_ids"] == '{attached-mac="02:00:00:00:00:0b", iface-id=eni-11, vm-id=i-11}'
    assert instances["page"] == "i-12 172.31.0.11"
    assert instances["listed"] == {"i-11": ["h1", "running"], "i-12": [hypervisors[-1], "running"]}
    assert "no hypervisor h9" in instances["unknown"]
    assert instances["full"] == "Server.InsufficientInstanceCapacity"
    assert instances["guests"] == 0
    assert instances["again"] == "i-11 172.31.0.11"
    assert seen["bridges"] == []


def test_interrupted_room_leaves_nothing() -> None:
    marker, name = f"1000{os.getpid()}", f"mt{secrets.token_hex(3)}"
    command = [sys.executable, "-c", _CALL, name, "sleep", marker]
    room = subprocess.Popen(command, cwd=_ROOT, start_new_session=True)
    try:
        # The room, unshare and sleep itself.
        _until(lambda: len(_named(marker)) == 3)
        os.killpg(room.pid, signal.SIGINT)
        assert room.wait(20) != 0
        _until(lambda: _named(marker) == [])
        assert netns.namespaces(f"{name}-") == []
    finally:
        room.kill()
        room.wait()


def test_exit_status_of_the_command_is_the_rooms() -> None:
    assert _run([*_ROOM, "sh", "-c", "exit 7"]).returncode == 7
    usage = _run(_ROOM)
    assert usage.returncode == 2
    assert "usage:" in usage.stderr


def test_room_that_cannot_be_made_says_why_in_one_line() -> None:
    environment = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run([*_ROOM, "true"], cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("mininet_room: not installed: ip, ethtool")
    assert done.stderr.count("\n") == 1
