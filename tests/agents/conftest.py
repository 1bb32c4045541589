"""A real Open vSwitch of one's own, agents as processes, and a listener that takes their reports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from channel.frames import FrameReader, pack

PATIENCE_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> Any:
    """Return the first true value of ``condition``; fail naming ``what`` when none comes."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for: {what}")
        time.sleep(0.02)
    return value


def end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a child and take its status."""
    if process is not None:
        process.kill()
        process.wait(PATIENCE_S)


class Switch:
    """ovsdb-server and ovs-vswitchd in a network namespace and a run directory of their own."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.socket = folder / "db.sock"
        self.remote = f"unix:{self.socket}"
        self.environment = {**os.environ, "OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder)}
        self.server: subprocess.Popen[bytes] | None = None
        self.vswitchd: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> str:
        """Run a command in the namespace and return its output."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command],
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    def start_server(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.server = self.spawn(
            "ovsdb-server", str(self.folder / "conf.db"), f"--remote=p{self.remote}", "--no-chdir", "--pidfile"
        )
        wait_until(self.socket.exists, "the socket of ovsdb-server")

    def start_vswitchd(self) -> None:
        self.vswitchd = self.spawn("ovs-vswitchd", self.remote, "--no-chdir", "--pidfile", "--log-file")

    def vsctl(self, *arguments: str) -> str:
        return self.run("ovs-vsctl", f"--db={self.remote}", "--timeout=20", *arguments)

    def get(self, table: str, record: str, column: str) -> str:
        return self.vsctl("--bare", "get", table, record, column)

    def ofctl(self, *arguments: str) -> str:
        return self.run("ovs-ofctl", "-O", "OpenFlow13", *arguments)

    def flows(self) -> list[str]:
        """Return the bridge's flows once ovs-vswitchd has done all that the database asks for."""
        self.vsctl("set", "open_vswitch", ".", f"external_ids:asked={time.monotonic_ns()}")
        output = self.ofctl("--no-stats", "dump-flows", "br-int")
        return [line.strip() for line in output.splitlines() if "table=" in line or "actions=" in line]

    def link(self, name: str) -> None:
        """Make a veth whose end ``name`` is there to be put on a bridge."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-p")
        self.run("ip", "link", "set", name, "up")
        self.run("ip", "link", "set", f"{name}-p", "up")

    def plug(self, name: str, iface_id: str, mac: str) -> int:
        """Put a new veth on the bridge as an instance's port and return its port number."""
        self.link(name)
        ids = (f"external_ids:iface-id={iface_id}", f'external_ids:attached-mac="{mac}"')
        self.vsctl("add-port", "br-int", name, "--", "set", "interface", name, *ids)
        return int(self.get("interface", name, "ofport"))

    def prepare(self, *extra: str) -> None:
        """Make the bridge by hand, as an earlier agent would have left it."""
        self.vsctl(
            *("add-br", "br-int", "--", "set-fail-mode", "br-int", "secure"),
            *("--", "set", "bridge", "br-int", "datapath_type=netdev", "protocols=OpenFlow13"),
            "other_config:disable-in-band=true",
            *("--", "set-controller", "br-int", "tcp:127.0.0.1:6653", *extra),
        )


@pytest.fixture
def ovs() -> Iterator[Switch]:
    """A started Open vSwitch with an empty database, userspace datapath; needs root."""
    folder = Path(tempfile.mkdtemp(prefix="slagent-"))
    switch = Switch(f"slagent-{os.getpid()}-{os.urandom(3).hex()}", folder)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder)
        subprocess.run(["ip", "netns", "add", switch.namespace], check=True)
        cleanup.callback(subprocess.run, ["ip", "netns", "del", switch.namespace], check=True)
        cleanup.callback(lambda: end(switch.server))
        cleanup.callback(lambda: end(switch.vswitchd))
        switch.run("ip", "link", "set", "lo", "up")
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        subprocess.run(["ovsdb-tool", "create", str(folder / "conf.db"), schema], check=True)
        switch.start_server()
        switch.start_vswitchd()
        yield switch


class Listener:
    """The controller's side of the reports: one list of messages per connection."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.connections: list[list[dict[str, Any]]] = []
        self.acknowledge = True
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, args=(self.server,))]
        self._threads[0].start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            self._peers.append(peer)
            self.connections.append([])
            thread = threading.Thread(target=self._serve, args=(peer, self.connections[-1]))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket, log: list[dict[str, Any]]) -> None:
        reader = FrameReader()
        with peer:
            while True:
                try:
                    data = peer.recv(65536)
                    if not data:
                        return
                    for message in reader.feed(data):
                        if message["type"] == "snapshot" and self.acknowledge:
                            peer.sendall(pack({"type": "ack", "seq": message["seq"]}))
                        if message["type"] == "ping" and self.acknowledge:
                            peer.sendall(pack({"type": "pong"}))
                        log.append(message)
                except OSError:
                    return

    def send(self, message: dict[str, Any]) -> None:
        """Send a message on the newest connection."""
        self._peers[-1].sendall(pack(message))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What came on the newest connection so far."""
        return list(self.connections[-1]) if self.connections else []

    @property
    def latest(self) -> dict[str, Any] | None:
        """The newest snapshot of the newest connection."""
        return next((message for message in reversed(self.messages) if message["type"] == "snapshot"), None)

    def wait_for(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Return the newest snapshot once it fulfils ``condition``."""

        def look() -> dict[str, Any] | None:
            latest = self.latest
            return latest if latest is not None and condition(latest) else None

        found: dict[str, Any] = wait_until(look, f"{what}; latest is {json.dumps(self.latest)}")
        return found

    def wait_ports(self, **ofports: int) -> dict[str, Any]:
        """Return the newest snapshot once its ports are exactly these."""
        return self.wait_for(
            lambda snapshot: {port["name"]: port["ofport"] for port in snapshot["ports"]} == ofports,
            f"ports {ofports}",
        )

    def restart(self) -> None:
        """Drop every connection and listen anew on the same port."""
        self.close()
        self.server = socket.create_server(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=self._accept, args=(self.server,))]
        self._threads[0].start()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        self._peers.clear()


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


class Agent:
    """A running agent process."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agents", *arguments], cwd=ROOT, stdout=output, stderr=output
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_log(self, text: str) -> None:
        wait_until(lambda: text in self.text, f"{text!r} in the log:\n{self.text}")

    def stop(self) -> None:
        """End it as a service manager would, and expect a clean end."""
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0, self.text
        assert "Traceback" not in self.text


StartAgent = Callable[..., Agent]


@pytest.fixture
def start_agent(tmp_path: Path, ovs: Switch, listener: Listener) -> Iterator[StartAgent]:
    """Return a function that starts an agent for ``ovs`` reporting to ``listener``; more arguments override.

    It runs beside the switch's namespace, not in it, so it can make no port there: the lab tests the metadata service.
    """
    started: list[Agent] = []

    def start(*extra: str) -> Agent:
        arguments = [
            *("--host", "h1", "--bridge", "br-int", "--ovsdb", ovs.remote, "--datapath-type", "netdev"),
            *("--controller", "tcp:127.0.0.1:6653", "--report", f"127.0.0.1:{listener.port}"),
            "--no-metadata",
        ]
        started.append(Agent([*arguments, *extra], tmp_path / f"agent{len(started)}.log"))
        return started[-1]

    yield start
    for agent in started:
        running = agent.process.poll() is None
        if running:
            try:
                agent.stop()
            finally:
                end(agent.process)


@pytest.fixture
def wait() -> Callable[..., Any]:
    return wait_until
