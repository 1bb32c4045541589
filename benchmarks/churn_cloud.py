"""Churn in a small cloud of real guests: network namespaces on two hypervisors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks import residue
from benchmarks.churn_load import API_THREADS, Churn
from benchmarks.datagrams import Sender
from econe_api.compute.namespaces import guest_namespace
from econe_api.store.accounts import find_account
from econe_api.store.quotas import INSTANCES, set_quota
from econe_api.store.store import Store
from topologies.cloud import Cloud, Plan
from topologies.control_plane import ACCOUNT
from topologies.ovs import SERVER, SWITCH

_ENOUGH = 1_000_000
_VCPUS = 4096


class CloudSite:
    """Implements :class:`benchmarks.churn_load.Site`; a context manager."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __enter__(self) -> Self:
        self._sender = Sender()
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()

    def ec2(self, connections: int) -> Any:
        """A client of the cloud's one account."""
        return self._cloud.ec2(connections=connections)

    def networks(self) -> Sequence[Mapping[str, Any]]:
        """The account's default VPC."""
        return [{}]

    def status(self) -> Mapping[str, Any]:
        """The controller's status."""
        return self._cloud.status()

    def pids(self) -> Mapping[int, str]:
        """The daemons, those of all hosts under one name."""
        found = {daemon.pid: name.partition(" h")[0] for name, daemon in self._cloud.daemons.items()}
        for switch in self._cloud.lab.hypervisors.values():
            for daemon in (SERVER, SWITCH):
                if (pid := switch.pid(daemon)) is not None:
                    found[pid] = daemon
        return found

    def talk(self, instance: str, address: str) -> None:
        """A datagram."""
        self._sender.send(guest_namespace(self._cloud.plan.name, instance), address)


def run(rate: float, seconds: float, life: float, progress: Callable[[str], None], name: str) -> dict[str, Any]:
    """Build a cloud, churn, look for residue; returns the figures, ``residue`` by kind among them."""
    with tempfile.TemporaryDirectory(prefix="sluice-churn-") as folder:
        plan = Plan(name, Path(folder), vcpus=_VCPUS, memory_mib=_VCPUS * 512, api_threads=API_THREADS)
        with Cloud(plan, progress) as cloud:
            store = Store.open(cloud.config)
            try:
                set_quota(store, find_account(store, ACCOUNT).account_id, INSTANCES, _ENOUGH)
            finally:
                store.close()
            before = residue.look(cloud)
            progress(f"{rate:g} starts and {rate:g} stops a second for {seconds:g} s")
            with CloudSite(cloud) as site:
                figures = Churn(site, rate, life, progress).run(seconds)
            progress("looking for what is left")
            found = residue.settle(cloud, before)
        return {"rate": rate, "life": life, **figures, "residue": found}
