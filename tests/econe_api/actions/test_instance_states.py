"""Instances stopped, started, rebooted, protected."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from econe_api.compute import rows
from econe_api.store.schema import instances

NO_INSTANCE = "i-0000000000000dead"
ACTIONS = ("StartInstances", "StopInstances", "RebootInstances", "MonitorInstances", "UnmonitorInstances")


def _moves(answer: dict[str, Any]) -> list[tuple[str, str]]:
    (changes,) = answer.values()
    return [(change["PreviousState"]["Name"], change["CurrentState"]["Name"]) for change in changes]


def _shown(tenant: Any, instance: str) -> dict[str, Any]:
    shown: dict[str, Any] = tenant("DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    return shown


def test_a_stopped_instance_keeps_what_it_has(tenant: Any, touched: Any, clock: Any, cloud: Any) -> None:
    made = tenant.run()
    instance = made["InstanceId"]
    address = tenant("AllocateAddress")["PublicIp"]
    tenant("AssociateAddress", InstanceId=instance, PublicIp=address)
    before, revision = _shown(tenant, instance), cloud.revision()
    assert _moves(tenant("StopInstances", InstanceIds=[instance])) == [("running", "stopping")]
    assert _shown(tenant, instance)["StateTransitionReason"] == "User initiated"
    assert _moves(tenant("StopInstances", InstanceIds=[instance], Force=True)) == [("stopping", "stopping")]
    clock.advance(minutes=3)
    with cloud.write(rows.worker_call()) as txn:
        rows.set_stopped(txn, instance)
    stopped = _shown(tenant, instance)
    assert stopped["State"] == {"Code": 80, "Name": "stopped"}
    assert stopped["StateTransitionReason"] == "User initiated (2024-05-06 07:11:09 GMT)"
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    for name in ("NetworkInterfaces", "PrivateIpAddress", "PublicIpAddress", "SecurityGroups", "SubnetId"):
        assert stopped[name] == before[name], name
    assert _moves(tenant("StopInstances", InstanceIds=[instance])) == [("stopped", "stopped")]
    assert _moves(tenant("StartInstances", InstanceIds=[instance])) == [("stopped", "pending")]
    assert _moves(tenant("StartInstances", InstanceIds=[instance])) == [("pending", "pending")]
    with cloud.write(rows.worker_call()) as txn:
        rows.set_running(txn, instance)
    again = _shown(tenant, instance)
    assert again["LaunchTime"] == clock.now
    assert "StateReason" not in again
    assert again | {"LaunchTime": before["LaunchTime"]} == before
    assert _moves(tenant("StartInstances", InstanceIds=[instance])) == [("running", "running")]
    assert cloud.revision() == revision  # the data plane follows ports, not states


def test_a_stopped_instance_can_be_ended(tenant: Any, states: Any) -> None:
    instance = tenant.run()["InstanceId"]
    address = tenant("AllocateAddress")["PublicIp"]
    tenant("AssociateAddress", InstanceId=instance, PublicIp=address)
    states("stopped", instance)
    assert _moves(tenant("TerminateInstances", InstanceIds=[instance])) == [("stopped", "shutting-down")]
    assert "AssociationId" not in tenant("DescribeAddresses")["Addresses"][0]


def test_a_start_that_fails_leaves_the_instance_stopped(tenant: Any, states: Any, clock: Any, cloud: Any) -> None:
    instance = tenant.run()["InstanceId"]
    states("stopped", instance, stopped=clock.now)
    tenant("StartInstances", InstanceIds=[instance])
    with cloud.write(rows.worker_call()) as txn:
        rows.set_failed(txn, instance, "Server.InternalError", "no room")
    shown = _shown(tenant, instance)
    assert (shown["State"]["Name"], shown["StateReason"]["Code"]) == ("stopped", "Server.InternalError")
    assert shown["NetworkInterfaces"]


def test_reboots_are_counted(tenant: Any, cloud: Any) -> None:
    instance = tenant.run()["InstanceId"]

    def open_() -> bool:
        with cloud.read(rows.worker_call()) as txn:
            (row,) = rows.load(txn.connection)
            assert rows.settled(txn.connection, [instance]) is not row.reboot
            return bool(row.reboot)

    assert not open_()
    assert tenant("RebootInstances", InstanceIds=[instance]) == {}
    assert open_()
    with cloud.write(rows.worker_call()) as txn:
        rows.set_rebooted(txn, instance, 1)
    assert not open_()
    for _ in range(2):
        tenant("RebootInstances", InstanceIds=[instance])
    with cloud.write(rows.worker_call()) as txn:
        rows.set_rebooted(txn, instance, 2)
    assert open_()  # the third is still to be done


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_states_that_do_not_allow_it(tenant: Any, stranger: Any, refused: Any, states: Any) -> None:
    mine, theirs = tenant.run()["InstanceId"], stranger.run()["InstanceId"]
    for action in ACTIONS:
        for code, ids in (
            ("InvalidParameterCombination", []),
            ("InvalidInstanceID.NotFound", [mine, theirs]),
            ("InvalidInstanceID.NotFound", [NO_INSTANCE]),
            ("InvalidInstanceID.Malformed", ["rubbish"]),
        ):
            refused(tenant, code, action, InstanceIds=ids)
    for state, action, code in (
        ("pending", "StopInstances", "IncorrectInstanceState"),
        ("shutting-down", "StopInstances", "IncorrectInstanceState"),
        ("stopping", "StartInstances", "IncorrectInstanceState"),
        ("shutting-down", "StartInstances", "IncorrectInstanceState"),
        ("stopped", "RebootInstances", "IncorrectState"),
        ("stopping", "RebootInstances", "IncorrectState"),
    ):
        states(state, mine)
        error = refused(tenant, code, action, InstanceIds=[mine])
        assert mine in error.message
    states("running", mine)
    refused(tenant, "UnsupportedHibernationConfiguration", "StopInstances", InstanceIds=[mine], Hibernate=True)


def test_protection(tenant: Any, refused: Any) -> None:
    mine = tenant.run(DisableApiTermination=True, DisableApiStop=True, InstanceInitiatedShutdownBehavior="terminate")
    other = tenant.run()["InstanceId"]
    ids = [other, mine["InstanceId"]]
    error = refused(tenant, "OperationNotPermitted", "TerminateInstances", InstanceIds=ids)
    assert error.message == (
        f"The instance '{ids[1]}' may not be terminated. "
        "Modify its 'disableApiTermination' instance attribute and try again."
    )
    error = refused(tenant, "OperationNotPermitted", "StopInstances", InstanceIds=ids, Force=True)
    assert "Modify its 'disableApiStop' instance attribute" in error.message
    tenant("ModifyInstanceAttribute", InstanceId=ids[1], DisableApiTermination={"Value": False})
    error = refused(tenant, "OperationNotPermitted", "TerminateInstances", InstanceIds=ids)
    assert "Modify its 'disableApiStop' instance attribute" in error.message
    tenant("ModifyInstanceAttribute", InstanceId=ids[1], Attribute="disableApiStop", Value="false")
    tenant("StopInstances", InstanceIds=ids)
    tenant("TerminateInstances", InstanceIds=ids)


def test_monitoring(tenant: Any, cloud: Any) -> None:
    one = tenant.run(Monitoring={"Enabled": True})["InstanceId"]
    two = tenant.run()["InstanceId"]
    assert _shown(tenant, one)["Monitoring"] == {"State": "enabled"}
    answer = tenant("MonitorInstances", InstanceIds=[two])
    assert answer == {"InstanceMonitorings": [{"InstanceId": two, "Monitoring": {"State": "enabled"}}]}
    tenant("UnmonitorInstances", InstanceIds=[one])
    with cloud.engine.connect() as connection:
        found = {row.id: row.monitoring for row in connection.execute(select(instances.c.id, instances.c.monitoring))}
    assert found == {one: False, two: True}
