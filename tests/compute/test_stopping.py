"""Instances stopped, started and rebooted by the worker and the namespace backend, on real hypervisors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from econe_api.compute import netns, rows
from econe_api.compute.backend import Condition, LaunchFailedError, LaunchSpec
from econe_api.compute.consoles import MOST, Consoles
from econe_api.compute.namespaces import Host, NamespaceBackend, guest_namespace
from econe_api.compute.server import answer
from econe_api.compute.worker import Worker
from econe_api.store.attachments import set_attached
from econe_api.store.schema import interfaces
from econe_api.store.store import Store
from topologies.lab import Lab

Until = Callable[..., None]


@pytest.fixture
def speaking(lab: Lab, hosts: dict[str, Host], backend: NamespaceBackend, tmp_path: Path) -> NamespaceBackend:
    """A backend that keeps consoles; ``backend`` cleans up after it."""
    return NamespaceBackend(hosts.values(), tmp_path / "consoles")


@pytest.fixture
def begin(store: Store, speaking: NamespaceBackend) -> Iterator[Callable[[], Worker]]:
    running: list[tuple[Worker, threading.Thread]] = []

    def start() -> Worker:
        made = Worker(store, speaking, 0.05)
        running.append((made, threading.Thread(target=made.run)))
        running[-1][1].start()
        return made

    yield start
    for made, thread in running:
        made.stop()
        thread.join(60)


@pytest.fixture
def worker(begin: Callable[[], Worker]) -> Worker:
    return begin()


@pytest.mark.lab
def test_stopped_and_started_as_it_was(
    lab: Lab, speaking: NamespaceBackend, tenant: Any, worker: Worker, until: Until
) -> None:
    (instance,) = tenant.run()
    assert worker.settle([instance], 20.0)
    before = lab.run(instance, "ip", "-o", "address", "show", "eth0").stdout.split()[3]
    link = lab.run(instance, "ip", "-o", "link", "show", "eth0").stdout.split("link/ether ")[1].split()[0]
    tenant.call("StopInstances", InstanceIds=[instance])
    assert tenant.states(instance) == ["stopping"]
    assert worker.settle([instance], 20.0)
    assert tenant.states(instance) == ["stopped"]
    assert speaking.list() == {}
    for switch in lab.hypervisors.values():
        assert switch.vsctl("list-ports", "br-int") == "fab0\n"
    tenant.call("StartInstances", InstanceIds=[instance])
    assert worker.settle([instance], 20.0)
    assert tenant.states(instance) == ["running"]
    assert lab.run(instance, "ip", "-o", "address", "show", "eth0").stdout.split()[3] == before
    assert link in lab.run(instance, "ip", "-o", "link", "show", "eth0").stdout


@pytest.mark.lab
def test_what_runs_though_its_row_is_stopped_is_stopped_again(
    store: Store, speaking: NamespaceBackend, tenant: Any, begin: Callable[[], Worker], until: Until
) -> None:
    (instance,) = tenant.run()
    with store.write(rows.worker_call()) as txn:
        (row,) = rows.load(txn.connection)
        rows.set_running(txn, instance)
    speaking.launch(row.spec)
    tenant.call("StopInstances", InstanceIds=[instance])
    with store.write(rows.worker_call()) as txn:
        rows.set_stopped(txn, instance)
    begin()
    until(lambda: speaking.list() == {})
    assert tenant.states(instance) == ["stopped"]


def test_outlines_and_named_rows_are_those_of_all(store: Store, tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tenant.run(4)
    with store.write(rows.worker_call()) as txn:
        for name in ids[:3]:
            rows.set_running(txn, name)
            everything = [link.id for row in rows.load(txn.connection) for link in row.attaching]
            set_attached(txn, everything)
    tenant.call("RebootInstances", InstanceIds=[ids[0]])
    tenant.call("TerminateInstances", InstanceIds=[ids[1]])
    with store.read(rows.worker_call()) as txn:
        everybody = rows.load(txn.connection)
        assert {row.state for row in everybody} == {rows.PENDING, rows.RUNNING, rows.SHUTTING_DOWN}
        assert sorted(rows.outlines(txn.connection)) == sorted(row.outline for row in everybody)
        assert rows.load_open(txn.connection) == [row for row in everybody if row.id != ids[2]]
        assert rows.load_named(txn.connection, ids[2:]) == [row for row in everybody if row.id in ids[2:]]
        assert rows.load_named(txn.connection, []) == []
        monkeypatch.setattr(rows, "_FEW", 1)
        assert rows.load_named(txn.connection, ids[2:]) == [row for row in everybody if row.id in ids[2:]]


@pytest.mark.lab
def test_reboot_changes_processes_and_nothing_else(
    lab: Lab, store: Store, speaking: NamespaceBackend, tenant: Any, worker: Worker
) -> None:
    (instance,) = tenant.run()
    assert worker.settle([instance], 20.0)
    name = guest_namespace(lab.name, instance)
    pids, ports = netns.processes([name]), lab.hypervisor("h1").vsctl("show")
    tenant.call("RebootInstances", InstanceIds=[instance])
    assert worker.settle([instance], 20.0)
    assert netns.processes([name]).keys().isdisjoint(pids)
    assert lab.hypervisor("h1").vsctl("show") == ports
    assert speaking.list()[instance].state is Condition.RUNNING
    assert tenant.states(instance) == ["running"]
    with store.read(rows.worker_call()) as txn:
        (row,) = rows.load(txn.connection)
    assert not row.reboot


@pytest.mark.lab
def test_reboot_of_what_is_gone_is_a_launch(speaking: NamespaceBackend, spec: Callable[..., LaunchSpec]) -> None:
    wanted = spec("h1", 81)
    speaking.reboot(wanted)
    assert speaking.list()[wanted.instance_id].state is Condition.RUNNING


@pytest.mark.lab
def test_start_that_fails_leaves_it_stopped(
    speaking: NamespaceBackend, tenant: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (instance,) = tenant.run()
    assert worker.settle([instance], 20.0)
    tenant.call("StopInstances", InstanceIds=[instance])
    assert worker.settle([instance], 20.0)

    def fail(_spec: LaunchSpec) -> None:
        raise LaunchFailedError("Server.InternalError", "no luck")

    with monkeypatch.context() as patch:
        patch.setattr(speaking, "launch", fail)
        tenant.call("StartInstances", InstanceIds=[instance])
        assert worker.settle([instance], 20.0)
    (shown,) = tenant.describe(instance)
    assert (shown["State"]["Name"], shown["StateReason"]["Code"]) == ("stopped", "Server.InternalError")
    tenant.call("StartInstances", InstanceIds=[instance])
    assert worker.settle([instance], 20.0)
    assert tenant.states(instance) == ["running"]


@pytest.mark.lab
def test_socket_tells_what_is_there_and_what_it_says(tenant: Any, worker: Worker, until: Until) -> None:
    (instance,) = tenant.run()
    assert worker.settle([instance], 20.0)
    asked = {"op": "observed", "instances": [instance, "i-0"]}
    until(lambda: answer(worker, asked) == {"ok": True, "observed": {instance: "running", "i-0": "absent"}})
    said = answer(worker, {"op": "console", "instance": instance})
    assert said["ok"]
    assert said["output"].startswith(f"{instance} boots from ami-".encode())
    assert said["time"] > 0
    assert answer(worker, {"op": "console", "instance": "../../etc/passwd"}) == {
        "ok": True,
        "output": None,
        "time": None,
    }
    assert not answer(worker, {"op": "observed", "instances": [1]})["ok"]


@pytest.mark.lab
def test_what_is_there_is_not_known_before_the_first_look(store: Store, backend: NamespaceBackend) -> None:
    assert answer(Worker(store, backend), {"op": "observed", "instances": []})["ok"] is False


def test_console_shows_its_end_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("econe_api.compute.consoles._KEPT", 3)
    consoles = Consoles(tmp_path)
    for number in range(5):
        consoles.fresh(LaunchSpec(f"i-{number}", "h1", "ami-1", "t2.micro", None, ()))
    assert len(list(tmp_path.iterdir())) == 3
    with consoles.fresh(LaunchSpec("i-9", "h1", "ami-1", "t2.micro", None, ())).open("ab") as file:
        file.write(b"x" * MOST + b"end\n")
    shown = consoles.read("i-9")
    assert shown is not None
    assert (len(shown.output), shown.output[-4:]) == (MOST, b"end\n")
    assert consoles.read("i-8") is None
    assert Consoles(None).read("i-9") is None
    occupied = tmp_path / "i-9.log"
    assert str(Consoles(occupied).fresh(LaunchSpec("i-9", "h1", "ami-1", "t2.micro", None, ()))) == os.devnull


@pytest.mark.parametrize(("behavior", "state", "kept"), [("stop", "stopping", 1), ("terminate", "shutting-down", 0)])
def test_instance_that_shuts_itself_down(store: Store, tenant: Any, behavior: str, state: str, kept: int) -> None:
    (instance,) = tenant.run()
    for protection in ("DisableApiTermination", "DisableApiStop"):
        tenant.call("ModifyInstanceAttribute", InstanceId=instance, **{protection: {"Value": True}})
    asked = {"InstanceInitiatedShutdownBehavior": {"Value": behavior}}
    tenant.call("ModifyInstanceAttribute", InstanceId=instance, **asked)
    with store.write(rows.worker_call()) as txn:
        rows.set_shut_down_by_guest(txn, instance)  # it does not run yet, so it is something else that was seen
    assert tenant.states(instance) == ["pending"]
    with store.write(rows.worker_call()) as txn:
        rows.set_running(txn, instance)
    with store.write(rows.worker_call()) as txn:
        rows.set_shut_down_by_guest(txn, instance)
    (shown,) = tenant.describe(instance)
    assert shown["State"]["Name"] == state
    assert shown["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    with store.read(rows.worker_call()) as txn:
        assert len(txn.connection.execute(select(interfaces)).all()) == kept
    with store.write(rows.worker_call()) as txn:
        rows.set_stopped(txn, instance)
        rows.set_terminated(txn, instance)
    assert tenant.states(instance) == [{"stop": "stopped", "terminate": "terminated"}[behavior]]
