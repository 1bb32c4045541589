"""An Open vSwitch without any datapath of the machine's: flows go in, and it says what they do with a frame.

No packet moves and no network device is made, so many can run side by side, without root.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from topologies.errors import LabError

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_PATIENCE = 20.0


class Unixctl:
    """One lasting connection to a daemon's control socket (JSON-RPC, as ovs-appctl speaks it)."""

    def __init__(self, path: Path) -> None:
        self._decoder = json.JSONDecoder()
        self._received = ""
        self._peer = socket.socket(socket.AF_UNIX)
        self._peer.settimeout(_PATIENCE)
        self._peer.connect(str(path))

    def ask(self, command: str, *parameters: str) -> str:
        """The answer to a command; raises :class:`LabError` with the daemon's words when it refuses."""
        self._peer.sendall(json.dumps({"id": 0, "method": command, "params": parameters}).encode())
        reply = self._reply()
        if reply["error"] is not None:
            raise LabError(f"{command} {' '.join(parameters)}: {str(reply['error']).strip()}")
        return str(reply["result"])

    def close(self) -> None:
        """End the connection."""
        self._peer.close()

    def _reply(self) -> dict[str, Any]:
        while True:
            data = self._peer.recv(1 << 16)
            if not data:
                raise LabError("ovs-vswitchd closed the control connection")
            self._received += data.decode()
            # Only what ends like an object is worth the parser's time.
            if self._received.rstrip().endswith("}"):
                try:
                    reply, end = self._decoder.raw_decode(self._received)
                except ValueError:
                    continue
                self._received = self._received[end:]
                return dict(reply)


class DummySwitch:
    """ovsdb-server and ovs-vswitchd in ``folder``, without any datapath of the machine's; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {**os.environ, **{f"OVS_{kind}DIR": str(folder) for kind in ("RUN", "LOG", "DB")}}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._control: Unixctl | None = None
        self._meters: set[tuple[str, str]] = set()  # bridge and number

    def __enter__(self) -> DummySwitch:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        database, socket_path = self.folder / "conf.db", self.folder / "db.sock"
        self._run(["ovsdb-tool", "create", str(database), _SCHEMA])
        self._daemon("ovsdb-server", str(database), f"--remote=punix:{socket_path}")
        self.vsctl("--retry", "--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{socket_path}", "--enable-dummy=override")
        # Returns when the switch has taken its configuration, so its control socket is there by then.
        self.vsctl("set", "Open_vSwitch", ".", "external_ids:tracer=true")
        self._control = Unixctl(self.folder / "ovs-vswitchd.ctl")

    def _daemon(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            raise LabError(f"{program} is not installed: apt-get install openvswitch-switch")
        control = f"--unixctl={self.folder / program}.ctl"
        # The kernel ends them when whoever started them ends without having done so.
        lead = ["setpriv", "--pdeathsig", "TERM", "--"]
        command = [*lead, path, *arguments, control, "-vconsole:off", "-vsyslog:off"]
        self._daemons.append(subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL))

    def close(self) -> None:
        """End both daemons."""
        if self._control is not None:
            self._control.close()
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def add_bridge(self, name: str, ports: Iterable[int]) -> None:
        """Make a bridge whose ports have these OpenFlow port numbers."""
        words = ["add-br", name, "--", "set", "bridge", name, "datapath_type=dummy", "fail_mode=secure"]
        for ofport in ports:
            port = f"{name}-{ofport}"
            words += ["--", "add-port", name, port]
            words += ["--", "set", "interface", port, "type=dummy", f"ofport_request={ofport}"]
        self.vsctl(*words)

    def replace_flows(self, bridge: str, flows: Iterable[str]) -> None:
        """Let ``bridge`` hold exactly these flows, lines as ``ovs-ofctl add-flow`` reads them, by one bundle.

        Meters that they name and that are not there are made; a packet that is only followed never exceeds one.
        """
        lines = "\n".join(["delete", *(f"add {line}" for line in flows)])
        ofctl, target = ["ovs-ofctl", "-O", "OpenFlow13"], f"unix:{self.folder / bridge}.mgmt"
        named = {(bridge, number) for number in re.findall(r"actions=meter:(\d+)", lines)}
        for _, number in named - self._meters:
            self._run([*ofctl, "add-meter", target, f"meter={number},pktps,band=type=drop,rate=1000"])
        self._meters |= named
        self._run([*ofctl, "--bundle", "add-flows", target, "-"], lines)

    def ask(self, command: str, *parameters: str) -> str:
        """Ask ovs-vswitchd what ovs-appctl would ask."""
        if self._control is None:
            raise LabError("the switch does not run")
        return self._control.ask(command, *parameters)

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl on this switch's database and return its output."""
        return self._run(["ovs-vsctl", f"--db=unix:{self.folder / 'db.sock'}", "--timeout=20", *arguments])

    def _run(self, command: list[str], text: str | None = None) -> str:
        done = subprocess.run(command, env=self._environment, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{command[0]}: {done.stderr.strip()}")
        return done.stdout
