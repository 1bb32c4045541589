"""Routes.  The data plane knows two: the VPC's own range is reached inside it, and all else by the internet gateway.

Anything else would be stored and not obeyed, so it is refused (docs/adr/0015-routes-that-are-obeyed.md).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import select, update

from econe_api.actions import cidr_blocks, route_shapes
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.actions.route_shapes import EVERYWHERE, RouteTable
from econe_api.call import Call, Params
from econe_api.errors import Ec2Error
from econe_api.store.network_tables import internet_gateways, route_tables
from econe_api.store.routing import rerouted
from econe_api.store.transaction import Transaction

_SUPPORTED = frozenset({"RouteTableId", "DestinationCidrBlock", "GatewayId"})
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Add the route 0.0.0.0/0 to a table."""
    table = _table(call.params, txn)
    gateway = _gateway(call.params, table, txn)
    if table.row.gateway is not None:
        raise Ec2Error("RouteAlreadyExists", f"The route identified by {EVERYWHERE} already exists.")
    _set(txn, table, gateway)
    return {"Return": True}


def replace(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give the route 0.0.0.0/0 of a table another gateway."""
    table = _table(call.params, txn)
    gateway = _gateway(call.params, table, txn)
    if table.row.gateway is None:
        raise Ec2Error(
            "InvalidParameterValue",
            f"There is no route defined for '{EVERYWHERE}' in the route table. Use CreateRoute instead.",
        )
    _set(txn, table, gateway)
    return {}


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take the route 0.0.0.0/0 from a table: the elastic IPs in its subnets are not reached any more."""
    params = call.params
    require(params, "RouteTableId")
    destination = _destination(params)
    table = route_shapes.named(txn, params["RouteTableId"])
    if destination in (table.cidr, table.ipv6_cidr):
        raise Ec2Error("InvalidParameterValue", f"cannot remove local route {destination} in route table {table.id}")
    if destination != EVERYWHERE or table.row.gateway is None:
        raise Ec2Error(
            "InvalidRoute.NotFound",
            f"no route with destination-cidr-block {destination} in route table {table.id}",
        )
    _set(txn, table, None)
    return {}


def _destination(params: Params) -> str:
    """The one destination named, in canonical text (a prefix list as it is)."""
    named = [name for name in _DESTINATIONS if given(params, name)]
    if not named:
        raise Ec2Error("MissingParameter", "The request must contain the parameter destinationCidrBlock")
    if len(named) > 1:
        raise Ec2Error("InvalidParameterCombination", "Exactly one destination must be specified")
    text = str(params[named[0]])
    if named[0] == "DestinationCidrBlock":
        return str(cidr_blocks.ipv4_block(text, "destinationCidrBlock"))
    if named[0] == "DestinationIpv6CidrBlock":
        return str(cidr_blocks.ipv6_block(text, "destinationIpv6CidrBlock"))
    return text


def _table(params: Params, txn: Transaction) -> RouteTable:
    """The table that a route shall be in, once it is clear that the route can be obeyed."""
    require(params, "RouteTableId")
    destination = _destination(params)
    table = route_shapes.named(txn, params["RouteTableId"])
    refuse_unsupported(params, _SUPPORTED)
    block = ipaddress.IPv4Network(destination)
    if block.subnet_of(ipaddress.IPv4Network(table.cidr)):
        raise Ec2Error(
            "InvalidParameterValue",
            f"The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR "
            "blocks. This route can target only an interface or an instance.",
        )
    if destination != EVERYWHERE:
        raise Ec2Error(
            "UnsupportedOperation",
            f"The route to {destination} is not supported by this cloud: what leaves a VPC does so by {EVERYWHERE}",
        )
    return table


def _gateway(params: Params, table: RouteTable, txn: Transaction) -> str:
    require(params, "GatewayId")
    gateway = str(params["GatewayId"])
    mine = internet_gateways.c.account == txn.account
    row = txn.connection.execute(select(internet_gateways).where(mine, internet_gateways.c.id == gateway)).first()
    if row is None:
        raise Ec2Error("InvalidGatewayID.NotFound", f"The gateway ID '{gateway}' does not exist")
    if row.vpc != table.row.vpc:
        raise Ec2Error(
            "InvalidParameterValue",
            f"route table {table.id} and network gateway {gateway} belong to different networks",
        )
    return gateway


def _set(txn: Transaction, table: RouteTable, gateway: str | None) -> None:
    with rerouted(txn, table.row.vpc):
        txn.connection.execute(update(route_tables).where(route_tables.c.id == table.id).values(gateway=gateway))
