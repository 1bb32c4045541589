"""The two EC2 APIs that are measured beside each other: ours with all that makes a call durable, and moto_server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from channel.client import ChannelError, request
from econe_api.config import Config, load
from econe_api.store.accounts import create_account, find_account
from econe_api.store.pools import create_pool
from econe_api.store.quotas import ELASTIC_IPS, GROUPS, set_quota
from econe_api.store.store import Store
from topologies.control_plane import Keys, api_answers, client, free_port
from topologies.daemon import Daemon, Recipe
from topologies.errors import LabError

_START = 60.0
_ENOUGH = 100_000
_REGION = "us-east-1"
ACCOUNT = "bench"


@contextmanager
def ours(folder: Path, *, controller: bool) -> Iterator[Any]:
    """The API on SQLite, every commit synchronised, signatures checked; gives a boto3 client.

    With the ``controller`` a call that changes the data plane waits for its acknowledgement, which the peer has nothing
    like.  The cloud has no hypervisor: what switches add is another benchmark's.
    """
    config = prepare(folder)
    port = int(config.api.bind.rpartition(":")[2])
    openflow = str(free_port(0))
    commands: dict[str, tuple[str, ...]] = {"api": ("econe_api",)}
    if controller:
        commands["controller"] = ("controller", "--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", openflow)
    daemons = [_daemon(name, ("-m", *words), folder) for name, words in commands.items()]
    with _running(daemons):
        _await(daemons, lambda: api_answers(port) and (not controller or _controller_answers(config)))
        yield client(f"http://127.0.0.1:{port}", _REGION, keys_of(config))


@contextmanager
def moto(folder: Path) -> Iterator[Any]:
    """moto_server: everything in memory, signatures not looked at.  Gives a boto3 client."""
    port = free_port(0)
    daemon = _daemon("moto", ("-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)), folder)
    with _running([daemon]):
        _await([daemon], lambda: api_answers(port))
        yield client(f"http://127.0.0.1:{port}", _REGION, Keys("bench", "bench"))


def prepare(folder: Path) -> Config:
    """Make a store with one account that may have much, and addresses enough."""
    file = folder / "sluice.toml"
    file.write_text(
        f"""\
state = "{folder / "state"}"
[api]
bind = "127.0.0.1:{free_port(0)}"
[controller]
agent_listen = "127.0.0.1:{free_port(0)}"
audit_interval = 0
""",
        encoding="utf-8",
    )
    config = load(file)
    store = Store.open(config)
    try:
        create_pool(store, "bench", "198.18.0.0/16", "198.18.0.1", "", "198.18.1.0", "198.18.255.0")
        account = create_account(store, ACCOUNT).account_id
        for name in (ELASTIC_IPS, GROUPS):
            set_quota(store, account, name, _ENOUGH)
    finally:
        store.close()
    return config


def keys_of(config: Config) -> Keys:
    """The keys of the account that :func:`prepare` made."""
    store = Store.open(config)
    try:
        (key,) = find_account(store, ACCOUNT).keys
        credential = store.credential(key.access_key_id)
    finally:
        store.close()
    if credential is None:
        raise LabError("the account's key is gone: start again")
    return Keys(key.access_key_id, credential.secret)


def _daemon(name: str, words: tuple[str, ...], folder: Path) -> Daemon:
    environment = {"SLUICE_CONFIG": str(folder / "sluice.toml")}
    return Daemon(Recipe(name, (sys.executable, *words), folder / f"{name}.log", None, environment))


@contextmanager
def _running(daemons: list[Daemon]) -> Iterator[None]:
    try:
        for daemon in daemons:
            daemon.start()
        yield
    finally:
        for daemon in daemons:
            daemon.ask_to_end()
        for daemon in daemons:
            daemon.stop()
            daemon.sweep()


def _await(daemons: list[Daemon], ready: Any) -> None:
    deadline = time.monotonic() + _START
    while not ready():
        for daemon in daemons:
            if daemon.status is not None:
                raise LabError(f"{daemon.recipe.name} ended at its start: {daemon.last_words()}")
        if time.monotonic() > deadline:
            raise LabError(f"{daemons[-1].recipe.name} was not ready within {_START:g} s")
        time.sleep(0.05)


def _controller_answers(config: Config) -> bool:
    with suppress(ChannelError):
        return request(config.controller.socket, {"op": "status"}, 5.0)["ok"] is True
    return False
