"""Pools, EC2-Classic, and who may use or refers to a group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_GROUP = "sg-0123456789abcdef0"
NO_VPC = "vpc-0123456789abcdef0"


def test_pools(tenant: Any, refused: Any) -> None:
    tenant("AllocateAddress", PublicIpv4Pool="amazon")
    (pool,) = tenant("DescribePublicIpv4Pools", PoolIds=["public"])["PublicIpv4Pools"]
    assert pool == {
        "PoolId": "public",
        "Description": "203.0.113.0/24 by 203.0.113.1",
        "PoolAddressRanges": [
            {
                "FirstAddress": "203.0.113.10",
                "LastAddress": "203.0.113.17",
                "AddressCount": 8,
                "AvailableAddressCount": 7,
            }
        ],
        "TotalAddressCount": 8,
        "TotalAvailableAddressCount": 7,
        "NetworkBorderGroup": "us-east-1",
        "Tags": [],
    }
    refused(tenant, "InvalidPublicIpv4PoolID.NotFound", "DescribePublicIpv4Pools", PoolIds=["other"])
    refused(tenant, "InvalidParameterValue", "DescribePublicIpv4Pools", MaxResults=11)
    tagged = [{"Name": "tag-key", "Values": ["*"]}]
    assert tenant("DescribePublicIpv4Pools", Filters=tagged) == {"PublicIpv4Pools": []}
    assert tenant("DescribeIpv6Pools") == {"Ipv6Pools": []}
    refused(tenant, "InvalidPoolID.NotFound", "DescribeIpv6Pools", PoolIds=["ipv6pool-ec2-0123456789abcdef0"])


def test_classic_is_gone(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, theirs = tenant("AllocateAddress")["PublicIp"], stranger("AllocateAddress")["PublicIp"]
    assert tenant("DescribeMovingAddresses", PublicIps=[mine]) == {"MovingAddressStatuses": []}
    refused(tenant, "InvalidParameterValue", "DescribeMovingAddresses", PublicIps=["rubbish"])
    for action in ("MoveAddressToVpc", "RestoreAddressToClassic"):
        refused(tenant, "UnsupportedOperation", action, PublicIp=mine)
        for absent in (theirs, "203.0.113.17"):
            refused(tenant, "InvalidAddress.NotFound", action, PublicIp=absent)


def test_defaults_of_addresses_are_settings(tenant: Any, cloud: Any, refused: Any, reconfigure: Any) -> None:
    address, one, two = tenant("AllocateAddress"), tenant.run()["InstanceId"], tenant.run()["InstanceId"]
    key = address["AllocationId"]
    tenant("AssociateAddress", AllocationId=key, InstanceId=one)
    reconfigure(api=replace(cloud.config.api, allow_reassociation=False, release_by_public_ip=False))
    refused(tenant, "Resource.AlreadyAssociated", "AssociateAddress", AllocationId=key, InstanceId=two)
    tenant("AssociateAddress", AllocationId=key, InstanceId=two, AllowReassociation=True)
    refused(tenant, "InvalidParameterValue", "ReleaseAddress", PublicIp=address["PublicIp"])
    tenant("ReleaseAddress", AllocationId=key)


def test_groups_for_a_vpc(tenant: Any, stranger: Any, refused: Any) -> None:
    near, vpc = tenant.group("near"), tenant.second_vpc()
    far = tenant.group("far", VpcId=vpc)

    def shown(where: str, **params: Any) -> list[str]:
        return [
            one["GroupId"] for one in tenant("GetSecurityGroupsForVpc", VpcId=where, **params)["SecurityGroupForVpcs"]
        ]

    home = tenant.subnet().vpc
    assert shown(vpc) == [far]
    assert shown(home) == [tenant.default_group(), near]
    for name, value, expected in (
        ("group-id", near, [near]),
        ("group-name", "n*", [near]),
        ("description", "a group", [near]),
        ("owner-id", stranger.account, []),
        ("primary-vpc-id", vpc, []),
        ("tag-key", "*", []),
    ):
        assert shown(home, Filters=[{"Name": name, "Values": [value]}]) == expected, name
    (entry,) = tenant("GetSecurityGroupsForVpc", VpcId=vpc)["SecurityGroupForVpcs"]
    assert (entry["PrimaryVpcId"], entry["OwnerId"], entry["Tags"]) == (vpc, tenant.account, [])
    for absent in (NO_VPC, stranger.subnet().vpc):
        refused(tenant, "InvalidVpcID.NotFound", "GetSecurityGroupsForVpc", VpcId=absent)
    refused(tenant, "InvalidParameterValue", "GetSecurityGroupsForVpc", VpcId=vpc, MaxResults=4)


def test_vpcs_are_not_connected(tenant: Any, stranger: Any, refused: Any) -> None:
    group, vpc = tenant.group(), tenant.second_vpc()
    theirs = stranger.default_group()
    assert tenant("DescribeSecurityGroupReferences", GroupId=[group]) == {"SecurityGroupReferenceSet": []}
    assert tenant("DescribeStaleSecurityGroups", VpcId=vpc) == {"StaleSecurityGroupSet": []}
    assert tenant("DescribeSecurityGroupVpcAssociations") == {"SecurityGroupVpcAssociations": []}
    refused(tenant, "InvalidParameterValue", "DescribeStaleSecurityGroups", VpcId=vpc, MaxResults=256)
    unknown = [{"Name": "colour", "Values": ["red"]}]
    refused(tenant, "InvalidParameterValue", "DescribeSecurityGroupVpcAssociations", Filters=unknown)
    refused(tenant, "UnsupportedOperation", "AssociateSecurityGroupVpc", GroupId=group, VpcId=vpc)
    refused(tenant, "InvalidVpcAssociation.NotFound", "DisassociateSecurityGroupVpc", GroupId=group, VpcId=vpc)
    for absent in (NO_GROUP, theirs):
        refused(tenant, "InvalidGroup.NotFound", "DescribeSecurityGroupReferences", GroupId=[group, absent])
        refused(tenant, "InvalidGroup.NotFound", "AssociateSecurityGroupVpc", GroupId=absent, VpcId=vpc)
    for absent in (NO_VPC, stranger.subnet().vpc):
        refused(tenant, "InvalidVpcID.NotFound", "DescribeStaleSecurityGroups", VpcId=absent)
        refused(tenant, "InvalidVpcID.NotFound", "AssociateSecurityGroupVpc", GroupId=group, VpcId=absent)
