"""The way to the outside as tutorials and tools make it, on every database."""

from __future__ import annotations

from typing import Any

ANYWHERE = {"DestinationCidrBlock": "0.0.0.0/0"}


def test_the_usual_way_to_the_outside(ec2: Any, vpc: str, subnet: str, public: Any, told: Any, clean_up: Any) -> None:
    """What every tutorial and every tool does, and its end."""
    tags = [{"Key": "Name", "Value": "door"}]
    gateway = ec2.create_internet_gateway(TagSpecifications=[{"ResourceType": "internet-gateway", "Tags": tags}])[
        "InternetGateway"
    ]
    assert (gateway["Attachments"], gateway["Tags"]) == ([], tags)
    door = gateway["InternetGatewayId"]
    ec2.get_waiter("internet_gateway_exists").wait(
        InternetGatewayIds=[door], WaiterConfig={"Delay": 1, "MaxAttempts": 1}
    )
    ec2.attach_internet_gateway(InternetGatewayId=door, VpcId=vpc)
    (shown,) = ec2.describe_internet_gateways(InternetGatewayIds=[door])["InternetGateways"]
    assert shown["Attachments"] == [{"State": "available", "VpcId": vpc}]
    table = ec2.create_route_table(
        VpcId=vpc, TagSpecifications=[{"ResourceType": "route-table", "Tags": tags}], ClientToken="once"
    )
    assert table["ClientToken"] == "once"
    table = table["RouteTable"]
    again = ec2.create_route_table(
        VpcId=vpc, TagSpecifications=[{"ResourceType": "route-table", "Tags": tags}], ClientToken="once"
    )
    assert again["RouteTable"] == table
    assert table["Tags"] == tags
    mine = table["RouteTableId"]
    told()
    assert ec2.create_route(RouteTableId=mine, GatewayId=door, **ANYWHERE)["Return"] is True
    assert told() == set()
    association = ec2.associate_route_table(RouteTableId=mine, SubnetId=subnet)
    assert association["AssociationState"] == {"State": "associated"}
    assert told() == {("subnet", subnet)}
    assert public()
    again = ec2.associate_route_table(RouteTableId=mine, SubnetId=subnet)
    assert again["AssociationId"] == association["AssociationId"]
    (shown,) = ec2.describe_route_tables(RouteTableIds=[mine])["RouteTables"]
    assert shown["Routes"] == [
        {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"},
        {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": door, "Origin": "CreateRoute", "State": "active"},
    ]
    assert shown["Associations"] == [
        {
            "Main": False,
            "RouteTableAssociationId": association["AssociationId"],
            "RouteTableId": mine,
            "SubnetId": subnet,
            "AssociationState": {"State": "associated"},
        }
    ]
    clean_up(vpc)
    assert vpc not in {found["VpcId"] for found in ec2.describe_vpcs()["Vpcs"]}
    assert ec2.describe_tags()["Tags"] == []
