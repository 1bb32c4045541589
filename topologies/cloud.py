"""The whole small cloud on this machine: a lab, the store, and every process of the control plane.

The demo, ``scripts/up`` and the tests all build it here.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from channel.client import ChannelError, request
from econe_api.compute.namespaces import GUEST, guest_namespace
from econe_api.config import Config, load
from econe_api.store.accounts import create_account, list_accounts
from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from topologies import cloud_file, layout
from topologies.daemon import Daemon, Recipe
from topologies.errors import LabError
from topologies.lab import Lab
from topologies.ovs import OpenVSwitch
from topologies.vantage import Vantage

ACCOUNT = "demo"
POOL = "public"
#: What the outside host calls itself on its web page.
OUTSIDE = "outside"
#: Seconds within which every process has to be ready.
START = 30.0
_PAUSE = 0.05
_LONGEST_STATE = 72  # bytes; the path of the longest socket in it must stay below Linux's 108


@dataclass(frozen=True, slots=True)
class Plan:
    """What cloud to build.

    ``name`` begins the names of its namespaces, ``state`` is the directory of its files (made when it is not there,
    kept by :meth:`Cloud.close` but for what only makes sense while it runs), ``api_port`` 0 takes a free one, and
    ``first`` to ``last`` are the elastic IPs.
    """

    name: str
    state: Path
    hypervisors: int = 2
    api_port: int = 0
    first: str = "198.51.100.64"
    last: str = "198.51.100.127"


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
        self.lab = Lab(plan.name, plan.hypervisors, plan.state)
        self.outside = Vantage(self.lab.netns(layout.OUTSIDE))
        self.config_file = plan.state / "sluice.toml"
        self.access_key_id = ""
        self.secret_access_key = ""
        self._progress = progress
        self._check = check
        self._port = plan.api_port
        self._daemons: dict[str, Daemon] = {}
        self._config: Config | None = None

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
            self._outside_page()
            self._step("store, address pool and account")
            self._fill_store()
            self._step("controller, agents, compute worker and API")
            for recipe in self._recipes():
                self._daemons[recipe.name] = Daemon(recipe)
                self._daemons[recipe.name].start()
            self._await("the API", self._api_answers)
            self._await("every hypervisor", self._hosts_installed)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End every process and delete namespaces, sockets and switch files; database, keys and logs stay."""
        for daemon in self._daemons.values():
            daemon.ask_to_end()
        for daemon in self._daemons.values():
            daemon.stop()
            daemon.sweep()
        self._daemons.clear()
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
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.config.region,
        }

    def ec2(self) -> Any:
        """Return a boto3 EC2 client for the cloud that neither retries nor takes a proxy."""
        return boto3.client(
            "ec2",
            endpoint_url=self.endpoint,
            region_name=self.config.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=ClientConfig(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30, proxies={}),
        )

    def guest(self, instance: str) -> Vantage:
        """Return the inside of an instance."""
        return Vantage(guest_namespace(self.plan.name, instance))

    def host_of(self, interface: str) -> str | None:
        """Return the hypervisor whose switch has the port of a network interface (``eni-...``)."""
        for name, switch in self.lab.hypervisors.items():
            if switch.vsctl(
                "--bare", "--columns=name", "find", "Interface", f"external_ids:iface-id={interface}"
            ).strip():
                return name
        return None

    def hypervisor(self, name: str) -> OpenVSwitch:
        """Return the switch of a hypervisor, "h1", "h2", ..."""
        return self.lab.hypervisor(name)

    def status(self) -> dict[str, Any]:
        """Return the controller's answer to a status request; ChannelError when it gives none."""
        return request(self.config.controller.socket, {"op": "status"}, 5.0)

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        """The processes: "controller", "compute", "api" and "agent h1", "agent h2", ..."""
        return self._daemons

    def agent(self, host: str) -> Daemon:
        """Return the agent of a hypervisor."""
        return self._daemons[f"agent {host}"]

    def pid(self, name: str) -> int:
        """Return the process id of a process."""
        return self._daemons[name].pid

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        self._daemons[name].kill()

    def restart(self, name: str) -> None:
        """Stop a process if it runs and start it again; does not wait until it is ready."""
        self._daemons[name].stop()
        self._daemons[name].start()

    def await_ready(self) -> None:
        """Wait until the API answers and every hypervisor has what it should; LabError after :data:`START` seconds."""
        self._await("the API", self._api_answers)
        self._await("every hypervisor", self._hosts_installed)

    def _step(self, text: str) -> None:
        self._check()
        self._progress(text)

    def _prepare(self) -> None:
        state = self.plan.state.absolute()
        if len(str(state).encode()) > _LONGEST_STATE:
            raise LabError(f"the path {state} is too long for the sockets in it: take one below {_LONGEST_STATE} bytes")
        self._port = _port(self.plan.api_port)
        cloud_file.write(self.config_file, self.lab, self._port)
        self._config = load(self.config_file)

    def _fill_store(self) -> None:
        store = Store.open(self.config)
        try:
            gateway = (layout.PUBLIC_CIDR, layout.GATEWAY_IP, layout.GATEWAY_MAC)
            create_pool(store, POOL, *gateway, self.plan.first, self.plan.last)
            keys = [key for account in list_accounts(store) if account.name == ACCOUNT for key in account.keys]
            self.access_key_id = keys[0].access_key_id if keys else create_account(store, ACCOUNT).access_key_id
            credential = store.credential(self.access_key_id)
            if credential is None:
                raise LabError(f"access key {self.access_key_id} has just been deleted: start again")
            self.secret_access_key = credential.secret
        finally:
            store.close()

    def _outside_page(self) -> None:
        """Give the outside host the web server that instances have too."""
        started = self.outside.run(sys.executable, str(GUEST), OUTSIDE)
        if started.returncode != 0:
            raise LabError(f"the outside host's web server did not start: {' '.join(started.stderr.split())}")

    def _recipes(self) -> Iterator[Recipe]:
        management = self.lab.netns(layout.MANAGEMENT)
        openflow = ("--ofp-listen-host", layout.CONTROLLER_IP, "--ofp-tcp-listen-port", str(cloud_file.OPENFLOW_PORT))
        yield self._recipe("controller", ("controller", *openflow), management)
        yield self._recipe("compute", ("econe_api.compute",), None)
        yield self._recipe("api", ("econe_api",), None)
        for host in self.lab.hypervisors:
            arguments = cloud_file.agent_arguments(self.lab, host)
            yield self._recipe(f"agent {host}", ("agents", *arguments), self.lab.netns(host))

    def _recipe(self, name: str, module: tuple[str, ...], namespace: str | None) -> Recipe:
        log = self.plan.state / f"{name.replace(' ', '-')}.log"
        environment = {"SLUICE_CONFIG": str(self.config_file.absolute())}
        return Recipe(name, (sys.executable, "-m", *module), log, namespace, environment)

    def _await(self, what: str, ready: Callable[[], bool]) -> None:
        self._step(f"waiting for {what}")
        deadline = time.monotonic() + START
        while not ready():
            self._check()
            for name, daemon in self._daemons.items():
                if daemon.status is not None:
                    raise LabError(f"{name} ended at its start: {daemon.last_words()} (all of it: {daemon.recipe.log})")
            if time.monotonic() > deadline:
                raise LabError(f"{what} was not ready within {START:g} s; see the logs in {self.plan.state}")
            time.sleep(_PAUSE)

    def _api_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1.0):
            return True
        return False

    def _hosts_installed(self) -> bool:
        try:
            hosts = self.status()["hosts"]
        except ChannelError:
            return False
        ready = [host for host in hosts if host["connected"] and host["agent"] and host["installed"] == host["desired"]]
        return len(ready) == self.plan.hypervisors == len(hosts)


def _port(wanted: int) -> int:
    """Return the port to listen on at 127.0.0.1, a free one for 0; LabError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            reason = error.strerror
            raise LabError(
                f"port {wanted} of 127.0.0.1 cannot be had ({reason}): take another one for the API"
            ) from error
        port: int = probe.getsockname()[1]
        return port
