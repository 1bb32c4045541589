"""What the backend asks of oned has the form of calls that a real oned 6.10 has answered."""

from __future__ import annotations

import time
from typing import Any

from econe_api.opennebula.accounts import follow
from econe_api.opennebula.rpc import Client
from econe_api.opennebula.session import service_account


def test_every_call_has_the_parameters_of_a_recorded_one(recordings: Any, make_cloud: Any) -> None:
    recorded: dict[str, set[tuple[type, ...]]] = {}
    for name in recordings.names():
        if "_fault_" not in name:
            method, parameters = recordings.request(name)
            recorded.setdefault(method, set()).add(tuple(type(each) for each in parameters))
    sent = _life(make_cloud())
    assert {method for method, _ in sent} >= {
        *("one.template.instantiate", "one.vm.deploy", "one.vm.action", "one.vm.info", "one.vmpool.infoextended"),
        *("one.vm.attachnic", "one.vm.detachnic", "one.userpool.info", "one.hostpool.info", "one.template.info"),
    }
    unlike = [(method, types) for method, types in sent if types not in recorded.get(method, set())]
    assert unlike == []


def _life(cloud: Any) -> set[tuple[str, tuple[type, ...]]]:
    """Let an instance go through all that may happen to it; gives the calls."""
    cloud.start()
    (instance,) = cloud.running(UserData="aGVsbG8=")
    subnet = cloud.describe(instance)["SubnetId"]
    made = cloud.call("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    cloud.call("AttachNetworkInterface", NetworkInterfaceId=made, InstanceId=instance, DeviceIndex=1)
    _settled(cloud, instance)
    shown = cloud.call("DescribeNetworkInterfaces", NetworkInterfaceIds=[made])["NetworkInterfaces"][0]
    cloud.call("DetachNetworkInterface", AttachmentId=shown["Attachment"]["AttachmentId"])
    _settled(cloud, instance)
    cloud.call("StopInstances", InstanceIds=[instance])
    cloud.await_state("stopped", instance)
    cloud.call("StartInstances", InstanceIds=[instance])
    cloud.await_state("running", instance)
    cloud.call("TerminateInstances", InstanceIds=[instance])
    cloud.await_state("terminated", instance)
    settings = cloud.config.opennebula
    follow(cloud.store, Client(settings.endpoint), service_account(settings.secret_file, settings.administrator))
    return set(cloud.server.shapes)


def _settled(cloud: Any, instance: str) -> None:
    deadline = time.monotonic() + 30
    while not cloud.workers[0][0].settle([instance], 5):
        assert time.monotonic() < deadline
