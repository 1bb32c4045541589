"""An Open vSwitch of its own inside a network namespace: ovsdb-server and ovs-vswitchd with the userspace datapath."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econe_api.compute import netns
from topologies.errors import LabError

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
SERVER = "ovsdb-server"
SWITCH = "ovs-vswitchd"
SWITCH_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=128"}
"""Environment of ovs-vswitchd, as ``contrib/systemd`` gives it to that of a hypervisor (ADR 0031)."""
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class OpenVSwitch:
    """The two daemons of one hypervisor, their sockets and files in ``rundir``; the database outlives a restart."""

    name: str
    netns: str
    rundir: Path

    @property
    def ovsdb(self) -> str:
        """Where the database listens, as ``--db`` of ovs-vsctl takes it."""
        return f"unix:{self.rundir / 'db.sock'}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables under which the OVS tools find these daemons."""
        return {f"OVS_{kind}DIR": str(self.rundir) for kind in ("RUN", "LOG", "DB")}

    def start(self) -> None:
        """Start both daemons; returns when they answer."""
        self.start_server()
        self.start_switch()

    def start_server(self) -> None:
        """Start ovsdb-server, on a new database when there is none; a running one is fine."""
        if self.pid(SERVER) is not None:
            return
        self.rundir.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = self.rundir / "conf.db"
        fresh = not database.exists()
        if fresh:
            self._tool("ovsdb-tool", "create", str(database), str(SCHEMA))
        self._start(SERVER, str(database), f"--remote=punix:{self.rundir / 'db.sock'}")
        if fresh:
            self.vsctl("--no-wait", "init")

    def start_switch(self) -> None:
        """Start ovs-vswitchd; a running one is fine."""
        if self.pid(SWITCH) is None:
            self._start(SWITCH, self.ovsdb, "--disable-system")

    def _start(self, daemon: str, *arguments: str) -> None:
        options = [
            "--detach",
            "--no-chdir",
            f"--pidfile={self._pidfile(daemon)}",
            f"--log-file={self.rundir / daemon}.log",
            f"--unixctl={self.rundir / daemon}.ctl",
            "-vconsole:emer",
            "-vsyslog:off",
        ]
        try:
            more = SWITCH_MEMORY if daemon == SWITCH else {}
            netns.run(netns.inside(self.netns, [daemon, *arguments, *options]), env={**self.environment, **more})
        except netns.CommandError as error:
            log = self.rundir / f"{daemon}.log"
            last = log.read_text(errors="replace").splitlines()[-1:] if log.exists() else []
            raise LabError(" ".join([str(error), *last])) from error

    def kill(self, daemon: str, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to a daemon, ``SERVER`` or ``SWITCH``, and wait for its end.  :meth:`start` brings it back."""
        pid = self.pid(daemon)
        if pid is None:
            raise LabError(f"{daemon} of {self.name} does not run")
        os.kill(pid, signal_number)
        deadline = time.monotonic() + 10
        while self.pid(daemon) is not None:
            if time.monotonic() > deadline:
                raise LabError(f"{daemon} of {self.name} (pid {pid}) did not end within 10 s of signal {signal_number}")
            time.sleep(0.005)

    def stop(self) -> None:
        """End both daemons by the pids in their own pidfiles; those that do not run are fine."""
        with netns.hold(pid for daemon in (SWITCH, SERVER) if (pid := self.pid(daemon)) is not None) as held:
            netns.end_held(held, patience=2.0)

    def pid(self, daemon: str) -> int | None:
        """Return the process id of a daemon, None when it does not run.

        A pidfile outlives a killed daemon and its number may belong to another process by now, so the command line of
        the process must name the pidfile.
        """
        pidfile = self._pidfile(daemon)
        try:
            pid = int(pidfile.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if f"--pidfile={pidfile}".encode() in words else None

    def _pidfile(self, daemon: str) -> Path:
        return self.rundir / f"{daemon}.pid"

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl on this database and return its output."""
        return self._tool("ovs-vsctl", "--timeout=10", f"--db={self.ovsdb}", *arguments)

    def ofctl(self, *arguments: str) -> str:
        """Run ovs-ofctl (``"dump-flows", "br-int"``) on a bridge of this switch, by OpenFlow 1.3."""
        return self._tool("ovs-ofctl", "--timeout=10", "-OOpenFlow13", *arguments)

    def _tool(self, *command: str) -> str:
        try:
            return netns.run(command, env=self.environment)
        except netns.CommandError as error:
            raise LabError(str(error)) from error

    def unixctl(self, command: str, *arguments: str, timeout: float = 10.0) -> str:
        """Ask ovs-vswitchd what ovs-appctl would ask; ``timeout`` in seconds bounds each wait.

        Speaks JSON-RPC on the control socket itself: a process per question is too slow for thousands of traces.
        """
        return unixctl(self.rundir / f"{SWITCH}.ctl", command, *arguments, timeout=timeout)


def unixctl(path: Path, command: str, *arguments: str, timeout: float = 10.0) -> str:
    """Ask the daemon whose control socket is ``path``; ``timeout`` in seconds bounds each wait.  Raises LabError."""
    request = json.dumps({"id": 0, "method": command, "params": list(arguments)}).encode()
    try:
        reply = _exchange(path, request, timeout)
    except (OSError, ValueError) as error:
        raise LabError(f"{path.stem} of {path.parent.name} does not answer {command}: {error}") from error
    if reply.get("error") is not None:
        raise LabError(f"{command}: {str(reply['error']).strip()}")
    return str(reply["result"])


def _exchange(path: Path, request: bytes, timeout: float) -> dict[str, Any]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(timeout)
            # The name in a socket address ends after 107 bytes; through the open folder it is short.
            peer.connect(f"/proc/self/fd/{folder}/{path.name}")
            peer.sendall(request)
            return _read_object(peer)
    finally:
        os.close(folder)


def _read_object(peer: socket.socket) -> dict[str, Any]:
    """Read one JSON object: it has come whole when it parses."""
    received = b""
    while chunk := peer.recv(_CHUNK):
        received += chunk
        if received.rstrip().endswith(b"}"):
            try:
                reply = json.loads(received)
            except ValueError:
                continue
            if isinstance(reply, dict):
                return reply
    raise ConnectionError("connection closed")
