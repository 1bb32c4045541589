"""Internet gateways and route tables over HTTP, and which subnets they make public."""

from __future__ import annotations

from typing import Any

import pytest

from econe_api.store.quotas import INTERNET_GATEWAYS, ROUTE_TABLES_PER_VPC, set_quota

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_VPC, NO_GATEWAY, NO_TABLE = "vpc-0000000000000dead", "igw-0000000000000dead", "rtb-0000000000000dead"
ANYWHERE = {"DestinationCidrBlock": "0.0.0.0/0"}


def _gateway(ec2: Any, vpc: str | None = None) -> str:
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    if vpc is not None:
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    return str(gateway)


def _table(ec2: Any, vpc: str) -> str:
    return str(ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"])


def _main(ec2: Any, vpc: str) -> dict[str, Any]:
    asked = [{"Name": "association.main", "Values": ["true"]}, {"Name": "vpc-id", "Values": [vpc]}]
    (found,) = ec2.describe_route_tables(Filters=asked)["RouteTables"]
    return dict(found)


def test_whatever_takes_the_route_away_takes_the_way(ec2: Any, vpc: str, subnet: str, public: Any, told: Any) -> None:
    gateway, table = _gateway(ec2, vpc), _table(ec2, vpc)
    main = _main(ec2, vpc)
    changed = {("subnet", subnet)}
    told()
    ec2.create_route(RouteTableId=main["RouteTableId"], GatewayId=gateway, **ANYWHERE)
    assert (told(), public()) == (changed, True)
    # A table of its own, without a route.
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    assert (told(), public()) == (changed, False)
    ec2.create_route(RouteTableId=table, GatewayId=gateway, **ANYWHERE)
    assert (told(), public()) == (changed, True)
    ec2.replace_route(RouteTableId=table, GatewayId=gateway, **ANYWHERE)
    assert told() == set()
    ec2.delete_route(RouteTableId=table, **ANYWHERE)
    assert (told(), public()) == (changed, False)
    moved = ec2.replace_route_table_association(AssociationId=association, RouteTableId=main["RouteTableId"])
    assert moved["NewAssociationId"] != association
    assert (told(), public()) == (changed, True)
    ec2.disassociate_route_table(AssociationId=moved["NewAssociationId"])
    assert (told(), public()) == (set(), True)
    # Another main table.
    own = main["Associations"][0]["RouteTableAssociationId"]
    ec2.replace_route_table_association(AssociationId=own, RouteTableId=table)
    assert (told(), public()) == (changed, False)
    assert _main(ec2, vpc)["RouteTableId"] == table
    ec2.delete_route_table(RouteTableId=main["RouteTableId"])
    ec2.create_route(RouteTableId=table, GatewayId=gateway, **ANYWHERE)
    assert (told(), public()) == (changed, True)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    assert (told(), public()) == (changed, False)
    assert [route["State"] for route in _main(ec2, vpc)["Routes"]] == ["active", "blackhole"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    assert (told(), public()) == (changed, True)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    assert [route["State"] for route in _main(ec2, vpc)["Routes"]] == ["active", "blackhole"]
    # Another gateway takes the place of the one that is no more.
    other = _gateway(ec2, vpc)
    told()
    ec2.replace_route(RouteTableId=table, GatewayId=other, **ANYWHERE)
    assert (told(), public()) == (changed, True)


def test_refused_gateway_calls(
    ec2: Any, their_ec2: Any, vpc: str, subnet: str, refused: Any, store: Any, account: Any
) -> None:
    gateway, free = _gateway(ec2, vpc), _gateway(ec2)
    (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    theirs = their_ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    their_vpc = their_ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for code, params in (
        ("Resource.AlreadyAssociated", {"InternetGatewayId": gateway}),
        ("Resource.AlreadyAssociated", {"InternetGatewayId": gateway, "VpcId": default["VpcId"]}),
        ("InvalidParameterValue", {"InternetGatewayId": free}),
        ("InvalidInternetGatewayID.NotFound", {"InternetGatewayId": NO_GATEWAY}),
        ("InvalidInternetGatewayID.NotFound", {"InternetGatewayId": theirs}),
        ("InvalidInternetGatewayId.Malformed", {"InternetGatewayId": "nonsense"}),
        ("InvalidVpcID.NotFound", {"InternetGatewayId": free, "VpcId": NO_VPC}),
        ("InvalidVpcID.NotFound", {"InternetGatewayId": free, "VpcId": their_vpc}),
    ):
        refused(ec2.attach_internet_gateway, code, **{"VpcId": vpc} | params)
    refused(ec2.detach_internet_gateway, "Gateway.NotAttached", InternetGatewayId=free, VpcId=vpc)
    refused(ec2.detach_internet_gateway, "Gateway.NotAttached", InternetGatewayId=gateway, VpcId=default["VpcId"])
    refused(ec2.delete_internet_gateway, "DependencyViolation", InternetGatewayId=gateway)
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    for code, ids in (
        ("InvalidInternetGatewayID.NotFound", [gateway, theirs]),
        ("InvalidInternetGatewayId.Malformed", ["nonsense"]),
    ):
        refused(ec2.describe_internet_gateways, code, InternetGatewayIds=ids)
    set_quota(store, account.account_id, INTERNET_GATEWAYS, 3)
    refused(ec2.create_internet_gateway, "InternetGatewayLimitExceeded")


def test_elastic_ips_need_a_gateway(ec2: Any, vpc: str, subnet: str, refused: Any, settle: Any) -> None:
    image = ec2.describe_images()["Images"][0]["ImageId"]
    launch = {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet}
    instance = ec2.run_instances(**launch)["Instances"][0]["InstanceId"]
    settle(instance)
    allocation = ec2.allocate_address()["AllocationId"]
    asked = {"InstanceId": instance, "AllocationId": allocation}
    refused(ec2.associate_address, "Gateway.NotAttached", **asked)
    gateway = _gateway(ec2, vpc)
    association = ec2.associate_address(**asked)["AssociationId"]
    error = refused(ec2.detach_internet_gateway, "DependencyViolation", InternetGatewayId=gateway, VpcId=vpc)
    assert "mapped public address" in error
    ec2.disassociate_address(AssociationId=association)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)


def test_refused_routes(ec2: Any, their_ec2: Any, vpc: str, refused: Any) -> None:
    gateway, table = _gateway(ec2, vpc), _table(ec2, vpc)
    theirs = their_ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    their_table = their_ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
    elsewhere = _gateway(ec2)
    way = {"RouteTableId": table, "GatewayId": gateway}
    for code, params in (
        ("MissingParameter", {}),
        ("InvalidParameterCombination", ANYWHERE | {"DestinationIpv6CidrBlock": "::/0"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "nonsense"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "10.0.0.0/16"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "10.0.7.0/24"}),
        ("UnsupportedOperation", {"DestinationCidrBlock": "192.0.2.0/24"}),
        ("UnsupportedOperation", {"DestinationIpv6CidrBlock": "::/0"}),
        ("UnsupportedOperation", {"DestinationPrefixListId": "pl-1"}),
        ("UnsupportedOperation", ANYWHERE | {"NatGatewayId": "nat-1"}),
        ("UnsupportedOperation", ANYWHERE | {"InstanceId": "i-1"}),
        ("MissingParameter", ANYWHERE | {"GatewayId": ""}),
        ("InvalidGatewayID.NotFound", ANYWHERE | {"GatewayId": NO_GATEWAY}),
        ("InvalidGatewayID.NotFound", ANYWHERE | {"GatewayId": theirs}),
        ("InvalidGatewayID.NotFound", ANYWHERE | {"GatewayId": "local"}),
        ("InvalidParameterValue", ANYWHERE | {"GatewayId": elsewhere}),
        ("InvalidRouteTableID.NotFound", ANYWHERE | {"RouteTableId": their_table}),
        ("InvalidRouteTableId.Malformed", ANYWHERE | {"RouteTableId": "nonsense"}),
    ):
        refused(ec2.create_route, code, **way | params)
    refused(ec2.replace_route, "InvalidParameterValue", **way, **ANYWHERE)
    refused(ec2.delete_route, "InvalidRoute.NotFound", RouteTableId=table, **ANYWHERE)
    refused(ec2.delete_route, "InvalidParameterValue", RouteTableId=table, DestinationCidrBlock="10.0.0.0/16")
    ec2.create_route(**way, **ANYWHERE)
    refused(ec2.create_route, "RouteAlreadyExists", **way, **ANYWHERE)


def test_refused_route_table_calls(
    ec2: Any, their_ec2: Any, vpc: str, subnet: str, refused: Any, store: Any, account: Any
) -> None:
    table, other = _table(ec2, vpc), _table(ec2, vpc)
    theirs = their_ec2.describe_route_tables()["RouteTables"][0]
    their_subnet = their_ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    their_association = theirs["Associations"][0]["RouteTableAssociationId"]
    default = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]
    main = _main(ec2, vpc)
    own = main["Associations"][0]["RouteTableAssociationId"]
    foreign = _main(ec2, default["VpcId"])["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    for call, code, params in (
        (ec2.create_route_table, "InvalidVpcID.NotFound", {"VpcId": NO_VPC}),
        (ec2.create_route_table, "MissingParameter", {}),
        (ec2.create_route_table, "InvalidParameterValue", {"VpcId": vpc, "ClientToken": "x" * 65}),
        (ec2.delete_route_table, "DependencyViolation", {"RouteTableId": table}),
        (ec2.delete_route_table, "DependencyViolation", {"RouteTableId": main["RouteTableId"]}),
        (ec2.delete_route_table, "InvalidRouteTableID.NotFound", {"RouteTableId": theirs["RouteTableId"]}),
        (
            ec2.associate_route_table,
            "Resource.AlreadyAssociated",
            {"RouteTableId": other, "SubnetId": subnet},
        ),
        (ec2.associate_route_table, "MissingParameter", {"RouteTableId": other}),
        (ec2.associate_route_table, "UnsupportedOperation", {"RouteTableId": other, "GatewayId": NO_GATEWAY}),
        (
            ec2.associate_route_table,
            "InvalidParameterValue",
            {"RouteTableId": table, "SubnetId": default["SubnetId"]},
        ),
        (ec2.associate_route_table, "InvalidSubnetID.NotFound", {"RouteTableId": table, "SubnetId": their_subnet}),
        (ec2.disassociate_route_table, "InvalidParameterValue", {"AssociationId": own}),
        (ec2.disassociate_route_table, "InvalidAssociationID.NotFound", {"AssociationId": their_association}),
        (
            ec2.replace_route_table_association,
            "InvalidAssociationID.NotFound",
            {"AssociationId": their_association, "RouteTableId": table},
        ),
        (
            ec2.replace_route_table_association,
            "InvalidParameterValue",
            {"AssociationId": own, "RouteTableId": foreign},
        ),
        (ec2.describe_route_tables, "InvalidRouteTableID.NotFound", {"RouteTableIds": [NO_TABLE]}),
        (ec2.describe_route_tables, "InvalidParameterValue", {"MaxResults": 101}),
        (ec2.delete_vpc, "DependencyViolation", {"VpcId": vpc}),
        (ec2.enable_vgw_route_propagation, "UnsupportedOperation", {"RouteTableId": table, "GatewayId": "vgw-1"}),
    ):
        refused(call, code, **params)
    ec2.create_route_table(VpcId=default["VpcId"], ClientToken="mine")
    refused(ec2.create_route_table, "IdempotentParameterMismatch", VpcId=vpc, ClientToken="mine")
    set_quota(store, account.account_id, ROUTE_TABLES_PER_VPC, 3)
    refused(ec2.create_route_table, "RouteTableLimitExceeded", VpcId=vpc)


def test_filters_and_pages(ec2: Any, vpc: str, subnet: str, refused: Any, store: Any, account: Any) -> None:
    gateway, mine = _gateway(ec2, vpc), _table(ec2, vpc)
    free = _gateway(ec2)
    ec2.create_route(RouteTableId=mine, GatewayId=gateway, **ANYWHERE)
    association = ec2.associate_route_table(RouteTableId=mine, SubnetId=subnet)["AssociationId"]
    ec2.create_tags(Resources=[mine, gateway], Tags=[{"Key": "Tier", "Value": "web"}])
    owner = account.account_id

    def tables(name: str, value: str) -> set[str]:
        answer = ec2.describe_route_tables(Filters=[{"Name": name, "Values": [value]}])["RouteTables"]
        return {table["RouteTableId"] for table in answer}

    every = tables("owner-id", owner)
    for name, value in (
        ("association.main", "false"),
        ("association.route-table-association-id", association),
        ("association.route-table-id", mine),
        ("association.subnet-id", subnet),
        ("route-table-id", mine),
        ("route.gateway-id", gateway),
        ("tag:Tier", "web"),
    ):
        assert tables(name, value) == {mine}, name
    assert tables("vpc-id", vpc) == tables("route.destination-cidr-block", "10.0.0.0/16")
    assert tables("route.state", "active") == tables("route.origin", "CreateRouteTable") == every
    assert len(tables("route.origin", "CreateRoute")) == 2  # and the default VPC's
    for kind in ("destination-ipv6-cidr-block", "destination-prefix-list-id", "egress-only-internet-gateway-id"):
        assert tables(f"route.{kind}", "*") == set()
    for kind in ("instance-id", "nat-gateway-id", "transit-gateway-id", "vpc-peering-connection-id"):
        assert tables(f"route.{kind}", "*") == set()
    assert tables("association.gateway-id", "*") == set()

    def gateways(name: str, value: str) -> set[str]:
        answer = ec2.describe_internet_gateways(Filters=[{"Name": name, "Values": [value]}])["InternetGateways"]
        return {found["InternetGatewayId"] for found in answer}

    for name, value in (
        ("attachment.vpc-id", vpc),
        ("internet-gateway-id", gateway),
        ("tag:Tier", "web"),
    ):
        assert gateways(name, value) == {gateway}, name
    assert gateways("owner-id", owner) == gateways("attachment.state", "available") | {free}
    refused(ec2.describe_internet_gateways, "InvalidParameterValue", Filters=[{"Name": "x", "Values": ["y"]}])
    set_quota(store, owner, INTERNET_GATEWAYS, 9)
    for _ in range(4):
        _gateway(ec2), _table(ec2, vpc)
    for listing, member in (
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_route_tables", "RouteTables"),
    ):
        pages = list(ec2.get_paginator(listing).paginate(PaginationConfig={"PageSize": 5}))
        assert [len(page[member]) for page in pages] == [5, 2]
