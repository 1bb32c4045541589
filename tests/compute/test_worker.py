"""The worker between a real store and real hypervisors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from econe_api.actions import launch
from econe_api.call import Call, Caller
from econe_api.compute import netns, rows
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.namespaces import NamespaceBackend, guest_namespace
from econe_api.compute.worker import Worker
from econe_api.store.errors import StoreUnavailableError
from econe_api.store.pools import create_pool
from econe_api.store.schema import addresses, audit, changes, instances, interface_groups, interfaces, tags
from econe_api.store.store import Store
from topologies.lab import Lab
from topologies.ovs import SERVER, SWITCH

pytestmark = pytest.mark.lab

Until = Callable[..., None]
Start = Callable[..., Worker]


class Faulty:
    """The real backend, unless a fault has been put into it."""

    def __init__(self, real: NamespaceBackend) -> None:
        self.real = real
        self.launch_fault: Exception | None = None
        self.list_fault: Exception | None = None
        self.calls: list[tuple[str, str]] = []

    def launch(self, spec: LaunchSpec) -> None:
        self.calls.append(("launch", spec.instance_id))
        if self.launch_fault is not None:
            raise self.launch_fault
        self.real.launch(spec)

    def terminate(self, instance_id: str, host: str) -> None:
        self.calls.append(("terminate", instance_id))
        self.real.terminate(instance_id, host)

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        self.calls.append(("attach", interface.id))
        self.real.attach(spec, interface)

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        self.calls.append(("detach", interface.id))
        self.real.detach(spec, interface)

    def list(self) -> Mapping[str, ObservedInstance]:
        if self.list_fault is not None:
            raise self.list_fault
        return self.real.list()


@pytest.fixture
def faulty(backend: NamespaceBackend) -> Faulty:
    return Faulty(backend)


@pytest.fixture
def start(store: Store, faulty: Faulty) -> Iterator[Start]:
    """Start workers, ended with the test."""
    running: list[tuple[Worker, threading.Thread]] = []

    def begin(interval: float = 0.05) -> Worker:
        worker = Worker(store, faulty, interval)
        thread = threading.Thread(target=worker.run)
        thread.start()
        running.append((worker, thread))
        return worker

    yield begin
    for worker, thread in running:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def _look_twice(worker: Worker) -> None:
    """Wait until the worker has looked from beginning to end since this was called."""
    looked = threading.Semaphore(0)
    original = worker._find_tasks

    def counted() -> Any:
        try:
            return original()
        finally:
            looked.release()

    worker._find_tasks = counted  # type: ignore[method-assign]
    for _ in range(3):
        worker.settle([], 0)
        assert looked.acquire(timeout=10)
    worker._find_tasks = original  # type: ignore[method-assign]


def test_instance_from_pending_to_terminated(
    lab: Lab, store: Store, backend: NamespaceBackend, tenant: Any, start: Start
) -> None:
    one, other = tenant.run(2)
    assert tenant.states(one, other) == ["pending", "pending"]
    worker = start(interval=60.0)
    assert worker.settle([one, other], 20.0)
    assert tenant.states(one, other) == ["running", "running"]
    assert {seen.state for seen in backend.list().values()} == {Condition.RUNNING}
    # Both are in the same subnet, each on a hypervisor of its own: the answer comes through the fabric.
    address = tenant.describe(other)[0]["PrivateIpAddress"]
    page = lab.run(one, "curl", "-s", "--noproxy", "*", "--max-time", "3", f"http://{address}/")
    assert page.stdout == f"{other} {tenant.describe(one)[0]['PrivateIpAddress']}\n"
    tenant.terminate(one)
    assert worker.settle([one, other], 20.0)
    assert tenant.states(one, other) == ["terminated", "running"]
    assert list(backend.list()) == [other]
    assert worker.status() == {"busy": [], "problems": []}
    with store.read(rows.worker_call()) as txn:
        written = txn.connection.execute(select(audit.c.account, audit.c.access_key).where(audit.c.action == "compute"))
        assert set(written) == {("000000000000", "compute")}


def test_interfaces_from_attaching_to_available(
    lab: Lab, store: Store, faulty: Faulty, tenant: Any, start: Start
) -> None:
    worker = start(interval=60.0)
    (instance,) = tenant.run()
    assert worker.settle([instance], 20.0)
    first = tenant.attach(instance)
    assert tenant.interface(first)["Attachment"]["Status"] == "attaching"
    assert worker.settle([instance], 20.0)
    assert tenant.interface(first)["Attachment"]["Status"] == "attached"
    assert "eth1" in lab.run(instance, "ip", "link").stdout
    tenant.detach(first)
    assert tenant.interface(first)["Status"] == "detaching"
    assert worker.settle([instance], 20.0)
    assert "Attachment" not in tenant.interface(first)
    assert tenant.interface(first)["Status"] == "available"
    assert "eth1" not in lab.run(instance, "ip", "link").stdout
    # One that outlives its instance is available when nothing of the instance is left.
    second = tenant.attach(instance)
    assert worker.settle([instance], 20.0)
    tenant.terminate(instance)
    assert tenant.interface(second)["Status"] == "detaching"
    assert worker.settle([instance], 20.0)
    assert tenant.interface(second)["Status"] == "available"
    assert faulty.calls == [
        ("launch", instance),
        ("attach", first),
        ("detach", first),
        ("attach", second),
        ("terminate", instance),
    ]


def test_running_instance_that_is_gone_comes_back_as_it_was(
    lab: Lab, backend: NamespaceBackend, tenant: Any, start: Start, until: Until
) -> None:
    (instance,) = tenant.run()
    worker = start()
    assert worker.settle([instance], 20.0)
    before = lab.run(instance, "ip", "-o", "address", "show", "eth0").stdout.split()[3]
    mac = tenant.describe(instance)[0]["NetworkInterfaces"][0]["MacAddress"]
    netns.delete([guest_namespace(lab.name, instance)])
    until(lambda: instance in backend.list() and backend.list()[instance].state is Condition.RUNNING)
    assert lab.run(instance, "ip", "-o", "address", "show", "eth0").stdout.split()[3] == before
    assert mac in lab.run(instance, "ip", "link", "show", "eth0").stdout
    assert tenant.states(instance) == ["running"]


def test_failed_launch_ends_the_instance_and_frees_what_it_had(
    store: Store, faulty: Faulty, tenant: Any, start: Start
) -> None:
    create_pool(store, "public", "198.51.100.0/24", "198.51.100.1", Lab.gateway_mac, "198.51.100.64", "198.51.100.65")
    (instance,) = tenant.run()
    with store.write(rows.worker_call()) as txn:
        (interface,) = txn.connection.execute(select(interfaces)).all()
        held = {"interface": interface.id, "private_ip": interface.private_ip, "association": "eipassoc-1"}
        txn.connection.execute(update(addresses).where(addresses.c.public_ip == "198.51.100.64").values(**held))
        for kind, resource in (("network-interface", interface.id), ("instance", instance)):
            tag = {"resource": resource, "key": "Name", "value": "web", "kind": kind, "account": interface.account}
            txn.connection.execute(insert(tags).values(**tag))
    faulty.launch_fault = LaunchFailedError("Server.InsufficientInstanceCapacity", "no room " + "x" * 300)
    assert start().settle([instance], 20.0)
    (shown,) = tenant.describe(instance)
    assert shown["State"]["Name"] == "terminated"
    assert shown["StateReason"]["Code"] == "Server.InsufficientInstanceCapacity"
    assert shown["StateReason"]["Message"].startswith("Server.InsufficientInstanceCapacity: no room")
    with store.read(rows.worker_call()) as txn:
        execute = txn.connection.execute
        assert execute(select(interfaces)).all() == []
        assert execute(select(interface_groups)).all() == []
        assert execute(select(tags.c.resource)).scalars().all() == [instance]
        freed = execute(select(addresses).where(addresses.c.public_ip == "198.51.100.64")).one()
        assert (freed.interface, freed.private_ip, freed.association) == (None, None, None)
        last = store.revision()
        changed = execute(select(changes.c.kind, changes.c.object).where(changes.c.revision == last))
        assert set(changed) == {("interface", interface.id), ("address", "198.51.100.64")}


def test_launch_that_fails_after_terminate_keeps_the_users_reason(store: Store, tenant: Any) -> None:
    (instance,) = tenant.run()
    tenant.terminate(instance)
    with store.write(rows.worker_call()) as txn:
        rows.set_failed(txn, instance, "Server.InternalError", "late")
        rows.set_running(txn, instance)
    assert txn.revision is None
    assert tenant.describe(instance)[0]["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert tenant.states(instance) == ["shutting-down"]


def test_running_instance_is_not_given_up_when_it_cannot_be_relaunched(
    backend: NamespaceBackend, faulty: Faulty, lab: Lab, tenant: Any, start: Start, until: Until
) -> None:
    (instance,) = tenant.run()
    worker = start()
    assert worker.settle([instance], 20.0)
    faulty.launch_fault = LaunchFailedError("Server.InternalError", "this machine is ill")
    netns.delete([guest_namespace(lab.name, instance)])
    until(lambda: f"{instance}: Server.InternalError: this machine is ill" in worker.status()["problems"])
    assert tenant.states(instance) == ["running"]
    faulty.launch_fault = None
    until(lambda: instance in backend.list())
    until(lambda: worker.status()["problems"] == [])


def test_unexpected_error_of_a_backend_is_a_problem_and_no_end(
    faulty: Faulty, tenant: Any, start: Start, until: Until
) -> None:
    (instance,) = tenant.run()
    faulty.launch_fault = ZeroDivisionError("by zero")
    worker = start()
    until(lambda: f"{instance}: ZeroDivisionError: by zero" in worker.status()["problems"])
    assert not worker.settle([instance], 0.1)
    faulty.launch_fault = None
    assert worker.settle([instance], 20.0)


@pytest.mark.parametrize("fault", [BackendUnavailableError("the backend is down"), RuntimeError("garbage")])
def test_backend_that_cannot_list_ends_nothing(
    faulty: Faulty, tenant: Any, start: Start, until: Until, fault: Exception
) -> None:
    ids = tenant.run(2)
    worker = start()
    assert worker.settle(ids, 20.0)
    faulty.list_fault = fault
    until(lambda: worker.status()["problems"] != [])
    calls = len(faulty.calls)
    tenant.terminate(ids[0])
    _look_twice(worker)
    assert len(faulty.calls) == calls
    assert tenant.states(*ids) == ["shutting-down", "running"]
    faulty.list_fault = None
    assert worker.settle(ids, 20.0)
    assert tenant.states(*ids) == ["terminated", "running"]


def test_store_that_cannot_be_read_ends_nothing(
    store: Store, backend: NamespaceBackend, tenant: Any, start: Start, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tenant.run(2)
    worker = start()
    assert worker.settle(ids, 20.0)

    def refuse(_call: Call) -> Any:
        raise StoreUnavailableError("the database is down")

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", refuse)
        until(lambda: worker.status()["problems"] == ["the database is down"])
        with pytest.raises(StoreUnavailableError):
            worker.settle(ids, 1.0)
    assert sorted(backend.list()) == sorted(ids)
    until(lambda: worker.status()["problems"] == [])


def test_instances_that_the_store_does_not_know(
    store: Store, backend: NamespaceBackend, tenant: Any, start: Start, until: Until, spec: Callable[..., LaunchSpec]
) -> None:
    strangers = [spec("h1", 101), spec("h2", 102)]
    for stranger in strangers:
        backend.launch(stranger)
    worker = start()
    # An empty database is more likely the wrong one than right about them.
    until(lambda: "2 instances run that the database does not know" in "".join(worker.status()["problems"]))
    (mine,) = tenant.run()
    assert worker.settle([mine], 20.0)
    # Two strangers against one that is known: still more likely a database restored from an old copy.
    _look_twice(worker)
    assert len(backend.list()) == 3
    (other,) = tenant.run()
    assert worker.settle([other], 20.0)
    until(lambda: sorted(backend.list()) == sorted([mine, other]))
    until(lambda: worker.status() == {"busy": [], "problems": []})


def test_terminated_instance_that_still_runs_goes(
    store: Store, backend: NamespaceBackend, tenant: Any, start: Start, until: Until
) -> None:
    (instance,) = tenant.run()
    with store.read(rows.worker_call()) as txn:
        (row,) = rows.load(txn.connection)
    tenant.terminate(instance)
    with store.write(rows.worker_call()) as txn:
        rows.set_terminated(txn, instance)
    backend.launch(row.spec)
    start()
    until(lambda: backend.list() == {})
    assert tenant.states(instance) == ["terminated"]


def test_dead_hypervisor_delays_no_other_and_catches_up(
    lab: Lab, tenant: Any, start: Start, until: Until, store: Store
) -> None:
    lab.hypervisor("h1").kill(SERVER)
    lab.hypervisor("h1").kill(SWITCH)
    ids = tenant.run(2)
    with store.read(rows.worker_call()) as txn:
        hosts = {row.id: row.spec.host for row in rows.load(txn.connection)}
    assert sorted(hosts.values()) == ["h1", "h2"]
    (dead,) = [name for name in ids if hosts[name] == "h1"]
    (well,) = [name for name in ids if hosts[name] == "h2"]
    worker = start()
    assert worker.settle([well], 20.0)
    begin = time.monotonic()
    assert not worker.settle([dead], 0.2)
    assert time.monotonic() - begin < 5
    until(lambda: f"{dead}: hypervisor h1: ovs-vsctl" in "".join(worker.status()["problems"]))
    assert tenant.states(dead, well) == ["pending", "running"]
    lab.hypervisor("h1").start()
    assert worker.settle([dead], 30.0)
    assert tenant.states(dead, well) == ["running", "running"]


def test_unknown_ids_are_settled(start: Start) -> None:
    worker = start()
    assert worker.settle(["i-0", "nonsense"], 5.0)
    assert worker.settle([], 5.0)


def test_rows_of_another_process_are_found_without_a_hint(tenant: Any, start: Start, until: Until) -> None:
    start()
    (instance,) = tenant.run()
    until(lambda: tenant.states(instance) == ["running"])


def test_row_that_went_while_its_task_waited_is_forgotten(
    store: Store, faulty: Faulty, tenant: Any, start: Start, until: Until
) -> None:
    (instance,) = tenant.run()
    faulty.launch_fault = BackendUnavailableError("not now")
    worker = start()
    until(lambda: worker.status()["problems"] == [f"{instance}: not now"])
    with store.write(rows.worker_call()) as txn:
        for table in (interface_groups, interfaces, instances):
            txn.connection.execute(delete(table))
    until(lambda: worker.status()["problems"] == [])


def test_user_data_and_size_reach_the_backend(store: Store, tenant: Any) -> None:
    caller = Caller(tenant._caller.account_id, tenant._caller.access_key_id)
    params = {
        "ImageId": "ami-0123456789abcdef0",
        "InstanceType": "m1.small",
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": "aGk=",
    }
    call = Call(action="RunInstances", params=params, caller=caller, request_id="r")
    with store.write(call) as txn:
        launch.run(call, txn)
    with store.read(rows.worker_call()) as txn:
        (row,) = rows.load(txn.connection)
    assert (row.spec.image, row.spec.instance_type, row.spec.user_data) == (
        "ami-0123456789abcdef0",
        "m1.small",
        "aGk=",
    )
    (link,) = row.spec.interfaces
    assert (link.prefix_length, link.gateway, link.device_index) == (20, "172.31.0.1", 0)
