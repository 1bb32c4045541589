"""Where a contender lives: a network namespace with an Open vSwitch of its own; our controller's parts beside it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from benchmarks.policy import Policy
from econe_api.compute import netns
from topologies.errors import LabError
from topologies.ovs import OpenVSwitch

BRIDGE = "br-int"
CONTROLLER = "tcp:127.0.0.1:6653"
_PATIENCE = 180.0


class Room:
    """A context manager; what it has started ends with it.  Namespaces are called ``name`` and ``name-...``."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.switch = OpenVSwitch(name, name, folder / name)

    def __enter__(self) -> Room:
        try:
            netns.run(["ip", "netns", "add", self.name])
            netns.set_sysctls(self.name, netns.QUIET)
            netns.run(["ip", "-n", self.name, "link", "set", "lo", "up"])
            self.switch.start()
            self.add_bridge()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the switch and whoever else lives here, delete the namespaces."""
        self.switch.stop()
        netns.delete([self.name, *netns.namespaces(f"{self.name}-")])

    def add_bridge(self) -> None:
        """Make the bridge, empty.

        It has a controller from the start: Open vSwitch empties a bridge that gets its first or loses its last one.
        """
        settings = ("datapath_type=netdev", "fail_mode=secure", "other_config:datapath-id=0000000000000001")
        self.switch.vsctl("--may-exist", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, *settings)
        # Not probed: on a busy machine a first compilation of 100,000 flows may take longer than a probe waits.
        retry = ("set", "Controller", BRIDGE, "max_backoff=1000", "inactivity_probe=0")
        self.switch.vsctl("set-controller", BRIDGE, CONTROLLER, "--", *retry)

    def ofctl(self, *arguments: str, feed: str = "", timeout: float = 120.0) -> str:
        """Run ovs-ofctl, by OpenFlow 1.4, on the switch."""
        return netns.run(
            ["ovs-ofctl", "-OOpenFlow14", *arguments], feed=feed, timeout=timeout, env=self.switch.environment
        )

    def clear(self) -> None:
        """Take all flows away; meters stay."""
        self.ofctl("del-flows", BRIDGE)

    def flow_count(self) -> int:
        """How many flows the bridge holds."""
        return int(self.ofctl("dump-aggregate", BRIDGE).rsplit("flow_count=", 1)[1])


class OwnSide:
    """Our controller's parts as a process in the room (:mod:`benchmarks.own_side`); a context manager."""

    def __init__(self, room: Room, policy: Policy) -> None:
        self._room = room
        self._policy = policy
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnSide:
        sizes = [str(size) for size in (self._policy.ports, self._policy.local, self._policy.elastic)]
        command = netns.inside(self._room.name, [sys.executable, "-m", "benchmarks.own_side", *sizes])
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def figures(self) -> dict[str, Any]:
        """What it has measured, once the switch has acknowledged everything."""
        if self._process is None or self._process.stdout is None:
            raise LabError("our side has not been started")
        return dict(json.loads(_line(self._process.stdout)))


def _line(stream: IO[bytes]) -> bytes:
    if not select.select([stream], [], [], _PATIENCE)[0]:
        raise LabError(f"our controller has not installed its flows within {_PATIENCE:g} s")
    line = stream.readline()
    if not line:
        raise LabError("our controller ended early; see what it said above")
    return line
