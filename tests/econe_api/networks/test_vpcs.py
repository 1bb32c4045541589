"""VPCs over HTTP: made, shown, changed, refused, deleted."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from econe_api.store.quotas import VPCS, set_quota

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_VPC = "vpc-0000000000000dead"


def test_a_new_vpc_has_what_ec2_gives_it(ec2: Any) -> None:
    tags = [{"Key": "Name", "Value": "mine"}]
    made = ec2.create_vpc(CidrBlock="10.0.5.1/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]
    vpc = made["VpcId"]
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    assert made == ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
    assert (made["CidrBlock"], made["State"], made["IsDefault"], made["Tags"]) == (
        "10.0.0.0/16",
        "available",
        False,
        tags,
    )
    assert made["InstanceTenancy"] == "default"
    (block,) = made["CidrBlockAssociationSet"]
    assert (block["CidrBlock"], block["CidrBlockState"]["State"]) == ("10.0.0.0/16", "associated")
    (group,) = ec2.describe_security_groups(Filters=here)["SecurityGroups"]
    assert (group["GroupName"], group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"]) == (
        "default",
        group["GroupId"],
    )
    (table,) = ec2.describe_route_tables(Filters=here)["RouteTables"]
    assert [(route["DestinationCidrBlock"], route["GatewayId"]) for route in table["Routes"]] == [
        ("10.0.0.0/16", "local")
    ]
    assert [association["Main"] for association in table["Associations"]] == [True]
    (acl,) = ec2.describe_network_acls(Filters=here)["NetworkAcls"]
    assert acl["IsDefault"]
    assert {(entry["RuleNumber"], entry["RuleAction"], entry["CidrBlock"]) for entry in acl["Entries"]} == {
        (100, "allow", "0.0.0.0/0"),
        (32767, "deny", "0.0.0.0/0"),
    }
    assert (
        ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"]
        == []
    )
    (options,) = ec2.describe_dhcp_options(DhcpOptionsIds=[made["DhcpOptionsId"]])["DhcpOptions"]
    assert options["DhcpConfigurations"] == [{"Key": "domain-name", "Values": [{"Value": "ec2.internal"}]}]
    ec2.get_waiter("vpc_available").wait(VpcIds=[vpc], WaiterConfig={"Delay": 1, "MaxAttempts": 1})


def test_ranges_may_overlap_and_numbers_come_again_last(ec2: Any, records: Any) -> None:
    first, second = (ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    before = {record.id: (record.number, record.vlan) for record in records("vpc")}
    assert len(set(before.values())) == 3
    ec2.delete_vpc(VpcId=first)
    third = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    after = {record.id: (record.number, record.vlan) for record in records("vpc")}
    assert first not in after
    assert after[second] == before[second]
    assert after[third] == (before[second][0] + 1, before[second][1] + 1)


def test_what_cannot_be_a_vpc(ec2: Any, refused: Any, store: Any, account: Any) -> None:
    for code, params in (
        ("MissingParameter", {}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.0.0"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.0.0/33"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.0.0/255.255.0.0"}),
        ("InvalidParameterValue", {"CidrBlock": "fd00::/56"}),
        ("InvalidVpc.Range", {"CidrBlock": "10.0.0.0/15"}),
        ("InvalidVpc.Range", {"CidrBlock": "10.0.0.0/29"}),
        ("InvalidVpc.Range", {"CidrBlock": "169.254.0.0/16"}),
        ("InvalidVpc.Range", {"CidrBlock": "224.0.0.0/16"}),
        ("UnsupportedOperation", {"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "dedicated"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "mine"}),
        ("UnsupportedOperation", {"CidrBlock": "10.0.0.0/16", "AmazonProvidedIpv6CidrBlock": True}),
        ("UnsupportedOperation", {"CidrBlock": "10.0.0.0/16", "Ipv4IpamPoolId": "ipam-pool-0"}),
    ):
        refused(ec2.create_vpc, code, **params)
    set_quota(store, account.account_id, VPCS, 2)
    ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=False, InstanceTenancy="default")
    refused(ec2.create_vpc, "VpcLimitExceeded", CidrBlock="10.0.0.0/16")
    refused(ec2.associate_vpc_cidr_block, "UnsupportedOperation", VpcId=NO_VPC, CidrBlock="10.1.0.0/16")


def test_vpcs_with_ipv6(ec2: Any, reconfigure: Any, refused: Any) -> None:
    reconfigure(ipv6=True)
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    vpc, block = made["VpcId"], ipaddress.IPv6Network(made["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
    assert block.prefixlen == 56
    parts = list(block.subnets(new_prefix=64))
    asked = {"VpcId": vpc, "CidrBlock": "10.0.0.0/24"}
    six = ec2.create_subnet(**asked, Ipv6CidrBlock=str(parts[7]))["Subnet"]
    assert six["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == str(parts[7])
    asked["CidrBlock"] = "10.0.1.0/24"
    refused(ec2.create_subnet, "InvalidSubnet.Conflict", **asked, Ipv6CidrBlock=str(parts[7]))
    refused(ec2.create_subnet, "InvalidSubnet.Range", **asked, Ipv6CidrBlock="fd00::/64")
    refused(ec2.create_subnet, "InvalidSubnet.Range", **asked, Ipv6CidrBlock=str(block))
    refused(ec2.create_subnet, "InvalidParameterValue", **asked, Ipv6CidrBlock="nonsense")
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    assert table["Routes"][1]["DestinationIpv6CidrBlock"] == str(block)
    (acl,) = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
    assert {entry["RuleNumber"] for entry in acl["Entries"]} == {100, 101, 32767, 32768}
    # New interfaces get an address by themselves once the subnet says so.
    ec2.modify_subnet_attribute(SubnetId=six["SubnetId"], AssignIpv6AddressOnCreation={"Value": True})
    assert ec2.describe_subnets(SubnetIds=[six["SubnetId"]])["Subnets"][0]["AssignIpv6AddressOnCreation"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    launch = {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": six["SubnetId"]}
    for asked_count, expected in (({}, 1), ({"Ipv6AddressCount": 0}, 0), ({"Ipv6AddressCount": 2}, 2)):
        (interface,) = ec2.run_instances(**launch, **asked_count)["Instances"][0]["NetworkInterfaces"]
        assert len(interface["Ipv6Addresses"]) == expected
    four = ec2.create_subnet(**asked)["Subnet"]
    refused(
        ec2.modify_subnet_attribute,
        "InvalidParameterValue",
        SubnetId=four["SubnetId"],
        AssignIpv6AddressOnCreation={"Value": True},
    )


def test_filters_and_pages_of_vpcs(ec2: Any, refused: Any) -> None:
    default = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = [
        ec2.create_vpc(
            CidrBlock=f"10.{number}.0.0/16",
            TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Number", "Value": str(number)}]}],
        )["Vpc"]
        for number in range(4)
    ]

    def shown(name: str, *values: str) -> set[str]:
        answer = ec2.describe_vpcs(Filters=[{"Name": name, "Values": list(values)}])["Vpcs"]
        return {vpc["VpcId"] for vpc in answer}

    ids = {vpc["VpcId"] for vpc in made}
    second = {made[1]["VpcId"]}
    for name in ("cidr", "cidr-block", "cidrBlock", "cidr-block-association.cidr-block"):
        assert shown(name, "10.1.0.0/16") == second, name
    assert shown("cidr-block-association.association-id", made[1]["CidrBlockAssociationSet"][0]["AssociationId"]) == (
        second
    )
    assert shown("is-default", "true") == shown("isDefault", "true") == {default}
    assert shown("is-default", "false") == shown("cidr", "10.?.0.0/16") == ids
    assert shown("tag:Number", "1") == second
    assert shown("tag-key", "Number") == ids
    assert shown("vpc-id", made[1]["VpcId"]) == second
    for name, value in (
        ("state", "available"),
        ("owner-id", made[0]["OwnerId"]),
        ("dhcp-options-id", made[0]["DhcpOptionsId"]),
        ("dhcpOptionsId", made[0]["DhcpOptionsId"]),
        ("cidr-block-association.state", "associated"),
    ):
        assert shown(name, value) == ids | {default}, name
    for name in ("association-id", "ipv6-cidr-block", "ipv6-pool", "state"):
        assert shown(f"ipv6-cidr-block-association.{name}", "*") == set()
    refused(ec2.describe_vpcs, "InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    pages = list(ec2.get_paginator("describe_vpcs").paginate(PaginationConfig={"PageSize": 5}))
    assert [vpc["VpcId"] for page in pages for vpc in page["Vpcs"]] == sorted(ids | {default})
    refused(ec2.describe_vpcs, "InvalidParameterValue", MaxResults=4)
    refused(ec2.describe_vpcs, "InvalidParameterCombination", MaxResults=5, VpcIds=[default])
    refused(ec2.describe_vpcs, "InvalidVpcID.NotFound", VpcIds=[default, NO_VPC])
    refused(ec2.describe_vpcs, "InvalidVpcID.Malformed", VpcIds=["nonsense"])


def test_attributes(ec2: Any, refused: Any, records: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    default = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]

    def value(attribute: str, of: str = vpc) -> bool:
        answer = ec2.describe_vpc_attribute(VpcId=of, Attribute=attribute)
        return bool(answer[attribute[0].upper() + attribute[1:]]["Value"])

    names = ("enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics")
    assert [value(name) for name in names] == [True, False, False]
    assert [value(name, default) for name in names] == [True, True, False]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": False})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableNetworkAddressUsageMetrics={"Value": True})
    assert [value(name) for name in names] == [False, True, True]
    assert {record.id: record.dns_support for record in records("vpc")} == {vpc: False, default: True}
    refused(ec2.modify_vpc_attribute, "InvalidParameterCombination", VpcId=vpc)
    refused(
        ec2.modify_vpc_attribute,
        "InvalidParameterCombination",
        VpcId=vpc,
        EnableDnsSupport={"Value": True},
        EnableDnsHostnames={"Value": True},
    )
    refused(ec2.modify_vpc_attribute, "InvalidVpcID.NotFound", VpcId=NO_VPC, EnableDnsSupport={"Value": True})
    refused(ec2.describe_vpc_attribute, "InvalidVpcID.NotFound", VpcId=NO_VPC, Attribute="enableDnsSupport")
    refused(ec2.describe_vpc_attribute, "InvalidParameterValue", VpcId=vpc, Attribute="colour")


def test_the_default_vpc_goes_and_comes_again(ec2: Any, refused: Any, clean_up: Any, records: Any) -> None:
    refused(ec2.create_default_vpc, "DefaultVpcAlreadyExists")
    (old,) = ec2.describe_vpcs()["Vpcs"]
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=old["VpcId"])
    clean_up(old["VpcId"])
    assert ec2.describe_vpcs()["Vpcs"] == []
    assert records() == []
    refused(ec2.create_security_group, "VPCIdNotSpecified", GroupName="web", Description="web")
    refused(ec2.create_default_subnet, "DefaultVpcDoesNotExist", AvailabilityZone="us-east-1a")
    assert _attribute(ec2, "default-vpc") == ["none"]
    new = ec2.create_default_vpc()["Vpc"]
    assert (new["IsDefault"], new["CidrBlock"]) == (True, "172.31.0.0/16")
    assert _attribute(ec2, "default-vpc") == [new["VpcId"]]
    assert [record.public for record in records("subnet")] == [True, True]
    (gone,) = ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1a"]}])["Subnets"]
    refused(ec2.create_default_subnet, "DefaultSubnetAlreadyExistsInAvailabilityZone", AvailabilityZone="us-east-1a")
    ec2.delete_subnet(SubnetId=gone["SubnetId"])
    again = ec2.create_default_subnet(AvailabilityZone="us-east-1a")["Subnet"]
    assert (again["DefaultForAz"], again["CidrBlock"]) == (True, gone["CidrBlock"])
    refused(ec2.create_default_subnet, "MissingParameter")


def _attribute(ec2: Any, name: str) -> list[str]:
    (found,) = ec2.describe_account_attributes(AttributeNames=[name])["AccountAttributes"]
    return [value["AttributeValue"] for value in found["AttributeValues"]]


def test_others_things_do_not_exist(ec2: Any, their_ec2: Any, refused: Any) -> None:
    (vpc,) = their_ec2.describe_vpcs()["Vpcs"]
    subnet = their_ec2.describe_subnets()["Subnets"][0]
    theirs, their_subnet = {"VpcId": vpc["VpcId"]}, {"SubnetId": subnet["SubnetId"]}
    for call, params in (
        (ec2.describe_vpcs, {"VpcIds": [vpc["VpcId"]]}),
        (ec2.delete_vpc, theirs),
        (ec2.modify_vpc_attribute, theirs | {"EnableDnsSupport": {"Value": False}}),
        (ec2.describe_vpc_attribute, theirs | {"Attribute": "enableDnsSupport"}),
        (ec2.create_subnet, theirs | {"CidrBlock": "172.31.96.0/20"}),
        (ec2.create_tags, {"Resources": [vpc["VpcId"]], "Tags": [{"Key": "a", "Value": "b"}]}),
    ):
        refused(call, "InvalidVpcID.NotFound", **params)
    for call, params in (
        (ec2.describe_subnets, {"SubnetIds": [subnet["SubnetId"]]}),
        (ec2.delete_subnet, their_subnet),
        (ec2.modify_subnet_attribute, their_subnet | {"MapPublicIpOnLaunch": {"Value": False}}),
        (ec2.create_tags, {"Resources": [subnet["SubnetId"]], "Tags": [{"Key": "a", "Value": "b"}]}),
    ):
        refused(call, "InvalidSubnetID.NotFound", **params)
