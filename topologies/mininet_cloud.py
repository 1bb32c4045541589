"""A small cloud on a running Mininet network: its bridges are the hypervisors, its hosts become the instances.

All of it is real: the controller, an agent per bridge, the API and its store are processes as in production, and the
compute worker, which has to share Mininet's process, runs in threads of this one.  To be built in a room
(:mod:`topologies.mininet_room`): everything listens on the loopback of the network namespace that it is started in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from channel.client import request
from econe_api.compute import netns
from econe_api.compute.server import Server
from econe_api.compute.worker import Worker
from econe_api.config import Config, load
from econe_api.store.store import Store
from topologies import cloud_file, control_plane, layout
from topologies.control_plane import PUBLIC_RANGE, Keys, Processes
from topologies.mininet_backend import MininetBackend
from topologies.mininet_topo import FABRIC_PORT, UPLINK_PORT
from topologies.vantage import Vantage

LOOPBACK = "127.0.0.1"


class MininetCloud:
    """Use it as a context manager.

    ``net`` is a ``mininet.net.Mininet`` of one of the topologies here, built but not started, whose bridges have
    127.0.0.1:6653 for their controller.  ``state`` is an existing directory for the cloud's files.
    """

    def __init__(self, net: Any, state: Path) -> None:
        self.hosts: list[str] = [switch.name for switch in net.switches if switch.name.startswith("h")]
        self._net = net
        self._state = state
        self._port = control_plane.free_port(0)
        config_file = state / "sluice.toml"
        cloud_file.write(config_file, self._port, LOOPBACK, {host: {} for host in self.hosts})
        self.config: Config = load(config_file)
        self._processes = Processes(state, config_file, lambda: None)
        self._worker: _WorkerThreads | None = None
        self._keys = Keys("", "")

    def __enter__(self) -> MininetCloud:
        try:
            self._keys = control_plane.fill_store(self.config, *PUBLIC_RANGE)
            openflow = ("--ofp-listen-host", LOOPBACK, "--ofp-tcp-listen-port", str(cloud_file.OPENFLOW_PORT))
            self._processes.start("controller", ("controller", *openflow))
            self._processes.wait("the controller", self._controller_answers)
            self._net.start()
            control_plane.serve_page(self.outside)
            for host in self.hosts:
                self._processes.start(f"agent {host}", ("agents", *self._agent_arguments(host)))
            self._processes.start("api", ("econe_api",))
            self._worker = _WorkerThreads(self.config, MininetBackend(self._net))
            self._processes.wait("the API", lambda: control_plane.api_answers(self._port))
            self._processes.wait("every hypervisor", lambda: control_plane.hosts_installed(self.config))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def outside(self) -> Vantage:
        """The outside host."""
        return _inside(self._net[layout.OUTSIDE])

    def ec2(self) -> Any:
        """Return a boto3 client of the API."""
        return control_plane.client(f"http://{LOOPBACK}:{self._port}", self.config.region, self._keys)

    def guest(self, instance: str) -> Vantage:
        """Return the inside of an instance; KeyError when no host is that instance."""
        if self._worker is None:
            raise KeyError(instance)
        return _inside(self._worker.backend.inside(instance))

    def host_of(self, interface: str) -> str | None:
        """Return the bridge that has the port of a network interface (``eni-...``)."""
        wanted = f"external_ids:iface-id={interface}"
        port = netns.run(["ovs-vsctl", "--bare", "--columns=name", "find", "Interface", wanted]).strip()
        return netns.run(["ovs-vsctl", "iface-to-br", port]).strip() if port else None

    def status(self) -> dict[str, Any]:
        """Return the controller's answer to a status request; ChannelError when it gives none."""
        return request(self.config.controller.socket, {"op": "status"}, 5.0)

    def _controller_answers(self) -> bool:
        return self.config.controller.socket.exists()

    def _agent_arguments(self, host: str) -> tuple[str, ...]:
        rundir = os.environ.get("OVS_RUNDIR", "/var/run/openvswitch")
        fabric = f"{host}-eth{FABRIC_PORT}"
        return (
            *("--host", host),
            *("--bridge", host),
            *("--ovsdb", f"unix:{rundir}/db.sock"),
            *("--controller", f"tcp:{LOOPBACK}:{cloud_file.OPENFLOW_PORT}"),
            *("--report", f"{LOOPBACK}:{cloud_file.AGENT_PORT}"),
            *("--uplink", f"{host}-eth{UPLINK_PORT}"),
            *(("--fabric", fabric) if fabric in self._net[host].intfNames() else ()),
            *("--datapath-type", "netdev"),
        )

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._processes.stop()
        self._net.stop()


class _WorkerThreads:
    """The compute worker and its socket, as ``python -m econe_api.compute`` runs them."""

    def __init__(self, config: Config, backend: MininetBackend) -> None:
        self.backend = backend
        self._store = Store.open(config)
        self._worker = Worker(self._store, backend)
        self._server = Server(config.compute.socket, self._worker)
        works: tuple[Callable[[], None], ...] = (self._worker.run, self._server.serve_forever)
        self._threads = [threading.Thread(target=work) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._worker.stop()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        self._store.close()


def _inside(node: Any) -> Vantage:
    return Vantage(f"/proc/{node.pid}/ns/net")
