"""What clients look at around a VPC: ACLs, DHCP options, account attributes, zones, and what there is none of."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from econe_api.actions import absent_kinds
from econe_api.config import DhcpConfig
from econe_api.store.quotas import ELASTIC_IPS, INSTANCES, set_quota

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_network_acls(ec2: Any, their_ec2: Any, refused: Any, account: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    (mine,) = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
    acl, (association,) = mine["NetworkAclId"], mine["Associations"]
    assert (association["SubnetId"], association["NetworkAclId"]) == (subnet, acl)
    assert ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"] == [mine]
    ec2.create_tags(Resources=[acl], Tags=[{"Key": "Name", "Value": "all"}])

    def shown(name: str, value: str) -> int:
        return len(ec2.describe_network_acls(Filters=[{"Name": name, "Values": [value]}])["NetworkAcls"])

    for name, value, count in (
        ("association.association-id", association["NetworkAclAssociationId"], 1),
        ("association.network-acl-id", acl, 1),
        ("association.subnet-id", subnet, 1),
        ("network-acl-id", acl, 1),
        ("tag:Name", "all", 1),
        ("default", "true", 2),
        ("entry.cidr", "0.0.0.0/0", 2),
        ("entry.egress", "true", 2),
        ("entry.protocol", "-1", 2),
        ("entry.rule-action", "allow", 2),
        ("entry.rule-number", "32767", 2),
        ("owner-id", account.account_id, 2),
        ("entry.ipv6-cidr", "*", 0),
        ("entry.icmp.code", "*", 0),
        ("entry.icmp.type", "*", 0),
        ("entry.port-range.from", "*", 0),
        ("entry.port-range.to", "*", 0),
    ):
        assert shown(name, value) == count, name
    refused(their_ec2.describe_network_acls, "InvalidNetworkAclID.NotFound", NetworkAclIds=[acl])
    entry = {"NetworkAclId": acl, "RuleNumber": 1, "Protocol": "-1", "RuleAction": "deny", "Egress": False}
    refused(ec2.create_network_acl, "UnsupportedOperation", VpcId=vpc)
    refused(ec2.create_network_acl_entry, "UnsupportedOperation", **entry)
    refused(ec2.replace_network_acl_entry, "UnsupportedOperation", **entry)
    refused(ec2.delete_network_acl_entry, "UnsupportedOperation", NetworkAclId=acl, RuleNumber=100, Egress=True)
    refused(ec2.delete_network_acl, "UnsupportedOperation", NetworkAclId=acl)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)
    assert ec2.describe_tags()["Tags"] == []


def test_dhcp_options(ec2: Any, their_ec2: Any, refused: Any, reconfigure: Any) -> None:
    reconfigure(dhcp=DhcpConfig(("10.0.0.2", "10.0.0.3"), "cloud.example", 1500, 3600))
    (options,) = ec2.describe_dhcp_options()["DhcpOptions"]
    assert options["DhcpConfigurations"] == [
        {"Key": "domain-name", "Values": [{"Value": "cloud.example"}]},
        {"Key": "domain-name-servers", "Values": [{"Value": "10.0.0.2"}, {"Value": "10.0.0.3"}]},
    ]
    mine = options["DhcpOptionsId"]
    assert {vpc["DhcpOptionsId"] for vpc in ec2.describe_vpcs()["Vpcs"]} == {mine}
    ec2.create_tags(Resources=[mine], Tags=[{"Key": "Name", "Value": "usual"}])
    for name, value in (
        ("dhcp-options-id", mine),
        ("key", "domain-name-servers"),
        ("owner-id", "*"),
        ("value", "10.0.0.3"),
        ("tag:Name", "usual"),
    ):
        answer = ec2.describe_dhcp_options(Filters=[{"Name": name, "Values": [value]}])["DhcpOptions"]
        assert [found["DhcpOptionsId"] for found in answer] == [mine], name
    refused(their_ec2.describe_dhcp_options, "InvalidDhcpOptionsID.NotFound", DhcpOptionsIds=[mine])
    refused(their_ec2.create_tags, "InvalidDhcpOptionsID.NotFound", Resources=[mine], Tags=[{"Key": "a", "Value": "b"}])
    refused(ec2.describe_dhcp_options, "InvalidDhcpOptionsId.Malformed", DhcpOptionsIds=["nonsense"])
    refused(ec2.create_dhcp_options, "UnsupportedOperation", DhcpConfigurations=[{"Key": "a", "Values": ["b"]}])


def test_what_there_is_none_of(ec2: Any, refused: Any) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    linked = {"DescribeClassicLinkInstances"}
    for action in absent_kinds.HANDLERS:
        operation = model.operation_model(action)
        call = getattr(ec2, botocore.xform_name(action))
        lists = [name for name, shape in operation.output_shape.members.items() if shape.type_name == "list"]
        answer = call()
        assert [answer.get(name, []) for name in lists] == [[] for _ in lists], action
        named = [name for name in operation.input_shape.members if name.endswith(("Ids", "Names"))]
        for ids in () if action in linked else sorted({*named} - {"OwnerIds", "RestorableByUserIds"}):
            with pytest.raises(ec2.exceptions.ClientError, match=r"does not exist|is unknown"):
                call(**{ids: ["thing-0123456789abcdef0"]})
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    refused(ec2.create_nat_gateway, "UnsupportedOperation", SubnetId="subnet-1", AllocationId="eipalloc-1")
    refused(ec2.create_vpc_endpoint, "UnsupportedOperation", VpcId=vpc, ServiceName="s3")
    refused(ec2.enable_vpc_classic_link, "UnsupportedOperation", VpcId=vpc)
    refused(ec2.create_flow_logs, "UnsupportedOperation", ResourceIds=[vpc], ResourceType="VPC")


def test_no_vpc_is_linked_to_classic(ec2: Any, their_ec2: Any, refused: Any) -> None:
    usual = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[other], Tags=[{"Key": "Name", "Value": "other"}])

    def linked(**params: Any) -> dict[str, bool]:
        return {vpc["VpcId"]: vpc["ClassicLinkEnabled"] for vpc in ec2.describe_vpc_classic_link(**params)["Vpcs"]}

    assert linked() == {usual: False, other: False}
    assert linked(VpcIds=[other]) == linked(Filters=[{"Name": "tag:Name", "Values": ["other"]}]) == {other: False}
    assert linked(Filters=[{"Name": "is-classic-link-enabled", "Values": ["true"]}]) == {}
    (vpc,) = ec2.describe_vpc_classic_link_dns_support(VpcIds=[other])["Vpcs"]
    assert vpc == {"VpcId": other, "ClassicLinkDnsSupported": False}
    for call in (their_ec2.describe_vpc_classic_link, their_ec2.describe_vpc_classic_link_dns_support):
        refused(call, "InvalidVpcID.NotFound", VpcIds=[other])


def test_account_attributes(ec2: Any, refused: Any, store: Any, account: Any) -> None:
    set_quota(store, account.account_id, ELASTIC_IPS, 7)
    set_quota(store, account.account_id, INSTANCES, 33)

    def shown(*names: str) -> dict[str, list[str]]:
        answer = ec2.describe_account_attributes(AttributeNames=list(names))["AccountAttributes"]
        return {
            found["AttributeName"]: [value["AttributeValue"] for value in found["AttributeValues"]] for found in answer
        }

    everything = {
        "supported-platforms": ["VPC"],
        "default-vpc": [ec2.describe_vpcs()["Vpcs"][0]["VpcId"]],
        "vpc-max-security-groups-per-interface": ["5"],
        "max-instances": ["33"],
        "max-elastic-ips": ["7"],
        "vpc-max-elastic-ips": ["7"],
    }
    assert shown() == everything
    assert shown("max-instances", "supported-platforms") == {
        name: everything[name] for name in ("max-instances", "supported-platforms")
    }
    refused(ec2.describe_account_attributes, "InvalidParameterValue", AttributeNames=["colour"])


def test_zones_of_all_kinds(ec2: Any) -> None:
    zones = ec2.describe_availability_zones(AllAvailabilityZones=True)["AvailabilityZones"]
    assert zones == ec2.describe_availability_zones()["AvailabilityZones"]
    assert {zone["OptInStatus"] for zone in zones} == {"opt-in-not-required"}
    for name in ("message", "parent-zone-id", "parent-zone-name"):
        asked = [{"Name": name, "Values": ["*"]}]
        assert ec2.describe_availability_zones(Filters=asked)["AvailabilityZones"] == []
    assert ec2.describe_regions(AllRegions=True)["Regions"] == ec2.describe_regions()["Regions"]


def test_tags_on_all_of_it(ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    here = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    resources = {
        "vpc": vpc["VpcId"],
        "subnet": ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"],
        "internet-gateway": gateway,
        "route-table": ec2.describe_route_tables(Filters=here)["RouteTables"][0]["RouteTableId"],
        "network-acl": ec2.describe_network_acls(Filters=here)["NetworkAcls"][0]["NetworkAclId"],
        "dhcp-options": vpc["DhcpOptionsId"],
    }
    tag = {"Key": "Owner", "Value": "me"}
    ec2.create_tags(Resources=list(resources.values()), Tags=[tag])
    shown = {found["ResourceType"]: found["ResourceId"] for found in ec2.describe_tags()["Tags"]}
    assert shown == resources
    for listing, member in (
        ("describe_vpcs", "Vpcs"),
        ("describe_subnets", "Subnets"),
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_route_tables", "RouteTables"),
        ("describe_network_acls", "NetworkAcls"),
        ("describe_dhcp_options", "DhcpOptions"),
    ):
        (found,) = getattr(ec2, listing)(Filters=[{"Name": "tag:Owner", "Values": ["me"]}])[member]
        assert found["Tags"] == [tag]
    ec2.delete_tags(Resources=list(resources.values()))
    assert ec2.describe_tags()["Tags"] == []
