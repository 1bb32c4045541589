"""Instances that are VMs of OpenNebula: the API's actions, the worker, and a small oned that speaks its protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from econe_api.store.opennebula_tables import opennebula_vms
from econe_api.store.schema import instances

Until = Callable[..., None]


@pytest.fixture
def until() -> Until:
    def wait(condition: Callable[[], Any], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not become true in time"
            time.sleep(0.01)

    return wait


def test_an_instance_is_a_vm_of_its_owners_on_the_host_that_was_chosen(cloud: Any) -> None:
    (instance,) = cloud.running()
    vm, shown = cloud.vm(instance), cloud.describe(instance)
    assert (vm.owner.name, vm.name, vm.own.get("SLUICE_INSTANCE")) == ("alice", instance, instance)
    assert vm.hosts == [{"h1": "node-a", "h2": "node-b"}[_host(cloud, instance)]]
    assert (vm.template.get("VCPU"), vm.template.get("MEMORY")) == ("1", "1024")
    (nic,) = vm.nics
    (interface,) = shown["NetworkInterfaces"]
    assert nic["SLUICE_INTERFACE"] == interface["NetworkInterfaceId"]
    assert nic["MAC"] == interface["MacAddress"]
    made = [caller for method, caller in cloud.server.calls if method == "one.template.instantiate"]
    assert made == ["alice"]


def _host(cloud: Any, instance: str) -> str:
    with cloud.store.engine.connect() as connection:
        return str(connection.scalar(select(instances.c.host).filter_by(id=instance)))


def test_macs_are_in_the_store_before_the_vm_leaves_hold(cloud: Any) -> None:
    """So that the filters of a port are there when its first packet is."""
    seen: list[tuple[str, str]] = []

    def look(vm: Any) -> None:
        if (vm.state, vm.lcm) == (3, 2):
            shown = cloud.describe(vm.name)["NetworkInterfaces"][0]["MacAddress"]
            seen.append((shown, vm.nics[0]["MAC"]))

    cloud.oned.changed.append(look)
    cloud.running()
    assert [shown == given for shown, given in seen] == [True]


def test_stop_start_reboot_terminate(cloud: Any) -> None:
    (instance,) = cloud.running()
    vm = cloud.vm(instance)
    _, association = cloud.associated(instance)
    cloud.call("StopInstances", InstanceIds=[instance])
    cloud.await_state("stopped", instance)
    assert vm.state == 8
    assert association() is not None
    assert cloud.oned.networks[7].leases  # kept while stopped
    cloud.call("StartInstances", InstanceIds=[instance])
    cloud.await_state("running", instance)
    cloud.call("RebootInstances", InstanceIds=[instance])
    cloud.workers[0][0].settle([instance], 30)
    assert ("one.vm.action", "alice") in cloud.server.calls
    cloud.call("TerminateInstances", InstanceIds=[instance])
    cloud.await_state("terminated", instance)
    assert vm.state == 6
    assert association() is None  # econe's stayed
    assert not cloud.oned.networks[7].leases
    assert len(cloud.oned.vms) == 1


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0], ids=["no event", "every other event", "every event"])
def test_a_vm_that_goes_takes_its_association_along_also_when_events_are_lost(
    make_cloud: Any, bus_of: Any, until: Until, lost: float
) -> None:
    """An administrator ends the VM in OpenNebula: the periodic reading finds out whatever the bus has said."""
    cloud = make_cloud(resync=0.3)
    bus = bus_of(cloud.oned, lost)
    cloud.config = _with_events(cloud.config, bus.address)
    cloud.start()
    staying, going = cloud.running(2)
    public, association = cloud.associated(going)
    _, other = cloud.associated(staying)
    cloud.oned.act(cloud.oned.users[0], "terminate-hard", cloud.vm(going).id)
    cloud.await_state("terminated", going)
    assert association() is None
    assert other() is not None
    assert cloud.state(staying) == "running"
    assert cloud.describe(going)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    # The address is the account's still, and free to be used again.
    shown = cloud.call("DescribeAddresses", PublicIps=[public])["Addresses"][0]
    cloud.call("AssociateAddress", AllocationId=shown["AllocationId"], InstanceId=staying, AllowReassociation=True)
    until(lambda: _bound(cloud) == 1)


def _with_events(config: Any, address: str) -> Any:
    return replace(config, opennebula=replace(config.opennebula, events=address))


def _bound(cloud: Any) -> int:
    with cloud.store.engine.connect() as connection:
        return len(connection.execute(select(opennebula_vms)).all())


def test_an_event_is_enough_long_before_the_next_reading(make_cloud: Any, bus_of: Any, until: Until) -> None:
    cloud = make_cloud(resync=3600)
    bus = bus_of(cloud.oned)
    cloud.config = _with_events(cloud.config, bus.address)
    cloud.start()
    _subscribe(cloud, bus, until)
    staying, going = cloud.running(2)
    cloud.oned.act(cloud.oned.users[0], "terminate-hard", cloud.vm(going).id)
    cloud.await_state("terminated", going)
    assert cloud.state(staying) == "running"


def _subscribe(cloud: Any, bus: Any, until: Until) -> None:
    """A subscription takes a moment, and until it is there events go nowhere: wait for one that is followed."""
    vm = cloud.vm(cloud.running()[0])

    def follows() -> bool:
        before = len(cloud.server.calls)
        bus.publish(vm)
        time.sleep(0.05)
        return ("one.vm.info", "oneadmin") in cloud.server.calls[before:]

    until(follows)


def test_a_vm_that_is_stopped_started_and_moved_in_opennebula_is_so_in_ec2(cloud: Any, until: Until) -> None:
    (instance,) = cloud.running()
    vm = cloud.vm(instance)
    _, association = cloud.associated(instance)
    alice = cloud.oned.user("alice")
    cloud.oned.act(alice, "poweroff", vm.id)
    cloud.await_state("stopped", instance)
    assert association() is not None
    cloud.oned.act(alice, "resume", vm.id)
    cloud.await_state("running", instance)
    other = "node-b" if vm.hosts[-1] == "node-a" else "node-a"
    vm.hosts.append(other)
    cloud.oned.set_state(vm, 3, 4)  # moving: the last record is where it goes to
    time.sleep(0.2)
    assert _host(cloud, instance) != {"node-a": "h1", "node-b": "h2"}[other]
    cloud.oned.set_state(vm, 3, 3)
    until(lambda: _host(cloud, instance) == {"node-a": "h1", "node-b": "h2"}[other])
    assert association() is not None


def test_a_lost_host_takes_nothing_away(cloud: Any) -> None:
    (instance,) = cloud.running()
    _, association = cloud.associated(instance)
    cloud.oned.set_state(cloud.vm(instance), 3, 16)  # UNKNOWN
    time.sleep(0.3)
    assert cloud.state(instance) == "running"
    assert association() is not None


@pytest.mark.parametrize("trouble", ["down", "slow", "garbage", "empty", "cut", "lost"])
def test_an_oned_in_trouble_ends_nothing(make_cloud: Any, until: Until, trouble: str) -> None:
    """Down, slow, talking nonsense, with an empty or cut list, or with the database of another cloud."""
    cloud = make_cloud(timeout=1)
    worker = cloud.start()
    ids = cloud.running(3)
    associations = [cloud.associated(instance)[1] for instance in ids]
    revision = cloud.store.revision()
    cloud.server.trouble = trouble
    if trouble in ("empty", "cut"):  # each VM is asked for, and is there
        time.sleep(0.4)
        assert worker.status().get("down") is None
    elif trouble == "lost":
        until(lambda: any("left alone" in text for text in worker.status()["problems"]))
    else:
        until(lambda: worker.status().get("down") is not None)
        assert any("one.vm" in text for text in worker.status()["problems"])
    assert [cloud.state(instance) for instance in ids] == ["running"] * 3
    assert all(association() for association in associations)
    assert cloud.store.revision() == revision  # nothing for the data plane to do
    cloud.server.trouble = ""
    until(lambda: worker.status()["problems"] == [])
    assert [vm.state for vm in cloud.oned.vms.values()] == [3, 3, 3]


def test_one_instance_and_the_database_of_another_cloud(make_cloud: Any, until: Until) -> None:
    """An oned that has never counted so far cannot have lost the VM."""
    cloud = make_cloud()
    worker = cloud.start()
    (instance,) = cloud.running()
    cloud.server.trouble = "lost"
    until(lambda: any("left alone" in text for text in worker.status()["problems"]))
    assert cloud.state(instance) == "running"


def test_a_vm_whose_record_was_purged_is_gone(cloud: Any) -> None:
    first, second, third = sorted(cloud.running(3), key=lambda instance: cloud.vm(instance).id)
    del cloud.oned.vms[cloud.vm(first).id]
    cloud.await_state("terminated", first)
    assert [cloud.state(each) for each in (second, third)] == ["running", "running"]


def test_ids_of_another_oned_are_not_taken_for_ours(make_cloud: Any, until: Until) -> None:
    """Same id, but made at another moment: another VM."""
    cloud = make_cloud()
    worker = cloud.start()
    ids = cloud.running(2)
    for vm in cloud.oned.vms.values():
        vm.born -= 1000
        vm.state = 6
    until(lambda: worker.status()["problems"])
    assert [cloud.state(each) for each in ids] == ["running", "running"]


def test_a_worker_killed_between_making_and_noting_a_vm_makes_no_second_one(make_cloud: Any) -> None:
    cloud = make_cloud()
    cloud.start()
    (instance,) = cloud.running()
    vm = cloud.vm(instance)
    cloud.stop()
    with cloud.store.engine.begin() as connection:
        connection.execute(delete(opennebula_vms))
    cloud.start()
    time.sleep(0.3)
    assert list(cloud.oned.vms) == [vm.id]
    assert cloud.vm(instance) is vm
    assert cloud.state(instance) == "running"


def test_somebody_elses_vm_that_calls_itself_an_instance_is_not_taken_for_it(make_cloud: Any) -> None:
    cloud = make_cloud()
    (instance,) = cloud.run()
    bob = cloud.oned.user("bob")
    cloud.oned.instantiate(bob, 3, "trap", True, f'SLUICE_INSTANCE="{instance}"')
    cloud.start()
    cloud.await_state("running", instance)
    assert cloud.vm(instance).owner.name == "alice"
    assert cloud.oned.vms[0].state == 2


def test_a_quota_of_the_users_ends_the_launch_with_its_reason(cloud: Any) -> None:
    cloud.oned.user("alice").quotas[("VMS", -1)] = 1
    cloud.running()
    (refused,) = cloud.run()
    cloud.await_state("terminated", refused)
    reason = cloud.describe(refused)["StateReason"]
    assert reason["Code"] == "Client.InstanceLimitExceeded"
    assert "limit of 1 reached for VMS quota" in reason["Message"]


def test_a_boot_that_fails_leaves_nothing_and_says_why(cloud: Any) -> None:
    cloud.oned.fail_boots = True
    (instance,) = cloud.run()
    cloud.await_state("terminated", instance)
    assert "BOOT_FAILURE" in cloud.describe(instance)["StateReason"]["Message"]
    assert [vm.state for vm in cloud.oned.vms.values()] == [6]
    assert not cloud.oned.networks[7].leases


def test_no_template_for_an_image(make_cloud: Any) -> None:
    cloud = make_cloud(template=-1, templates={"ami-other": "3"})
    cloud.start()
    (instance,) = cloud.run()
    cloud.await_state("terminated", instance)
    assert cloud.describe(instance)["StateReason"]["Code"] == "Client.InvalidAMIID.NotFound"


def test_a_host_that_oned_does_not_know_is_no_capacity(cloud: Any) -> None:
    cloud.oned.hosts.clear()
    (instance,) = cloud.run()
    cloud.await_state("terminated", instance)
    assert cloud.describe(instance)["StateReason"]["Code"] == "Server.InsufficientInstanceCapacity"
    assert [vm.state for vm in cloud.oned.vms.values()] == [6]


def test_oneds_scheduler_may_choose(make_cloud: Any, until: Until) -> None:
    cloud = make_cloud(placement="opennebula")
    cloud.start()
    (instance,) = cloud.run()
    until(lambda: [vm.state for vm in cloud.oned.vms.values()] == [1])
    cloud.oned.deploy(cloud.oned.users[0], 0, 1)
    cloud.await_state("running", instance)
    until(lambda: _host(cloud, instance) == "h2")


def test_a_launch_that_nobody_schedules_is_given_up(make_cloud: Any) -> None:
    cloud = make_cloud(placement="opennebula", launch_timeout=1)
    cloud.start()
    (instance,) = cloud.run()
    cloud.await_state("terminated", instance)
    assert cloud.describe(instance)["StateReason"]["Code"] == "Server.InsufficientInstanceCapacity"
    assert [vm.state for vm in cloud.oned.vms.values()] == [6]


def test_user_data_goes_into_the_context_beside_what_the_template_has(cloud: Any) -> None:
    (instance,) = cloud.running(UserData="aGVsbG8=")
    (context,) = cloud.vm(instance).template.vectors("CONTEXT")
    assert context["USER_DATA"] == "aGVsbG8="
    assert context["SET_HOSTNAME"] == "$NAME"


def test_interfaces_come_and_go(cloud: Any, until: Until) -> None:
    (instance,) = cloud.running()
    subnet = cloud.describe(instance)["SubnetId"]
    made = cloud.call("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    cloud.call("AttachNetworkInterface", NetworkInterfaceId=made, InstanceId=instance, DeviceIndex=1)
    vm = cloud.vm(instance)

    def shown() -> Any:
        return cloud.call("DescribeNetworkInterfaces", NetworkInterfaceIds=[made])["NetworkInterfaces"][0]

    until(lambda: shown()["Attachment"]["Status"] == "attached")
    assert [nic["SLUICE_INTERFACE"] for nic in vm.nics][1] == made
    assert vm.nics[1]["MAC"] == shown()["MacAddress"]
    cloud.call("DetachNetworkInterface", AttachmentId=shown()["Attachment"]["AttachmentId"])
    until(lambda: shown()["Status"] == "available")
    assert len(vm.nics) == 1


class _Slow:
    """A backend whose answer to what there is takes a while to arrive."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def list(self) -> Any:
        found = self.real.list()
        time.sleep(0.2)
        return found


def test_what_was_seen_before_a_launch_failed_does_not_launch_it_again(make_cloud: Any, until: Until) -> None:
    cloud = make_cloud()
    cloud.oned.fail_boots = True
    worker = cloud.start()
    worker._backend = _Slow(worker._backend)
    (instance,) = cloud.run()
    cloud.await_state("terminated", instance)
    time.sleep(0.5)
    assert len(cloud.oned.vms) == 1
