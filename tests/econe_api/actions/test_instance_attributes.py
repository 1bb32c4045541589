"""One attribute of an instance: shown, changed in the old and in the new style, reset."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

NO_INSTANCE = "i-0000000000000dead"
SCRIPT = b"#!/bin/sh\n"
SHOWN = {
    "blockDeviceMapping": ("BlockDeviceMappings", []),
    "disableApiStop": ("DisableApiStop", {"Value": False}),
    "disableApiTermination": ("DisableApiTermination", {"Value": False}),
    "ebsOptimized": ("EbsOptimized", {"Value": False}),
    "enaSupport": ("EnaSupport", {"Value": False}),
    "enclaveOptions": ("EnclaveOptions", {"Enabled": False}),
    "instanceInitiatedShutdownBehavior": ("InstanceInitiatedShutdownBehavior", {"Value": "stop"}),
    "instanceType": ("InstanceType", {"Value": "t2.nano"}),
    "kernel": ("KernelId", {}),
    "productCodes": ("ProductCodes", []),
    "ramdisk": ("RamdiskId", {}),
    "rootDeviceName": ("RootDeviceName", {"Value": "/dev/xvda"}),
    "sourceDestCheck": ("SourceDestCheck", {"Value": True}),
    "sriovNetSupport": ("SriovNetSupport", {}),
    "userData": ("UserData", {}),
}


def _show(tenant: Any, instance: str, attribute: str) -> Any:
    answer = tenant("DescribeInstanceAttribute", InstanceId=instance, Attribute=attribute)
    assert answer.pop("InstanceId") == instance
    ((_, value),) = answer.items()
    return value


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_attribute_is_shown(tenant: Any, stranger: Any, refused: Any) -> None:
    web = tenant.group("web")
    mine, theirs = tenant.run(SecurityGroupIds=[web])["InstanceId"], stranger.run()["InstanceId"]
    for attribute, (member, value) in SHOWN.items():
        answer = tenant("DescribeInstanceAttribute", InstanceId=mine, Attribute=attribute)
        assert answer == {"InstanceId": mine, member: value}
    assert _show(tenant, mine, "groupSet") == [{"GroupId": web, "GroupName": "web"}]
    for code, params in (
        ("MissingParameter", {"InstanceId": mine}),
        ("MissingParameter", {"Attribute": "kernel"}),
        ("InvalidParameterValue", {"InstanceId": mine, "Attribute": "colour"}),
        ("InvalidInstanceID.NotFound", {"InstanceId": theirs, "Attribute": "kernel"}),
        ("InvalidInstanceID.NotFound", {"InstanceId": NO_INSTANCE, "Attribute": "kernel"}),
        ("InvalidInstanceID.Malformed", {"InstanceId": "rubbish", "Attribute": "kernel"}),
    ):
        refused(tenant, code, "DescribeInstanceAttribute", **params)


def test_changes_in_both_styles(tenant: Any, states: Any) -> None:
    mine = tenant.run(UserData=base64.b64encode(b"old").decode())["InstanceId"]
    for params, attribute, value in (
        ({"DisableApiTermination": {"Value": True}}, "disableApiTermination", {"Value": True}),
        ({"Attribute": "disableApiTermination", "Value": "False"}, "disableApiTermination", {"Value": False}),
        ({"DisableApiStop": {"Value": True}}, "disableApiStop", {"Value": True}),
        ({"Attribute": "disableApiStop", "Value": "0"}, "disableApiStop", {"Value": False}),
        (
            {"InstanceInitiatedShutdownBehavior": {"Value": "terminate"}},
            "instanceInitiatedShutdownBehavior",
            {"Value": "terminate"},
        ),
        (
            {"Attribute": "instanceInitiatedShutdownBehavior", "Value": "stop"},
            "instanceInitiatedShutdownBehavior",
            {"Value": "stop"},
        ),
        ({"SourceDestCheck": {"Value": True}}, "sourceDestCheck", {"Value": True}),
        ({"Attribute": "sourceDestCheck", "Value": "true"}, "sourceDestCheck", {"Value": True}),
        ({"EbsOptimized": {"Value": False}}, "ebsOptimized", {"Value": False}),
    ):
        assert tenant("ModifyInstanceAttribute", InstanceId=mine, **params) == {}
        assert _show(tenant, mine, attribute) == value, params
    web = tenant.group("web")
    tenant("ModifyInstanceAttribute", InstanceId=mine, Attribute="groupSet", Value=web)
    assert [group["GroupId"] for group in _show(tenant, mine, "groupSet")] == [web]
    states("stopped", mine)
    for params, attribute, value in (
        ({"InstanceType": {"Value": "t2.micro"}}, "instanceType", {"Value": "t2.micro"}),
        ({"Attribute": "instanceType", "Value": "t2.nano"}, "instanceType", {"Value": "t2.nano"}),
        ({"UserData": {"Value": SCRIPT}}, "userData", {"Value": base64.b64encode(SCRIPT).decode()}),
        ({"Attribute": "userData", "Value": "aGk="}, "userData", {"Value": "aGk="}),
        ({"UserData": {"Value": b""}}, "userData", {}),
    ):
        tenant("ModifyInstanceAttribute", InstanceId=mine, **params)
        assert _show(tenant, mine, attribute) == value, params


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refused_changes(tenant: Any, stranger: Any, refused: Any, states: Any, reconfigure: Any) -> None:
    mine, stopped, theirs = (who.run()["InstanceId"] for who in (tenant, tenant, stranger))
    states("stopped", stopped)
    reconfigure(hypervisors=tuple(replace(host, vcpus=2) for host in tenant.store.config.hypervisors))
    for code, instance, params in (
        ("IncorrectInstanceState", mine, {"UserData": {"Value": SCRIPT}}),
        ("IncorrectInstanceState", mine, {"Attribute": "instanceType", "Value": "t2.micro"}),
        ("InvalidParameterCombination", mine, {"DisableApiStop": {"Value": True}, "EbsOptimized": {"Value": False}}),
        (
            "InvalidParameterCombination",
            mine,
            {"Attribute": "disableApiStop", "Value": "true", "DisableApiStop": {"Value": False}},
        ),
        ("InvalidParameterValue", mine, {"Attribute": "colour", "Value": "red"}),
        ("InvalidParameterValue", mine, {"Attribute": "disableApiStop", "Value": "maybe"}),
        ("InvalidParameterValue", mine, {"InstanceInitiatedShutdownBehavior": {"Value": "explode"}}),
        ("InvalidParameterValue", stopped, {"InstanceType": {"Value": "t99.huge"}}),
        ("InvalidParameterValue", stopped, {"UserData": {"Value": bytes(16 * 1024 + 1)}}),
        ("InvalidUserData.Malformed", stopped, {"Attribute": "userData", "Value": "%"}),
        ("MissingParameter", mine, {"Attribute": "disableApiStop"}),
        ("MissingParameter", mine, {"Value": "true"}),
        ("MissingParameter", mine, {"DisableApiStop": {"Values": True}}),
        ("UnsupportedOperation", mine, {"SourceDestCheck": {"Value": False}}),
        ("UnsupportedOperation", mine, {"EbsOptimized": {"Value": True}}),
        ("UnsupportedOperation", mine, {"Kernel": {"Value": "aki-00000000"}}),
        ("UnsupportedOperation", mine, {"Attribute": "ramdisk", "Value": "ari-00000000"}),
        ("UnsupportedOperation", mine, {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda"}]}),
        ("InvalidInstanceID.NotFound", theirs, {"DisableApiStop": {"Value": True}}),
    ):
        refused(tenant, code, "ModifyInstanceAttribute", InstanceId=instance, **params)
    bigger = {"InstanceId": stopped, "InstanceType": {"Value": "m5.xlarge"}}
    refused(tenant, "InsufficientInstanceCapacity", "ModifyInstanceAttribute", status=500, **bigger)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_type_must_have_room_for_the_interfaces(tenant: Any, refused: Any, states: Any) -> None:
    mine = tenant.run(InstanceType="m5.large")["InstanceId"]
    states("stopped", mine)
    smaller = {"InstanceId": mine, "InstanceType": {"Value": "t2.micro"}}  # two interfaces, two addresses on each
    second, third = (tenant.interface()["NetworkInterfaceId"] for _ in range(2))
    tenant.attach(second, mine, 1)
    attachment = tenant.attach(third, mine, 2)
    refused(tenant, "AttachmentLimitExceeded", "ModifyInstanceAttribute", **smaller)
    tenant("DetachNetworkInterface", AttachmentId=attachment)
    assigned = tenant("AssignPrivateIpAddresses", NetworkInterfaceId=second, SecondaryPrivateIpAddressCount=2)
    refused(tenant, "PrivateIpAddressLimitExceeded", "ModifyInstanceAttribute", **smaller)
    going = [assigned["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]]
    tenant("UnassignPrivateIpAddresses", NetworkInterfaceId=second, PrivateIpAddresses=going)
    tenant("ModifyInstanceAttribute", **smaller)
    assert _show(tenant, mine, "instanceType") == {"Value": "t2.micro"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_each_of_several_interfaces_has_is_not_the_instances(tenant: Any, refused: Any) -> None:
    mine = tenant.run()["InstanceId"]
    tenant.second_interface(mine)
    for attribute, changed in (
        ("groupSet", {"Groups": ["sg-0"]}),
        ("sourceDestCheck", {"SourceDestCheck": {"Value": False}}),
    ):
        refused(tenant, "InvalidInstanceID", "DescribeInstanceAttribute", InstanceId=mine, Attribute=attribute)
        refused(tenant, "InvalidInstanceID", "ModifyInstanceAttribute", InstanceId=mine, **changed)
    refused(tenant, "InvalidInstanceID", "ResetInstanceAttribute", InstanceId=mine, Attribute="sourceDestCheck")
    assert _show(tenant, mine, "instanceType") == {"Value": "t2.nano"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_resets(tenant: Any, refused: Any) -> None:
    mine = tenant.run()["InstanceId"]
    assert tenant("ResetInstanceAttribute", InstanceId=mine, Attribute="sourceDestCheck") == {}
    refused(tenant, "UnsupportedOperation", "ResetInstanceAttribute", InstanceId=mine, Attribute="kernel")
    refused(tenant, "InvalidParameterValue", "ResetInstanceAttribute", InstanceId=mine, Attribute="userData")
    refused(tenant, "InvalidParameterValue", "ResetInstanceAttribute", InstanceId=NO_INSTANCE, Attribute="userData")
    refused(tenant, "InvalidParameterValue", "ResetInstanceAttribute", InstanceId=mine, Attribute="colour")
    refused(tenant, "InvalidInstanceID.NotFound", "ResetInstanceAttribute", InstanceId=NO_INSTANCE, Attribute="kernel")
