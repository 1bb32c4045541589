"""CreateNetworkInterface, DeleteNetworkInterface, DescribeNetworkInterfaces and the attributes of interfaces."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from econe_api.actions import interface_limits
from econe_api.config import InstanceType
from econe_api.store.quotas import NETWORK_INTERFACES, set_quota

NO_INTERFACE = "eni-0000000000000dead"


def _ids(answer: Any) -> list[str]:
    return [shown["NetworkInterfaceId"] for shown in answer["NetworkInterfaces"]]


def _show(tenant: Any, interface: str) -> dict[str, Any]:
    found: dict[str, Any] = tenant("DescribeNetworkInterfaces", NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
    return found


def test_a_new_interface(tenant: Any, touched: Any) -> None:
    subnet, web = tenant.subnet(), tenant.group("web")
    made = tenant.interface(
        Description="the second one",
        Groups=[web],
        PrivateIpAddresses=[
            {"PrivateIpAddress": "172.31.0.20", "Primary": False},
            {"PrivateIpAddress": "172.31.0.9", "Primary": True},
        ],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "eth"}]}],
    )
    interface = made["NetworkInterfaceId"]
    assert re.fullmatch("eni-[0-9a-f]{17}", interface)
    assert touched() == {("interface", interface)}
    assert made == {
        "NetworkInterfaceId": interface,
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc,
        "AvailabilityZone": "us-east-1a",
        "Description": "the second one",
        "OwnerId": tenant.account,
        "RequesterManaged": False,
        "Status": "available",
        "MacAddress": made["MacAddress"],
        "PrivateIpAddress": "172.31.0.9",
        "SourceDestCheck": True,
        "InterfaceType": "interface",
        "Groups": [{"GroupId": web, "GroupName": "web"}],
        "PrivateIpAddresses": [
            {"Primary": True, "PrivateIpAddress": "172.31.0.9"},
            {"Primary": False, "PrivateIpAddress": "172.31.0.20"},
        ],
        "Ipv6Addresses": [],
        "TagSet": [{"Key": "Name", "Value": "eth"}],
    }
    assert _show(tenant, interface) == made
    # The default group and the first free addresses, which no launch gets after that.
    plain = tenant.interface(SecondaryPrivateIpAddressCount=2)
    assert [one["PrivateIpAddress"] for one in plain["PrivateIpAddresses"]] == [
        "172.31.0.4",
        "172.31.0.5",
        "172.31.0.6",
    ]
    assert plain["Groups"] == [{"GroupId": tenant.default_group(), "GroupName": "default"}]
    assert tenant.run(SubnetId=subnet.id)["PrivateIpAddress"] == "172.31.0.7"


def test_a_client_token(tenant: Any, stranger: Any, refused: Any) -> None:
    asked = {"SubnetId": tenant.subnet().id, "ClientToken": "once", "Description": "a"}
    first, again = tenant("CreateNetworkInterface", **asked), tenant("CreateNetworkInterface", **asked)
    assert first == again
    assert first["ClientToken"] == "once"
    refused(tenant, "IdempotentParameterMismatch", "CreateNetworkInterface", **asked | {"Description": "b"})
    theirs = stranger("CreateNetworkInterface", **asked | {"SubnetId": stranger.subnet().id})
    assert theirs["NetworkInterface"]["NetworkInterfaceId"] != first["NetworkInterface"]["NetworkInterfaceId"]
    # A launch may have the same token.
    tenant.run(ClientToken="once")


def test_refused_interfaces(tenant: Any, stranger: Any, refused: Any) -> None:
    subnet, far = tenant.subnet(), tenant.group("far", VpcId=tenant.second_vpc())
    six = [tenant.group(f"g{number}") for number in range(6)]
    used = tenant.interface(PrivateIpAddress="172.31.0.50", SecondaryPrivateIpAddressCount=1)
    secondary = used["PrivateIpAddresses"][1]["PrivateIpAddress"]
    set_quota(tenant.store, tenant.account, NETWORK_INTERFACES, 1)
    for code, params in (
        ("MissingParameter", {"SubnetId": None}),
        ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000"}),
        ("InvalidSubnetID.NotFound", {"SubnetId": stranger.subnet().id}),
        ("InvalidGroup.NotFound", {"Groups": [stranger.group("theirs")]}),
        ("InvalidParameter", {"Groups": [far]}),
        ("SecurityGroupsPerInterfaceLimitExceeded", {"Groups": six}),
        ("InvalidParameterValue", {"PrivateIpAddress": "rubbish"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "10.0.0.4"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.0.3"}),
        ("InvalidIPAddress.InUse", {"PrivateIpAddress": "172.31.0.50"}),
        ("InvalidIPAddress.InUse", {"PrivateIpAddress": secondary}),
        ("InvalidIPAddress.InUse", {"PrivateIpAddresses": [{"PrivateIpAddress": secondary}]}),
        ("InvalidParameterValue", {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.60"}] * 2}),
        (
            "InvalidParameterCombination",
            {
                "PrivateIpAddress": "172.31.0.60",
                "PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.61", "Primary": True}],
            },
        ),
        (
            "InvalidParameterCombination",
            {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.60"}], "SecondaryPrivateIpAddressCount": 1},
        ),
        ("InvalidParameterValue", {"SecondaryPrivateIpAddressCount": -1}),
        ("PrivateIpAddressLimitExceeded", {"SecondaryPrivateIpAddressCount": 50}),
        ("InvalidParameterValue", {"Description": "x" * 256}),
        ("UnsupportedOperation", {"InterfaceType": "efa"}),
        ("UnsupportedOperation", {"Ipv4PrefixCount": 1}),
        ("UnsupportedOperation", {"Ipv6AddressCount": 1}),
        ("NetworkInterfaceLimitExceeded", {}),
    ):
        refused(tenant, code, "CreateNetworkInterface", **{"SubnetId": subnet.id} | params)
    set_quota(tenant.store, tenant.account, NETWORK_INTERFACES, None)
    vpc = tenant.second_vpc("10.2.0.0/16")  # its subnet has eleven addresses
    refused(
        tenant,
        "InsufficientFreeAddressesInSubnet",
        "CreateNetworkInterface",
        SubnetId=tenant.subnet(vpc=vpc).id,
        Groups=[tenant.group("there", VpcId=vpc)],
        SecondaryPrivateIpAddressCount=11,
    )


def test_an_interface_goes_with_all_that_it_has(tenant: Any, stranger: Any, refused: Any, touched: Any) -> None:
    web = tenant.group("web")
    made = tenant.interface(Groups=[web], SecondaryPrivateIpAddressCount=1)
    interface = made["NetworkInterfaceId"]
    tenant("CreateTags", Resources=[interface], Tags=[{"Key": "a", "Value": "b"}])
    address = tenant("AllocateAddress")
    tenant("AssociateAddress", AllocationId=address["AllocationId"], NetworkInterfaceId=interface)
    refused(tenant, "DependencyViolation", "DeleteSecurityGroup", GroupId=web)
    refused(stranger, "InvalidNetworkInterfaceID.NotFound", "DeleteNetworkInterface", NetworkInterfaceId=interface)
    launched = tenant.run()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    refused(tenant, "InvalidParameterValue", "DeleteNetworkInterface", NetworkInterfaceId=launched)
    refused(tenant, "InvalidNetworkInterfaceId.Malformed", "DeleteNetworkInterface", NetworkInterfaceId="rubbish")
    refused(tenant, "MissingParameter", "DeleteNetworkInterface")
    tenant("DeleteNetworkInterface", NetworkInterfaceId=interface)
    assert touched() == {("interface", interface), ("address", address["PublicIp"])}
    refused(tenant, "InvalidNetworkInterfaceID.NotFound", "DeleteNetworkInterface", NetworkInterfaceId=interface)
    assert "AssociationId" not in tenant("DescribeAddresses")["Addresses"][0]
    assert tenant("DescribeTags")["Tags"] == []
    tenant("DeleteSecurityGroup", GroupId=web)
    assert tenant.interface()["PrivateIpAddress"] == made["PrivateIpAddress"]


def test_every_filter(tenant: Any, stranger: Any) -> None:
    stranger.run()
    stranger.interface()
    web = tenant.group("web")
    instance = tenant.run(SubnetId=tenant.subnet().id)
    tagged = [{"ResourceType": "network-interface", "Tags": [{"Key": "role", "Value": "eth1"}]}]
    attached = tenant.interface(TagSpecifications=tagged, Description="attached", SecondaryPrivateIpAddressCount=1)[
        "NetworkInterfaceId"
    ]
    attachment = tenant.attach(attached, instance["InstanceId"])
    free = tenant.interface(
        SubnetId=tenant.subnet("us-east-1b").id,
        Groups=[web],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "spare"}]}],
    )
    first = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    both, address = _show(tenant, attached), tenant("AllocateAddress")
    secondary = both["PrivateIpAddresses"][1]["PrivateIpAddress"]
    on_first = tenant("AllocateAddress")
    tenant("AssociateAddress", **_pick(address), NetworkInterfaceId=attached, PrivateIpAddress=secondary)
    association = tenant("AssociateAddress", **_pick(on_first), NetworkInterfaceId=first)["AssociationId"]
    all_three = {first, attached, free["NetworkInterfaceId"]}
    assert set(_ids(tenant("DescribeNetworkInterfaces"))) == all_three
    spare = {free["NetworkInterfaceId"]}
    for name, value, expected in (
        ("addresses.association.owner-id", tenant.account, {first, attached}),
        ("addresses.association.public-ip", address["PublicIp"], {attached}),
        ("addresses.primary", "false", {attached}),
        ("addresses.private-ip-address", secondary, {attached}),
        ("association.allocation-id", on_first["AllocationId"], {first}),
        ("association.association-id", association, {first}),
        ("association.ip-owner-id", tenant.account, {first}),
        ("association.public-dns-name", "", {first}),
        ("association.public-ip", address["PublicIp"], set()),
        ("attachment.attach-time", "2024-05-06T07:08:09.000Z", {first, attached}),
        ("attachment.attachment-id", attachment, {attached}),
        ("attachment.delete-on-termination", "false", {attached}),
        ("attachment.device-index", "1", {attached}),
        ("attachment.instance-id", instance["InstanceId"], {first, attached}),
        ("attachment.instance-owner-id", tenant.account, {first, attached}),
        ("attachment.status", "attached", {first, attached}),
        ("availability-zone", "us-east-1b", spare),
        ("availability-zone-id", "use1-az2", spare),
        ("description", "att*", {attached}),
        ("group-id", web, spare),
        ("group-name", "default", {first, attached}),
        ("interface-type", "interface", all_three),
        ("ipv6-addresses.ipv6-address", "*", set()),
        ("mac-address", free["MacAddress"], spare),
        ("network-interface-id", attached, {attached}),
        ("operator.managed", "false", all_three),
        ("operator.principal", "*", set()),
        ("owner-id", tenant.account, all_three),
        ("private-dns-name", "*", set()),
        ("private-ip-address", secondary, {attached}),
        ("requester-id", "*", set()),
        ("requester-managed", "false", all_three),
        ("source-dest-check", "true", all_three),
        ("status", "available", spare),
        ("subnet-id", free["SubnetId"], spare),
        ("tag-key", "Name", spare),
        ("tag:Name", "spare", spare),
        ("vpc-id", free["VpcId"], all_three),
    ):
        found = _ids(tenant("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": [value]}]))
        assert set(found) == expected, name
    # The same questions asked of instances.
    for name, value, expected_instance in (
        ("network-interface.addresses.private-ip-address", secondary, True),
        ("network-interface.addresses.association.public-ip", address["PublicIp"], True),
        ("network-interface.addresses.primary", "false", True),
        ("network-interface.attachment.attachment-id", attachment, True),
        ("network-interface.attachment.device-index", "2", False),
        ("network-interface.attachment.delete-on-termination", "false", True),
        ("network-interface.description", "attached", True),
        ("network-interface.group-name", "web", False),
        ("network-interface.tag-key", "Name", False),
        ("network-interface.tag-value", "eth1", True),
        ("network-interface.addresses.association.public-dns-name", "", True),
        ("network-interface.requester-id", "*", False),
    ):
        shown = tenant("DescribeInstances", Filters=[{"Name": name, "Values": [value]}])["Reservations"]
        assert bool(shown) == expected_instance, name


def _pick(address: Any) -> dict[str, str]:
    return {"AllocationId": address["AllocationId"]}


def test_pages_and_refused_descriptions(tenant: Any, stranger: Any, refused: Any, statements: Any) -> None:
    made = {tenant.interface()["NetworkInterfaceId"] for _ in range(6)}
    few = statements(lambda: tenant("DescribeNetworkInterfaces"))
    theirs = stranger.interface()["NetworkInterfaceId"]
    page = tenant("DescribeNetworkInterfaces", MaxResults=5)
    rest = tenant("DescribeNetworkInterfaces", MaxResults=5, NextToken=page["NextToken"])
    assert {*_ids(page), *_ids(rest)} == made
    assert "NextToken" not in rest
    for code, params in (
        ("InvalidParameterValue", {"MaxResults": 4}),
        ("InvalidParameterValue", {"MaxResults": 1001}),
        ("InvalidParameterCombination", {"MaxResults": 5, "NetworkInterfaceIds": sorted(made)}),
        ("InvalidNextToken", {"NextToken": "rubbish"}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
        ("InvalidNetworkInterfaceID.NotFound", {"NetworkInterfaceIds": [NO_INTERFACE]}),
        ("InvalidNetworkInterfaceID.NotFound", {"NetworkInterfaceIds": [NO_INTERFACE, theirs]}),
        ("InvalidNetworkInterfaceId.Malformed", {"NetworkInterfaceIds": ["rubbish"]}),
    ):
        refused(tenant, code, "DescribeNetworkInterfaces", **params)
    for _ in range(4):
        tenant.interface(SecondaryPrivateIpAddressCount=3)
    assert statements(lambda: tenant("DescribeNetworkInterfaces")) == few


def test_attributes(tenant: Any, stranger: Any, refused: Any, touched: Any, cloud: Any) -> None:
    web, far = tenant.group("web"), tenant.group("far", VpcId=tenant.second_vpc())
    instance = tenant.run()
    link = instance["NetworkInterfaces"][0]
    interface, attachment = link["NetworkInterfaceId"], link["Attachment"]["AttachmentId"]
    mine = {"NetworkInterfaceId": interface}

    def attribute(name: str) -> Any:
        return tenant("DescribeNetworkInterfaceAttribute", **mine, Attribute=name)

    before = cloud.revision()
    tenant("ModifyNetworkInterfaceAttribute", **mine, Description={"Value": "mine"})
    tenant("ModifyNetworkInterfaceAttribute", **mine, SourceDestCheck={"Value": True})
    changes = {"AttachmentId": attachment, "DeleteOnTermination": False}
    tenant("ModifyNetworkInterfaceAttribute", **mine, Attachment=changes)
    tenant("ResetNetworkInterfaceAttribute", **mine, SourceDestCheck="true")
    assert cloud.revision() == before
    tenant("ModifyNetworkInterfaceAttribute", **mine, Groups=[web])
    assert touched() == {("interface", interface)}
    tenant("ModifyNetworkInterfaceAttribute", **mine, Groups=[web])
    assert cloud.revision() == before + 1
    assert attribute("description") == mine | {"Description": {"Value": "mine"}}
    assert attribute("groupSet") == mine | {"Groups": [{"GroupId": web, "GroupName": "web"}]}
    assert attribute("sourceDestCheck") == mine | {"SourceDestCheck": {"Value": True}}
    assert attribute("associatePublicIpAddress") == mine | {"AssociatePublicIpAddress": False}
    shown = attribute("attachment")["Attachment"]
    assert (shown["AttachmentId"], shown["DeleteOnTermination"], shown["InstanceId"]) == (
        attachment,
        False,
        instance["InstanceId"],
    )
    free = tenant.interface()["NetworkInterfaceId"]
    asked = {"NetworkInterfaceId": free, "Attribute": "attachment"}
    assert tenant("DescribeNetworkInterfaceAttribute", **asked) == {"NetworkInterfaceId": free}
    six = [tenant.group(f"g{number}") for number in range(6)]
    theirs = {"NetworkInterfaceId": stranger.interface()["NetworkInterfaceId"]}
    modify, show, reset = (f"{verb}NetworkInterfaceAttribute" for verb in ("Modify", "Describe", "Reset"))
    for code, action, params in (
        ("MissingParameter", modify, {"Description": {"Value": "x"}}),
        ("InvalidParameterCombination", modify, mine),
        ("InvalidParameterCombination", modify, mine | {"Description": {"Value": "x"}, "Groups": [web]}),
        ("InvalidNetworkInterfaceID.NotFound", modify, theirs | {"Groups": [web]}),
        ("InvalidGroup.NotFound", modify, mine | {"Groups": [far]}),
        ("InvalidGroup.NotFound", modify, mine | {"Groups": [stranger.group("theirs")]}),
        ("SecurityGroupsPerInterfaceLimitExceeded", modify, mine | {"Groups": six}),
        ("MissingParameter", modify, mine | {"Groups": []}),
        ("UnsupportedOperation", modify, mine | {"SourceDestCheck": {"Value": False}}),
        ("UnsupportedOperation", modify, mine | {"EnablePrimaryIpv6": True}),
        ("InvalidParameterValue", modify, mine | {"Description": {"Value": "x" * 256}}),
        ("InvalidAttachmentID.NotFound", modify, mine | {"Attachment": changes | {"AttachmentId": "eni-attach-0"}}),
        ("MissingParameter", modify, mine | {"Attachment": {"AttachmentId": attachment}}),
        ("InvalidParameterCombination", show, mine),
        ("InvalidParameterValue", show, mine | {"Attribute": "colour"}),
        ("InvalidNetworkInterfaceID.NotFound", show, theirs | {"Attribute": "description"}),
        ("InvalidParameterCombination", reset, mine),
        ("InvalidNetworkInterfaceID.NotFound", reset, theirs | {"SourceDestCheck": "true"}),
    ):
        refused(tenant, code, action, **params)


@pytest.mark.parametrize(
    ("vcpus", "interfaces", "addresses"), [(1, 2, 4), (2, 3, 10), (4, 4, 15), (8, 4, 15), (9, 8, 30)]
)
def test_types_of_the_operators_own_have_what_aws_gives_such_vcpus(vcpus: int, interfaces: int, addresses: int) -> None:
    own = InstanceType("own.type", vcpus, 1024)
    assert interface_limits.limits(own) == interface_limits.InterfaceLimits(interfaces, addresses)
    known = interface_limits.limits(replace(own, name="t2.medium"))
    assert known == interface_limits.InterfaceLimits(3, 6)
