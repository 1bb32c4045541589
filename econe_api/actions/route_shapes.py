"""Route tables between their rows and the shape of the EC2 API."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from econe_api.actions import identifiers, tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.network_tables import internet_gateways, route_table_associations, route_tables
from econe_api.store.schema import vpcs
from econe_api.store.transaction import Transaction

KIND = "route-table"
EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A route table's row with its VPC's ranges, its associations, the VPC's gateway and its tags."""

    row: Row[Any]
    cidr: str
    ipv6_cidr: str | None
    owner: str
    associations: tuple[Row[Any], ...]
    attached: str | None
    tags: Tags

    @property
    def id(self) -> str:
        """The table's id."""
        return str(self.row.id)

    @property
    def routes(self) -> list[dict[str, Any]]:
        """Route of each route, the most general last."""
        local = {"GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}
        routes = [{"DestinationCidrBlock": self.cidr, **local}]
        if self.ipv6_cidr is not None:
            routes.append({"DestinationIpv6CidrBlock": self.ipv6_cidr, **local})
        if self.row.gateway is not None:
            state = "active" if self.row.gateway == self.attached else "blackhole"
            way = {"GatewayId": self.row.gateway, "Origin": "CreateRoute", "State": state}
            routes.append({"DestinationCidrBlock": EVERYWHERE, **way})
        return routes


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[RouteTable]:
    """The caller's route tables that the clauses choose (three statements)."""
    query = (
        select(route_tables, vpcs.c.cidr, vpcs.c.ipv6_cidr, vpcs.c.account, internet_gateways.c.id.label("attached"))
        .join(vpcs, vpcs.c.id == route_tables.c.vpc)
        .outerjoin(internet_gateways, internet_gateways.c.vpc == vpcs.c.id)
        .where(vpcs.c.account == txn.account, *clauses)
    )
    rows = list(txn.connection.execute(query))
    associated = route_table_associations
    of_mine = (
        select(associated)
        .join(route_tables, route_tables.c.id == associated.c.route_table)
        .join(vpcs, vpcs.c.id == route_tables.c.vpc)
    )
    by_table: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in txn.connection.execute(of_mine.where(vpcs.c.account == txn.account).order_by(associated.c.id)):
        by_table[row.route_table].append(row)
    tags = tag_rows.load(txn, KIND, [row.id for row in rows])
    return [
        RouteTable(row, row.cidr, row.ipv6_cidr, row.account, tuple(by_table[row.id]), row.attached, tags[row.id])
        for row in rows
    ]


def absent(table: str) -> Ec2Error:
    """The error for a table that is not there, or not the caller's."""
    return Ec2Error("InvalidRouteTableID.NotFound", f"The routeTable ID '{table}' does not exist")


def named(txn: Transaction, table: str) -> RouteTable:
    """The caller's table of that id.

    Raises:
        Ec2Error: InvalidRouteTableId.Malformed, InvalidRouteTableID.NotFound.

    """
    identifiers.check("rtb", [table])
    found = load(txn, route_tables.c.id == table)
    if not found:
        raise absent(table)
    return found[0]


def association(row: Row[Any]) -> dict[str, Any]:
    """RouteTableAssociation of a row."""
    shape = {
        "RouteTableAssociationId": row.id,
        "RouteTableId": row.route_table,
        "Main": row.main is not None,
        "AssociationState": {"State": "associated"},
    }
    return shape | ({"SubnetId": row.subnet} if row.subnet is not None else {})


def route_table(view: RouteTable) -> dict[str, Any]:
    """RouteTable of a table."""
    return {
        "RouteTableId": view.id,
        "VpcId": view.row.vpc,
        "OwnerId": view.owner,
        "Associations": [association(row) for row in view.associations],
        "PropagatingVgws": [],
        "Routes": view.routes,
        "Tags": tag_rows.shape(view.tags),
    }


def _routes(member: str) -> Field[RouteTable]:
    return Field(lambda view: (route.get(member) for route in view.routes))


def _associations(read: Callable[[Row[Any]], str | None]) -> Field[RouteTable]:
    return Field(lambda view: map(read, view.associations))


#: The filters of DescribeRouteTables.
FIELDS: dict[str, Field[RouteTable]] = {
    "association.gateway-id": Field(lambda _view: ()),
    "association.main": _associations(lambda row: str(row.main is not None).lower()),
    "association.route-table-association-id": _associations(lambda row: row.id),
    "association.route-table-id": _associations(lambda row: row.route_table),
    "association.subnet-id": _associations(lambda row: row.subnet),
    "owner-id": Field(lambda view: (view.owner,)),
    "route-table-id": Field(lambda view: (view.id,)),
    "route.destination-cidr-block": _routes("DestinationCidrBlock"),
    "route.destination-ipv6-cidr-block": _routes("DestinationIpv6CidrBlock"),
    "route.destination-prefix-list-id": _routes("DestinationPrefixListId"),
    "route.egress-only-internet-gateway-id": _routes("EgressOnlyInternetGatewayId"),
    "route.gateway-id": _routes("GatewayId"),
    "route.instance-id": _routes("InstanceId"),
    "route.nat-gateway-id": _routes("NatGatewayId"),
    "route.origin": _routes("Origin"),
    "route.state": _routes("State"),
    "route.transit-gateway-id": _routes("TransitGatewayId"),
    "route.vpc-peering-connection-id": _routes("VpcPeeringConnectionId"),
    "vpc-id": Field(lambda view: (view.row.vpc,)),
}
