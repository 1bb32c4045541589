"""Run by test_mininet.py inside a room: ``mininet_drive.py TOPOLOGY``; prints what it saw as one JSON object."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mininet.net import Mininet
from mininet.node import RemoteController

from econe_api.compute.backend import BackendUnavailableError, InterfaceSpec, LaunchFailedError, LaunchSpec
from econe_api.compute.namespaces import GUEST
from topologies import layout
from topologies.mininet_backend import MininetBackend
from topologies.single_hypervisor import single_hypervisor
from topologies.two_hypervisors import two_hypervisors

_HELLO, _FEATURES_REQUEST, _FEATURES_REPLY = 0, 5, 6
_VERSION = 4


def _dpids(listener: socket.socket, count: int) -> list[int]:
    """Take connections until ``count`` datapaths have named themselves; return their ids."""
    found: set[int] = set()
    while len(found) < count:
        peer, _ = listener.accept()
        # Mininet itself calls first, to see whether somebody listens, and hangs up.
        with peer, contextlib.suppress(ConnectionError), peer.makefile("rb") as stream:
            peer.settimeout(10)
            for kind in (_HELLO, _FEATURES_REQUEST):
                peer.sendall(struct.pack("!BBHI", _VERSION, kind, 8, 1))
            while len(header := stream.read(8)) == 8:
                _, kind, length, _ = struct.unpack("!BBHI", header)
                body = stream.read(length - 8)
                if kind == _FEATURES_REPLY:
                    found.add(struct.unpack("!Q", body[:8])[0])
                    break
    return sorted(found)


def _spec(host: str, number: int) -> LaunchSpec:
    link = InterfaceSpec(f"eni-{number}", f"02:00:00:00:00:{number:02x}", f"172.31.0.{number}", 20, "172.31.0.1", 0)
    return LaunchSpec(f"i-{number}", host, "ami-1", "t2.micro", None, (link,))


def _fetch(node: Any, address: str) -> str:
    out: str = node.pexec("curl", "-s", "--noproxy", "*", "--max-time", "3", f"http://{address}/")[0]
    return out.strip()


def _ports(bridge: str) -> list[str]:
    return subprocess.check_output(["ovs-vsctl", "list-ports", bridge], text=True).split()


def _guests() -> int:
    lines = [Path(f"/proc/{name}/cmdline") for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return sum(str(GUEST).encode() in line.read_bytes().split(b"\0") for line in lines)


def _instances(net: Mininet, hypervisors: list[str]) -> dict[str, Any]:
    """Launch instances over plain learning flows, let them talk, end them."""
    for name in hypervisors:
        # Two ways between the hypervisors would be a loop: the public network is shut.
        for flow in ("priority=1,actions=NORMAL", "priority=2,in_port=1,actions=drop"):
            subprocess.run(["ovs-ofctl", "-OOpenFlow13", "add-flow", name, flow], check=True)
    backend = MininetBackend(net)
    seen: dict[str, Any] = {"idle": {name: _ports(name) for name in hypervisors}}
    one, other = _spec(hypervisors[0], 11), _spec(hypervisors[-1], 12)
    for spec in (one, other, one):
        backend.launch(spec)
    ids = subprocess.check_output(
        ["ovs-vsctl", "get", "Interface", f"{hypervisors[0]}-eth3", "external_ids"], text=True
    )
    seen["external_ids"] = ids.strip()
    seen["page"] = _fetch(backend.inside(one.instance_id), "172.31.0.12")
    seen["listed"] = {name: [entry.host, entry.state] for name, entry in backend.list().items()}
    try:
        backend.launch(_spec("h9", 13))
    except BackendUnavailableError as error:
        seen["unknown"] = str(error)
    try:
        for number in range(20, 24):
            backend.launch(_spec("h1", number))
    except LaunchFailedError as error:
        seen["full"] = error.code
    for instance in [*backend.list(), "i-unknown"]:
        backend.terminate(instance, "h1")
    seen["guests"] = _guests()
    seen["left"] = {name: _ports(name) for name in hypervisors}
    backend.launch(_spec("h1", 11))  # a host that was given back is as good as new
    seen["again"] = _fetch(backend.inside("i-11"), "172.31.0.11")
    backend.terminate("i-11", "h1")
    return seen


def main(topology: str) -> None:
    made = {"two_hypervisors": two_hypervisors, "single_hypervisor": single_hypervisor}[topology]()
    hypervisors = [name for name in made.switches() if name.startswith("h")]
    with socket.create_server(("127.0.0.1", 6653)) as listener:
        listener.settimeout(20)
        remote = RemoteController("c0", ip="127.0.0.1", port=6653)
        net = Mininet(topo=made, controller=lambda _name: remote, waitConnected=False)
        start = time.monotonic()
        net.start()
        try:
            seen: dict[str, Any] = {"dpids": _dpids(listener, len(hypervisors))}
            seen["seconds"] = time.monotonic() - start
            seen["outside"] = net["out"].pexec("ping", "-c1", "-W2", layout.GATEWAY_IP)[2]
            seen["instances"] = _instances(net, hypervisors)
        finally:
            net.stop()
    seen["bridges"] = subprocess.check_output(["ovs-vsctl", "list-br"], text=True).split()
    sys.stdout.write(json.dumps(seen))


main(sys.argv[1])
