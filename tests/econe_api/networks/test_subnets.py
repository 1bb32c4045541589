"""Subnets over HTTP: made, shown, changed, refused, deleted, and instances in them."""

from __future__ import annotations

from typing import Any

import pytest

from econe_api.store.quotas import SUBNETS_PER_VPC, set_quota

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_VPC, NO_SUBNET = "vpc-0000000000000dead", "subnet-0000000000000dead"


def test_subnets(ec2: Any, refused: Any, records: Any, store: Any, account: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    tags = [{"Key": "Name", "Value": "a"}]
    made = ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.0.1.7/24",
        AvailabilityZone="us-east-1b",
        TagSpecifications=[{"ResourceType": "subnet", "Tags": tags}],
    )["Subnet"]
    subnet = made["SubnetId"]
    assert made == ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    expected = {
        "VpcId": vpc,
        "State": "available",
        "CidrBlock": "10.0.1.0/24",
        "AvailableIpAddressCount": 251,
        "AvailabilityZone": "us-east-1b",
        "AvailabilityZoneId": "use1-az2",
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "SubnetArn": f"arn:aws:ec2:us-east-1:{account.account_id}:subnet/{subnet}",
        "Tags": tags,
    }
    assert {name: made[name] for name in expected} == expected
    (told,) = [record for record in records("subnet") if record.id == subnet]
    assert (told.vpc, told.cidr, told.gateway, told.public) == (vpc, "10.0.1.0/24", "10.0.1.1", False)
    for code, params in (
        ("InvalidSubnet.Conflict", {"CidrBlock": "10.0.1.0/24"}),
        ("InvalidSubnet.Conflict", {"CidrBlock": "10.0.1.128/25"}),
        ("InvalidSubnet.Conflict", {"CidrBlock": "10.0.0.0/16"}),
        ("InvalidSubnet.Range", {"CidrBlock": "10.1.0.0/24"}),
        ("InvalidSubnet.Range", {"CidrBlock": "10.0.0.0/15"}),
        ("InvalidSubnet.Range", {"CidrBlock": "10.0.2.0/29"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.2.0"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.2.0/24", "AvailabilityZone": "mars-1a"}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.2.0/24", "AvailabilityZoneId": "mars-az1"}),
        (
            "InvalidParameterCombination",
            {"CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az1"},
        ),
        ("InvalidVpcID.NotFound", {"CidrBlock": "10.0.2.0/24", "VpcId": NO_VPC}),
        ("MissingParameter", {}),
        ("InvalidSubnet.Range", {"CidrBlock": "10.0.2.0/24", "Ipv6CidrBlock": "fd00::/64"}),
        ("UnsupportedOperation", {"CidrBlock": "10.0.2.0/24", "OutpostArn": "arn"}),
        ("MissingParameter", {"CidrBlock": "10.0.2.0/24", "Ipv6Native": True}),
        (
            "InvalidParameterCombination",
            {"CidrBlock": "10.0.2.0/24", "Ipv6CidrBlock": "fd00::/64", "Ipv6Native": True},
        ),
        ("UnsupportedOperation", {"Ipv6CidrBlock": "fd00::/64", "Ipv6Native": True}),
    ):
        refused(ec2.create_subnet, code, **{"VpcId": vpc} | params)
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.2.0/28", AvailabilityZoneId="use1-az1")["Subnet"]
    assert (other["AvailabilityZone"], other["AvailableIpAddressCount"]) == ("us-east-1a", 11)
    set_quota(store, account.account_id, SUBNETS_PER_VPC, 2)
    refused(ec2.create_subnet, "SubnetLimitExceeded", VpcId=vpc, CidrBlock="10.0.3.0/24")
    ec2.delete_subnet(SubnetId=other["SubnetId"])
    refused(ec2.delete_subnet, "InvalidSubnetID.NotFound", SubnetId=other["SubnetId"])
    refused(ec2.describe_subnets, "InvalidSubnetID.NotFound", SubnetIds=[NO_SUBNET])


def test_interfaces_that_are_attached_to_nothing(ec2: Any, refused: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.16/28")["Subnet"]["SubnetId"]
    made = ec2.create_network_interface(SubnetId=subnet, SecondaryPrivateIpAddressCount=2)["NetworkInterface"]
    ec2.create_network_interface(SubnetId=subnet)
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 11 - 3 - 1
    refused(ec2.delete_subnet, "DependencyViolation", SubnetId=subnet)
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    ec2.delete_network_interface(NetworkInterfaceId=made["NetworkInterfaceId"])
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 11 - 1


def test_instances_in_a_new_subnet(ec2: Any, refused: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.16/28")["Subnet"]["SubnetId"]
    launch = {
        "ImageId": ec2.describe_images()["Images"][0]["ImageId"],
        "InstanceType": "t2.nano",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": subnet,
    }
    made = ec2.run_instances(**launch)["Instances"][0]
    # The network, the router and the two that EC2 keeps; and the last one.
    assert (made["VpcId"], made["PrivateIpAddress"]) == (vpc, "10.0.0.20")
    assert [group["GroupName"] for group in made["SecurityGroups"]] == ["default"]
    for reserved in ("10.0.0.16", "10.0.0.19", "10.0.0.31"):
        refused(ec2.run_instances, "InvalidParameterValue", **launch, PrivateIpAddress=reserved)
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 10
    refused(ec2.delete_subnet, "DependencyViolation", SubnetId=subnet)
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)
    refused(ec2.delete_vpc, "InvalidVpcID.NotFound", VpcId=vpc)


def test_filters_and_pages_of_subnets(ec2: Any, refused: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    default = {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}
    made = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{'ab'[number % 2]}")[
            "Subnet"
        ]
        for number in range(6)
    ]
    ids = {subnet["SubnetId"] for subnet in made}
    ec2.create_tags(Resources=[made[3]["SubnetId"]], Tags=[{"Key": "Tier", "Value": "web"}])

    def shown(name: str, value: str) -> set[str]:
        answer = ec2.describe_subnets(Filters=[{"Name": name, "Values": [value]}])["Subnets"]
        return {subnet["SubnetId"] for subnet in answer}

    for name in ("cidr", "cidrBlock", "cidr-block"):
        assert shown(name, "10.0.3.0/24") == {made[3]["SubnetId"]}, name
    for name, value in (
        ("availability-zone", "us-east-1a"),
        ("availabilityZone", "us-east-1a"),
        ("availability-zone-id", "use1-az1"),
        ("availabilityZoneId", "use1-az1"),
    ):
        assert shown(name, value) & ids == {subnet["SubnetId"] for subnet in made[::2]}, name
    for name, value in (
        ("available-ip-address-count", "251"),
        ("default-for-az", "false"),
        ("defaultForAz", "false"),
        ("vpc-id", vpc),
    ):
        assert shown(name, value) == ids, name
    for name in ("enable-dns64", "ipv6-native", "map-customer-owned-ip-on-launch", "map-public-ip-on-launch"):
        assert shown(name, "false") == ids | default, name
        assert shown(name, "true") == set(), name
    for name, value in (
        ("owner-id", made[0]["OwnerId"]),
        ("state", "available"),
        ("private-dns-name-options-on-launch.hostname-type", "ip-name"),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", "false"),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", "false"),
    ):
        assert shown(name, value) == ids | default, name
    for name in (
        "customer-owned-ipv4-pool",
        "enable-lni-at-device-index",
        "outpost-arn",
        "ipv6-cidr-block-association.association-id",
        "ipv6-cidr-block-association.ipv6-cidr-block",
        "ipv6-cidr-block-association.state",
    ):
        assert shown(name, "*") == set(), name
    for name, value in (("subnet-id", "SubnetId"), ("subnet-arn", "SubnetArn")):
        assert shown(name, made[3][value]) == {made[3]["SubnetId"]}, name
    assert shown("tag:Tier", "web") == {made[3]["SubnetId"]}
    refused(ec2.describe_subnets, "InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    pages = list(ec2.get_paginator("describe_subnets").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Subnets"]) for page in pages] == [5, 3]
    assert {subnet["SubnetId"] for page in pages for subnet in page["Subnets"]} == ids | default


def test_subnet_attributes(ec2: Any, refused: Any) -> None:
    (subnet, _) = ec2.describe_subnets()["Subnets"]
    mine = subnet["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=mine, MapPublicIpOnLaunch={"Value": False})
    error = refused(
        ec2.modify_subnet_attribute, "UnsupportedOperation", SubnetId=mine, MapPublicIpOnLaunch={"Value": True}
    )
    assert "elastic IP" in error
    refused(ec2.modify_subnet_attribute, "UnsupportedOperation", SubnetId=mine, EnableDns64={"Value": True})
    ec2.modify_subnet_attribute(SubnetId=mine, PrivateDnsHostnameTypeOnLaunch="ip-name")
    refused(
        ec2.modify_subnet_attribute,
        "UnsupportedOperation",
        SubnetId=mine,
        PrivateDnsHostnameTypeOnLaunch="resource-name",
    )
    refused(
        ec2.modify_subnet_attribute,
        "InvalidSubnetID.NotFound",
        SubnetId=NO_SUBNET,
        MapPublicIpOnLaunch={"Value": False},
    )
