"""A lab with a plain learning bridge on each hypervisor, and a cloud's store whose hosts are in it."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.compute import netns
from econe_api.compute.backend import InterfaceSpec, LaunchSpec
from econe_api.compute.namespaces import Host, NamespaceBackend
from econe_api.config import Config, parse
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.store import Store
from topologies.lab import Lab

Until = Callable[..., None]


@pytest.fixture
def until() -> Until:
    def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not become true in time"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two hypervisors whose bridges learn and forward; the fabric joins them."""
    with tempfile.TemporaryDirectory() as state, Lab(f"c{secrets.token_hex(3)}", 2, Path(state)) as built:
        for switch in built.hypervisors.values():
            switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
            switch.vsctl("add-port", "br-int", "fab0")
        yield built


@pytest.fixture
def hosts(lab: Lab) -> dict[str, Host]:
    return {
        name: Host(name, lab.netns(name), switch.ovsdb, "br-int", lab.name) for name, switch in lab.hypervisors.items()
    }


@pytest.fixture
def backend(lab: Lab, hosts: Mapping[str, Host]) -> Iterator[NamespaceBackend]:
    """The backend; what it runs at the end of the test goes."""
    made = NamespaceBackend(hosts.values())
    yield made
    for switch in lab.hypervisors.values():
        switch.start()
    made.destroy_all()
    made.close()
    assert netns.namespaces(f"{lab.name}-i-") == []
    for switch in lab.hypervisors.values():
        assert switch.vsctl("list-ports", "br-int") == "fab0\n"


@pytest.fixture
def spec() -> Callable[..., LaunchSpec]:
    """Make a specification: ``spec(host, last byte of the address)``."""

    def make(host: str, number: int, interfaces: int = 1) -> LaunchSpec:
        links = tuple(
            InterfaceSpec(
                id=f"eni-{secrets.token_hex(9)[:17]}",
                mac=f"02:00:00:00:{index:02x}:{number:02x}",
                address=f"172.31.{index}.{number}",
                prefix_length=24,
                gateway=f"172.31.{index}.1",
                device_index=index,
            )
            for index in range(interfaces)
        )
        return LaunchSpec(f"i-{secrets.token_hex(9)[:17]}", host, "ami-1", "t2.micro", None, links)

    return make


@pytest.fixture
def config(tmp_path: Path, hosts: Mapping[str, Host]) -> Config:
    document = {
        "state": str(tmp_path / "state"),
        "hypervisor": [
            {
                "name": host.name,
                "vcpus": 16,
                "memory_mib": 32768,
                "options": {"netns": host.netns, "ovsdb": host.ovsdb, "prefix": host.prefix},
            }
            for host in hosts.values()
        ],
    }
    return parse(document, "test", tmp_path)


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    opened = Store.open(config)
    yield opened
    opened.close()


class Tenant:
    """Calls the actions of the API, as its server would, for one account."""

    def __init__(self, store: Store, account: NewAccount) -> None:
        self._store = store
        self._caller = Caller(account.account_id, account.access_key_id)

    def call(self, action: str, **params: Any) -> dict[str, Any]:
        call = Call(action=action, params=params, caller=self._caller, request_id=secrets.token_hex(8))
        with self._store.write(call) as txn:
            answer: dict[str, Any] = ACTIONS[action].handler(call, txn)
        return answer

    def run(self, count: int = 1) -> list[str]:
        made = self.call(
            "RunInstances",
            ImageId="ami-0123456789abcdef0",
            InstanceType="t2.micro",
            MinCount=count,
            MaxCount=count,
        )
        return [instance["InstanceId"] for instance in made["Instances"]]

    def attach(self, instance: str) -> str:
        """Give an instance one more interface, in its subnet; gives its id."""
        subnet = self.describe(instance)[0]["SubnetId"]
        made = self.call("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]
        asked = {"NetworkInterfaceId": made["NetworkInterfaceId"], "InstanceId": instance, "DeviceIndex": 1}
        self.call("AttachNetworkInterface", **asked)
        interface: str = made["NetworkInterfaceId"]
        return interface

    def detach(self, interface: str) -> None:
        shown = self.interface(interface)["Attachment"]
        self.call("DetachNetworkInterface", AttachmentId=shown["AttachmentId"])

    def interface(self, interface: str) -> dict[str, Any]:
        asked = {"NetworkInterfaceIds": [interface]}
        found = self.call("DescribeNetworkInterfaces", **asked)["NetworkInterfaces"]
        shown: dict[str, Any] = found[0]
        return shown

    def terminate(self, *ids: str) -> None:
        self.call("TerminateInstances", InstanceIds=list(ids))

    def describe(self, *ids: str) -> list[dict[str, Any]]:
        answer = self.call("DescribeInstances", InstanceIds=list(ids))
        shown = {
            instance["InstanceId"]: instance
            for reservation in answer["Reservations"]
            for instance in reservation["Instances"]
        }
        return [shown[instance] for instance in ids]

    def states(self, *ids: str) -> list[str]:
        return [instance["State"]["Name"] for instance in self.describe(*ids)]


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return Tenant(store, create_account(store, "tenant"))
