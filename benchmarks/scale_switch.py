"""Many bridges with dummy ports in fewer ovs-vswitchd: real OpenFlow, no device of the machine's, nothing that moves.

Every bridge is a hypervisor's.  The rows are in the database before ovs-vswitchd starts: a port at a time, as
ovs-vsctl would add them, takes time that grows with the square of their number.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.daemon import Daemon, Recipe
from topologies.errors import LabError
from topologies.ovs import unixctl

UPLINK, FABRIC = 1, 2
"""OpenFlow port numbers of every bridge's ports to the public network and to the fabric."""
FIRST_PORT = 10
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_START = 600.0
_ANSWER = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Plug:
    """A port of an instance: what ``external_ids`` say of it."""

    interface: str
    mac: str
    instance: str


@dataclass(frozen=True, slots=True)
class BridgePlan:
    """A hypervisor's bridge; ``dpid`` is its datapath id, its ports are named after it."""

    name: str
    dpid: int
    plugs: tuple[Plug, ...]


class SwitchProcess:
    """ovsdb-server and ovs-vswitchd of some bridges, in ``folder``."""

    def __init__(self, folder: Path, bridges: Sequence[BridgePlan], controller: str) -> None:
        self.folder = folder
        self.bridges = tuple(bridges)
        self._controller = controller
        self._daemons: list[Daemon] = []

    @property
    def ovsdb(self) -> str:
        """Where the database listens."""
        return f"unix:{self.folder / 'db.sock'}"

    def start_database(self) -> None:
        """Start ovsdb-server with all the rows."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = self.folder / "conf.db"
        subprocess.run(["ovsdb-tool", "create", str(database), _SCHEMA], check=True, capture_output=True)
        self._spawn("ovsdb-server", str(database), f"--remote=p{self.ovsdb}")
        deadline = time.monotonic() + _ANSWER
        while not _listens(self.folder / "db.sock"):
            self._check(deadline)
        transact(self.folder / "db.sock", "Open_vSwitch", list(_operations(self.bridges, self._controller)))

    def start_switch(self) -> None:
        """Start ovs-vswitchd; returns at once, see :meth:`ready`."""
        self._spawn("ovs-vswitchd", self.ovsdb, "--enable-dummy=override")

    def ready(self) -> bool:
        """Has ovs-vswitchd taken all rows in?  Raises :class:`LabError` when one of the two has ended."""
        for daemon in self._daemons:
            if daemon.status is not None:
                raise LabError(f"{daemon.recipe.name} ended at its start: {daemon.last_words()}")
        look = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"]}
        rows = transact(self.folder / "db.sock", "Open_vSwitch", [look])
        return bool(rows[0]["rows"][0]["cur_cfg"] == 1)

    def pause(self) -> None:
        """Stop ovs-vswitchd in its tracks (SIGSTOP): it keeps its connections and answers nothing."""
        os.kill(self._daemons[1].pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._daemons[1].pid, signal.SIGCONT)

    def pids(self) -> dict[int, str]:
        """The names of the two, by process id."""
        return {daemon.pid: daemon.recipe.name for daemon in self._daemons}

    def control(self, command: str, *arguments: str) -> str:
        """Ask ovs-vswitchd what ovs-appctl would ask; raises :class:`LabError`."""
        return unixctl(self.folder / "ovs-vswitchd.ctl", command, *arguments, timeout=_ANSWER)

    def memory_kib(self) -> int:
        """Resident memory of ovs-vswitchd."""
        return resident_kib(self._daemons[1].pid)

    def close(self) -> None:
        """End both."""
        for daemon in reversed(self._daemons):
            with suppress(ProcessLookupError):
                os.kill(daemon.pid, signal.SIGCONT)
            daemon.kill()
        self._daemons.clear()

    def _spawn(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            raise LabError(f"{program} is not installed: apt-get install openvswitch-switch")
        control = (f"--unixctl={self.folder / program}.ctl", "-vconsole:off", "-vsyslog:off")
        places = {f"OVS_{kind}DIR": str(self.folder) for kind in ("RUN", "LOG", "DB")}
        recipe = Recipe(program, (path, *arguments, *control), self.folder / f"{program}.log", None, places)
        daemon = Daemon(recipe)
        daemon.start()
        self._daemons.append(daemon)

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline or any(daemon.status is not None for daemon in self._daemons):
            raise LabError(f"ovsdb-server in {self.folder} did not start: {self._daemons[0].last_words()}")
        time.sleep(0.01)


class Switches:
    """All bridges, ``together`` in each ovs-vswitchd; a context manager that starts and ends them."""

    def __init__(self, folder: Path, bridges: Sequence[BridgePlan], controller: str, together: int) -> None:
        shares = [bridges[start : start + together] for start in range(0, len(bridges), together)]
        self.processes = [
            SwitchProcess(folder / f"s{number}", share, controller) for number, share in enumerate(shares)
        ]

    def __enter__(self) -> Switches:
        try:
            for process in self.processes:
                process.start_database()
                process.start_switch()
            deadline = time.monotonic() + _START
            while not all(process.ready() for process in self.processes):
                if time.monotonic() > deadline:
                    raise LabError(f"ovs-vswitchd has not made its bridges within {_START:g} s")
                time.sleep(0.2)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        for process in self.processes:
            process.close()


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _operations(bridges: Sequence[BridgePlan], controller: str) -> Iterator[dict[str, Any]]:
    """The rows, as operations of OVSDB (RFC 7047, section 5.2)."""
    named = []
    for bridge in bridges:
        special = [(bridge.name, "internal", 0, None), (f"{bridge.name}-up", "dummy", UPLINK, None)]
        special.append((f"{bridge.name}-fab", "dummy", FABRIC, None))
        plugs = [
            (f"{bridge.name}-{number}", "dummy", number, plug) for number, plug in enumerate(bridge.plugs, FIRST_PORT)
        ]
        ports = []
        for name, kind, number, plug in [*special, *plugs]:
            row: dict[str, Any] = {"name": name, "type": kind}
            if number:
                row["ofport_request"] = number
            if plug is not None:
                row["external_ids"] = [
                    "map",
                    [["iface-id", plug.interface], ["attached-mac", plug.mac], ["vm-id", plug.instance]],
                ]
            handle = name.replace("-", "_")
            yield {"op": "insert", "table": "Interface", "row": row, "uuid-name": f"i_{handle}"}
            port = {"name": name, "interfaces": ["named-uuid", f"i_{handle}"]}
            yield {"op": "insert", "table": "Port", "row": port, "uuid-name": f"p_{handle}"}
            ports.append(["named-uuid", f"p_{handle}"])
        target = {"target": controller, "inactivity_probe": 60_000, "max_backoff": 1000}
        yield {"op": "insert", "table": "Controller", "row": target, "uuid-name": f"c_{bridge.name}"}
        row = {
            "name": bridge.name,
            "ports": ["set", ports],
            "controller": ["named-uuid", f"c_{bridge.name}"],
            "datapath_type": "dummy",
            "fail_mode": "secure",
            "protocols": "OpenFlow13",
            "other_config": ["map", [["datapath-id", f"{bridge.dpid:016x}"], ["disable-in-band", "true"]]],
        }
        yield {"op": "insert", "table": "Bridge", "row": row, "uuid-name": f"b_{bridge.name}"}
        named.append(["named-uuid", f"b_{bridge.name}"])
    yield {"op": "insert", "table": "Open_vSwitch", "row": {"bridges": ["set", named], "next_cfg": 1}}


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer, suppress(FileNotFoundError, ConnectionRefusedError):
        peer.connect(str(path))
        return True
    return False


def transact(path: Path, database: str, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run one transaction on a database of the ovsdb-server at ``path`` (RFC 7047, section 4.1.3); return its results.

    Raises :class:`LabError`.
    """
    request = json.dumps({"id": 0, "method": "transact", "params": [database, *operations]}).encode()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_ANSWER)
        peer.connect(str(path))
        peer.sendall(request)
        received = b""
        while True:
            data = peer.recv(_CHUNK)
            if not data:
                raise LabError("ovsdb-server closed the connection")
            received += data
            with suppress(ValueError):
                reply = json.loads(received)
                break
    failed = [one for one in reply["result"] or () if one and "error" in one]
    if reply["error"] is not None or failed:
        raise LabError(f"ovsdb-server refused the rows: {reply['error'] or failed[0]}")
    results: list[dict[str, Any]] = reply["result"]
    return results


def plugged(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The ports of each bridge in a switch's database, with their ``external_ids``; raises :class:`LabError`."""
    columns = {"Bridge": ["name", "ports"], "Port": ["_uuid", "name", "interfaces"]}
    columns["Interface"] = ["_uuid", "external_ids"]
    looks = [{"op": "select", "table": table, "where": [], "columns": names} for table, names in columns.items()]
    bridges, ports, interfaces = (result["rows"] for result in transact(folder / "db.sock", "Open_vSwitch", [*looks]))
    said = {row["_uuid"][1]: dict(row["external_ids"][1]) for row in interfaces}
    named = {row["_uuid"][1]: (row["name"], said[row["interfaces"][1]]) for row in ports}
    return {row["name"]: dict(named[uuid[1]] for uuid in _members(row["ports"])) for row in bridges}


def _members(value: list[Any]) -> list[list[str]]:
    """What a set of UUIDs holds; a set of one is written as that one (RFC 7047, section 5.1)."""
    return list(value[1]) if value[0] == "set" else [value]
