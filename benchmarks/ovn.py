"""OVN beside us: northd, two databases and ovn-controller on an Open vSwitch of its own, in a namespace of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.policy import GATEWAY
from econe_api.compute import netns
from topologies.errors import LabError
from topologies.ovs import OpenVSwitch

_SCHEMAS = Path("/usr/share/ovn")
_TOOLS = ("ovn-northd", "ovn-controller", "ovn-nbctl", "ovn-sbctl")


class Ovn:
    """A whole OVN for one chassis; use it as a context manager.  ``switch`` is the chassis' Open vSwitch."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.switch = OpenVSwitch("ovn", namespace, folder / "ovs")

    def __enter__(self) -> Ovn:
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            raise LabError(f"{missing[0]} is missing: run apt-get install ovn-central ovn-host")
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        netns.run(["ip", "netns", "add", self._namespace])
        netns.run(["ip", "-n", self._namespace, "link", "set", "lo", "up"])
        self.switch.start()
        for name, schema in (("nb", "ovn-nb.ovsschema"), ("sb", "ovn-sb.ovsschema")):
            netns.run(["ovsdb-tool", "create", str(self._folder / f"{name}.db"), str(_SCHEMAS / schema)])
            self._spawn("ovsdb-server", str(self._folder / f"{name}.db"), f"--remote=p{self.database(name)}")
            self._wait_for(self._folder / f"{name}.sock")
        self._spawn("ovn-northd", f"--ovnnb-db={self.database('nb')}", f"--ovnsb-db={self.database('sb')}")
        self.switch.vsctl("add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=netdev")
        settings = {
            "system-id": "here",
            "ovn-remote": self.database("sb"),
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": "127.0.0.1",
            "ovn-bridge-mappings": "public:br-ex",
            "ovn-bridge-datapath-type": "netdev",
        }
        values = [f'external_ids:{key}="{value}"' for key, value in settings.items()]
        self.switch.vsctl("set", "Open_vSwitch", ".", *values)
        self._spawn("ovn-controller", self.switch.ovsdb)
        self.switch.vsctl("wait-until", "Bridge", "br-int")  # which ovn-controller makes

    def kill_controller(self) -> None:
        """End ovn-controller as a crash would."""
        process = self._processes.pop()
        process.kill()
        process.wait()

    def start_controller(self) -> None:
        """Start ovn-controller again."""
        self._spawn("ovn-controller", self.switch.ovsdb)

    def database(self, name: str) -> str:
        """Where the northbound ("nb") or southbound ("sb") database listens."""
        return f"unix:{self._folder / f'{name}.sock'}"

    def nbctl(self, *arguments: str, timeout: int = 120) -> str:
        """Run ovn-nbctl; ``--wait=hv`` waits until the flows are in the switch."""
        command = ["ovn-nbctl", f"--timeout={timeout}", f"--db={self.database('nb')}", *arguments]
        return netns.run(command, timeout=timeout + 5, env=self.switch.environment)

    def sbctl(self, *arguments: str) -> str:
        """Run ovn-sbctl."""
        return netns.run(["ovn-sbctl", "--timeout=60", f"--db={self.database('sb')}", *arguments], timeout=65)

    def close(self) -> None:
        """End everything and delete the namespace."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()
        self.switch.stop()
        with contextlib.suppress(netns.CommandError):
            netns.delete([self._namespace])

    def _spawn(self, *command: str) -> None:
        argv = netns.inside(self._namespace, [*command, "-vconsole:off", "-vsyslog:off"])
        places = {**self.switch.environment, "OVN_RUNDIR": str(self._folder), "OVN_LOGDIR": str(self._folder)}
        self._processes.append(subprocess.Popen(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **places}))

    def _wait_for(self, path: Path) -> None:
        netns.run(["timeout", "10", "sh", "-c", f"until [ -S '{path}' ]; do sleep 0.02; done"])


def network() -> Iterator[list[str]]:
    """The commands of ovn-nbctl that make a switch, a router with a gateway port and a public switch."""
    yield ["ls-add", "net"]
    yield ["lr-add", "router"]
    yield ["lrp-add", "router", "to-net", "02:00:00:00:ff:02", f"{GATEWAY}/16"]
    yield ["lsp-add", "net", "from-router", "--", "lsp-set-type", "from-router", "router"]
    yield ["lsp-set-addresses", "from-router", "router", "--", "lsp-set-options", "from-router", "router-port=to-net"]
    yield ["ls-add", "public"]
    yield ["lsp-add", "public", "wire", "--", "lsp-set-type", "wire", "localnet"]
    yield ["lsp-set-addresses", "wire", "unknown", "--", "lsp-set-options", "wire", "network_name=public"]
    yield ["lrp-add", "router", "to-public", "02:00:00:00:ff:03", "198.51.100.2/16"]
    yield ["lsp-add", "public", "router-public", "--", "lsp-set-type", "router-public", "router"]
    yield ["lsp-set-addresses", "router-public", "router"]
    yield ["lsp-set-options", "router-public", "router-port=to-public"]
    yield ["lr-route-add", "router", "0.0.0.0/0", "198.51.100.1"]
