"""The whole small cloud on this machine: a lab, the store, and every process of the control plane.

The demo, ``scripts/up`` and the tests all build it here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from certificates.files import HostFolder
from channel.client import request
from econe_api.compute.libvirt_xml import interface_uuid
from econe_api.compute.namespaces import guest_namespace
from econe_api.config import Config, load
from econe_api.store.store import Store
from sluice import invitation
from topologies import cloud_file, control_plane, layout
from topologies.control_plane import PUBLIC_RANGE, Keys, Processes
from topologies.daemon import Daemon
from topologies.errors import LabError
from topologies.lab import Lab
from topologies.ovs import OpenVSwitch
from topologies.stage import Inside
from topologies.vantage import Vantage

if TYPE_CHECKING:
    from topologies.machines import Machines

_TOKEN_LIFE = timedelta(minutes=10)
_LONGEST_STATE = 72  # bytes; the path of the longest socket in it must stay below Linux's 108


@dataclass(frozen=True, slots=True)
class Plan:
    """What cloud to build.

    ``name`` begins the names of its namespaces, ``state`` is the directory of its files (made when it is not there,
    kept by :meth:`Cloud.close` but for what only makes sense while it runs), ``api_port`` 0 takes a free one, and
    ``first`` to ``last`` are the elastic IPs.  ``fabric`` is one of :data:`topologies.layout.FABRICS`,
    ``revoked_connections`` is "cut" or "keep" (:class:`econe_api.config.ControllerConfig`), ``vcpus`` and
    ``memory_mib`` are each hypervisor's room for instances, ``api_threads`` of each of ``api_workers`` processes answer
    calls.  ``settings`` is more TOML for the configuration, ``agent_options`` are more arguments of every agent.
    ``backend`` is "namespace", or "libvirt": real virtual machines, for which ``scripts/setup libvirt`` installs what
    is needed.  With ``tls`` hosts join with tokens, and switches and agents talk to the controller by mutual TLS.
    """

    name: str
    state: Path
    hypervisors: int = 2
    api_port: int = 0
    first: str = PUBLIC_RANGE[0]
    last: str = PUBLIC_RANGE[1]
    fabric: str = "vlan"
    revoked_connections: str = "cut"
    vcpus: int = cloud_file.VCPUS
    memory_mib: int = cloud_file.MEMORY_MIB
    api_threads: int = 16
    api_workers: int = 1
    settings: str = ""
    agent_options: tuple[str, ...] = ()
    backend: str = "namespace"
    tls: bool = False


class Cloud:
    """Use it as a context manager, or call :meth:`start` and :meth:`close`.

    ``progress`` hears of each step; ``check`` is called while waiting and may raise to give up.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Callable[[str], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self.lab = Lab(plan.name, plan.hypervisors, plan.state, plan.fabric)
        self.outside = Vantage(self.lab.netns(layout.OUTSIDE))
        self.config_file = plan.state / "sluice.toml"
        self._keys = Keys("", "")
        self._progress = progress
        self._check = check
        self._port = plan.api_port
        self._processes = Processes(plan.state, self.config_file, check)
        self._config: Config | None = None
        self._machines = _machines(self.lab, plan)

    def __enter__(self) -> Cloud:
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Cloud:
        """Build and start everything; returns when an API call would work.

        Raises LabError, ConfigError or StoreError, each one line with cause and mend; nothing is left running then.
        """
        try:
            self._prepare()
            self.lab.build(self._step)
            control_plane.serve_page(self.outside)
            if self._machines is not None:
                self._machines.start(self._step)
            self._step("store, address pool and account")
            self._keys = control_plane.fill_store(self.config, self.plan.first, self.plan.last)
            if self._machines is not None:
                self._machines.upload(control_plane.account_id(self.config))
            self._step("controller, agents, compute worker and API")
            self._start_processes()
            self.await_ready()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End every process and delete namespaces, sockets and switch files; database, keys and logs stay."""
        self._processes.stop()
        self.lab.close()
        if self._config is not None:
            for path in (self._config.controller.socket, self._config.compute.socket):
                path.unlink(missing_ok=True)

    @property
    def endpoint(self) -> str:
        """The URL of the API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def config(self) -> Config:
        """The configuration of the started cloud."""
        if self._config is None:
            raise LabError("the cloud has not been started")
        return self._config

    @property
    def environment(self) -> dict[str, str]:
        """What points an EC2 client at the cloud."""
        return {
            "AWS_ENDPOINT_URL_EC2": self.endpoint,
            "AWS_ACCESS_KEY_ID": self._keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._keys.secret_access_key,
            "AWS_DEFAULT_REGION": self.config.region,
        }

    def ec2(self, keys: Keys | None = None, connections: int = 10) -> Any:
        """Return a boto3 EC2 client that neither retries nor takes a proxy and keeps up to ``connections`` open.

        ``keys`` None = the cloud's own.
        """
        return control_plane.client(self.endpoint, self.config.region, keys or self._keys, connections)

    def guest(self, instance: str) -> Inside:
        """Return the inside of an instance."""
        if self._machines is not None:
            return self._machines.inside(instance)
        return Vantage(guest_namespace(self.plan.name, instance))

    @property
    def hosts(self) -> list[str]:
        """The hypervisors' names."""
        return list(self.lab.hypervisors)

    def host_of(self, interface: str) -> str | None:
        """Return the hypervisor whose switch has the port of a network interface (``eni-...``)."""
        for name, switch in self.lab.hypervisors.items():
            for written in (interface, interface_uuid(interface)):
                find = ("--bare", "--columns=name", "find", "Interface", f"external_ids:iface-id={written}")
                if switch.vsctl(*find).strip():
                    return name
        return None

    @property
    def machines(self) -> Machines:
        """The virtual machines' side; LabError when this cloud has none."""
        if self._machines is None:
            raise LabError("instances of this cloud are namespaces")
        return self._machines

    def hypervisor(self, name: str) -> OpenVSwitch:
        """Return the switch of a hypervisor, "h1", "h2", ..."""
        return self.lab.hypervisor(name)

    def status(self) -> dict[str, Any]:
        """Return the controller's answer to a status request; ChannelError when it gives none."""
        return request(self.config.controller.socket, {"op": "status"}, 5.0)

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        """The processes: "controller", "compute", "api" and "agent h1", "agent h2", ..."""
        return self._processes.daemons

    def agent(self, host: str) -> Daemon:
        """Return the agent of a hypervisor."""
        return self._processes.daemons[f"agent {host}"]

    def pid(self, name: str) -> int:
        """Return the process id of a process."""
        return self._processes.daemons[name].pid

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        self._processes.daemons[name].kill()

    def restart(self, name: str) -> None:
        """Stop a process if it runs and start it again; does not wait until it is ready."""
        self._processes.daemons[name].stop()
        self._processes.daemons[name].start()

    def await_ready(self) -> None:
        """Wait until the API answers and every hypervisor has what it should; LabError when that takes too long."""
        self._step("waiting for the API")
        self._processes.wait("the API", lambda: control_plane.api_answers(self._port))
        self._step("waiting for every hypervisor")
        self._processes.wait("every hypervisor", lambda: control_plane.hosts_installed(self.config))

    def _step(self, text: str) -> None:
        self._check()
        self._progress(text)

    def _prepare(self) -> None:
        state = self.plan.state.absolute()
        if len(str(state).encode()) > _LONGEST_STATE:
            raise LabError(f"the path {state} is too long for the sockets in it: take one below {_LONGEST_STATE} bytes")
        self._port = control_plane.free_port(self.plan.api_port)
        hypervisors = cloud_file.options(self.lab) if self._machines is None else self._machines.options()
        plan = self.plan
        settings = cloud_file.Settings(
            revoked_connections=plan.revoked_connections,
            fabric=plan.fabric,
            backend=plan.backend,
            vcpus=plan.vcpus,
            memory_mib=plan.memory_mib,
            api_threads=plan.api_threads,
            api_workers=plan.api_workers,
            tls=plan.tls,
            more=plan.settings,
        )
        cloud_file.write(self.config_file, self._port, layout.CONTROLLER_IP, hypervisors, settings)
        self._config = load(self.config_file)

    def certificate(self, host: str) -> Path:
        """Return the folder of a host's key and certificate; there is something in it with TLS only."""
        return self.plan.state.absolute() / f"{host}-tls"

    def invite(self, host: str) -> str:
        """Return a join token for a host."""
        store = Store.open(self.config)
        try:
            return invitation.invite(self.config, store, host, _TOKEN_LIFE, again=True).token
        finally:
            store.close()

    def _join_all(self) -> None:
        new = [host for host in self.lab.hypervisors if HostFolder(self.certificate(host)).current() is None]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda host: self.join(host, self.invite(host), self.certificate(host)), new))

    def join(self, host: str, token: str, folder: Path) -> None:
        """Have a host use a join token, as its operator would; LabError when it is refused."""
        file = folder.with_suffix(".toml")
        where = f"tls://{layout.CONTROLLER_IP}:{cloud_file.AGENT_PORT}"
        arguments = ("--controller", where, "--folder", str(folder), "--file", str(file))
        command = (sys.executable, "-m", "sluice", "agent", "join", token, *arguments)
        done = Vantage(self.lab.netns(host)).run(*command, seconds=control_plane.START)
        if done.returncode != 0:
            raise LabError(f"host {host} could not join: {' '.join(done.stderr.split())}")

    def _start_processes(self) -> None:
        management = self.lab.netns(layout.MANAGEMENT)
        openflow = ("--ofp-listen-host", layout.CONTROLLER_IP, "--ofp-tcp-listen-port", str(cloud_file.OPENFLOW_PORT))
        self._processes.start("controller", ("controller", *openflow), management)
        self._processes.start("compute", ("econe_api.compute",))
        self._processes.start("api", ("econe_api",))
        if self.plan.tls:
            self._step("certificates of the hosts")
            self._processes.wait("the controller", lambda: control_plane.controller_answers(self.config))
            self._join_all()
        for host in self.lab.hypervisors:
            certificate = self.certificate(host) if self.plan.tls else None
            arguments = ("agents", *cloud_file.agent_arguments(self.lab, host, certificate), *self.plan.agent_options)
            self._processes.start(f"agent {host}", arguments, self.lab.netns(host))


def _machines(lab: Lab, plan: Plan) -> Machines | None:
    if plan.backend != "libvirt":
        return None
    try:
        from topologies.machines import Machines  # needs libvirt's binding, which the other backend does without
    except ImportError as error:
        raise LabError(
            f"virtual machines need libvirt's binding for Python ({error}): run scripts/setup libvirt"
        ) from error
    return Machines(lab)
