"""The control plane of a small cloud: its processes, what its store holds at first, and a client of its API."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from channel.client import ChannelError, request
from econe_api.compute.namespaces import GUEST
from econe_api.config import Config
from econe_api.store.accounts import create_account, list_accounts
from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from topologies import layout
from topologies.daemon import Daemon, Recipe
from topologies.errors import LabError
from topologies.vantage import Vantage

ACCOUNT = "demo"
POOL = "public"
#: What the outside host calls itself on its web page.
OUTSIDE = "outside"
#: Elastic IPs to hand out: the first and the last.
PUBLIC_RANGE = ("198.51.100.64", "198.51.100.127")
#: Seconds within which every process has to be ready.
START = 30.0
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key of the account whose cloud it is."""

    access_key_id: str
    secret_access_key: str


class Processes:
    """The processes by name, started in order and ended together; ``check`` may raise to give up waiting."""

    def __init__(self, state: Path, config_file: Path, check: Callable[[], None]) -> None:
        self.daemons: dict[str, Daemon] = {}
        self._state = state
        self._config_file = config_file
        self._check = check

    def start(self, name: str, module: tuple[str, ...], namespace: str | None = None) -> None:
        """Run a Python module with its arguments, in a namespace or where this process is."""
        log = self._state / f"{name.replace(' ', '-')}.log"
        environment = {"SLUICE_CONFIG": str(self._config_file.absolute())}
        recipe = Recipe(name, (sys.executable, "-m", *module), log, namespace, environment)
        self.daemons[name] = Daemon(recipe)
        self.daemons[name].start()

    def stop(self) -> None:
        """End them all, whatever they have started included."""
        for daemon in self.daemons.values():
            daemon.ask_to_end()
        for daemon in self.daemons.values():
            daemon.stop()
            daemon.sweep()
        self.daemons.clear()

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``; LabError when a process ends meanwhile, or after :data:`START` seconds."""
        deadline = time.monotonic() + START
        while not ready():
            self._check()
            for name, daemon in self.daemons.items():
                if daemon.status is not None:
                    raise LabError(f"{name} ended at its start: {daemon.last_words()} (all of it: {daemon.recipe.log})")
            if time.monotonic() > deadline:
                raise LabError(f"{what} was not ready within {START:g} s; see the logs in {self._state}")
            time.sleep(_PAUSE)


def fill_store(config: Config, first: str, last: str) -> Keys:
    """Make what is missing of store, address pool and account; return the account's key.

    Raises StoreError, or LabError when the account has no key.
    """
    store = Store.open(config)
    try:
        create_pool(store, POOL, layout.PUBLIC_CIDR, layout.GATEWAY_IP, layout.GATEWAY_MAC, first, last)
        keys = [key for account in list_accounts(store) if account.name == ACCOUNT for key in account.keys]
        access_key_id = keys[0].access_key_id if keys else create_account(store, ACCOUNT).access_key_id
        credential = store.credential(access_key_id)
        if credential is None:
            raise LabError(f"access key {access_key_id} has just been deleted: start again")
        return Keys(access_key_id, credential.secret)
    finally:
        store.close()


def account_id(config: Config) -> str:
    """Return the number of the account that :func:`fill_store` made; StoreError, LabError."""
    store = Store.open(config)
    try:
        for account in list_accounts(store):
            if account.name == ACCOUNT:
                return account.account_id
        raise LabError(f"account {ACCOUNT} has just been deleted: start again")
    finally:
        store.close()


def client(endpoint: str, region: str, keys: Keys, connections: int = 10) -> Any:
    """Return a boto3 EC2 client that neither retries nor takes a proxy and keeps up to ``connections`` open."""
    limits = {"connect_timeout": 5, "read_timeout": 30, "max_pool_connections": connections}
    return boto3.client(
        "ec2",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        config=ClientConfig(retries={"total_max_attempts": 1}, proxies={}, **limits),
    )


def serve_page(outside: Vantage) -> None:
    """Give the outside host the web server that instances have too; LabError when it does not start."""
    started = outside.run(sys.executable, str(GUEST), OUTSIDE)
    if started.returncode != 0:
        raise LabError(f"the outside host's web server did not start: {' '.join(started.stderr.split())}")


def api_answers(port: int) -> bool:
    """Does somebody listen on ``port`` of 127.0.0.1?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def controller_answers(config: Config) -> bool:
    """Does the controller answer?"""
    try:
        request(config.controller.socket, {"op": "status"}, 5.0)
    except ChannelError:
        return False
    return True


def hosts_installed(config: Config) -> bool:
    """Is every hypervisor connected, with its agent, and as it should be?"""
    try:
        hosts = request(config.controller.socket, {"op": "status"}, 5.0)["hosts"]
    except ChannelError:
        return False
    ready = {
        host["name"] for host in hosts if host["connected"] and host["agent"] and host["installed"] == host["desired"]
    }
    return ready == {hypervisor.name for hypervisor in config.hypervisors}


def free_port(wanted: int) -> int:
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
