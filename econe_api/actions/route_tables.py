"""Route tables and which subnets use them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from econe_api.actions import client_tokens, identifiers, listing, networks, route_shapes, tag_rows
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.actions.route_shapes import KIND
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.network_tables import route_table_associations, route_tables
from econe_api.store.quotas import ROUTE_TABLES_PER_VPC
from econe_api.store.routing import rerouted
from econe_api.store.schema import vpcs
from econe_api.store.transaction import Transaction

_ASSOCIATED = {"State": "associated"}


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a table with the local route that no subnet uses yet; a ClientToken that comes again makes no second one."""
    params = call.params
    require(params, "VpcId")
    refuse_unsupported(params, frozenset({"VpcId", "TagSpecifications", "ClientToken"}))
    table = client_tokens.earlier(call, txn) or _make(call, txn)
    shown = {"RouteTable": route_shapes.route_table(route_shapes.named(txn, table))}
    token = params.get("ClientToken")
    return shown | ({"ClientToken": token} if token else {})


def _make(call: Call, txn: Transaction) -> str:
    params = call.params
    tags = tag_rows.specified(params, KIND).get(KIND, {})
    vpc = networks.vpc(txn, params["VpcId"]).id
    count = txn.connection.scalar(select(func.count()).select_from(route_tables).where(route_tables.c.vpc == vpc)) or 0
    if count >= txn.quota(ROUTE_TABLES_PER_VPC):
        raise Ec2Error("RouteTableLimitExceeded", "The maximum number of route tables for this VPC has been reached.")
    table = txn.new_id("rtb")
    txn.connection.execute(insert(route_tables).values(id=table, vpc=vpc))
    tag_rows.write(txn, KIND, [table], tags)
    client_tokens.remember(call, txn, table)
    return table


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a table that no subnet uses and that is not the main one."""
    require(call.params, "RouteTableId")
    table = route_shapes.named(txn, call.params["RouteTableId"])
    if table.associations:
        raise Ec2Error("DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted.")
    txn.connection.execute(delete(route_tables).where(route_tables.c.id == table.id))
    tag_rows.forget(txn, [table.id])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show tables: all, or those named, that pass the filters."""
    identifiers.check("rtb", call.params.get("RouteTableIds") or ())
    views = route_shapes.load(txn)
    shown, more = listing.choose(call, views, "RouteTableIds", route_shapes.FIELDS, route_shapes.absent, most=100)
    return {"RouteTables": [route_shapes.route_table(view) for view in shown]} | more


def associate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Have a subnet use a table; the same again changes nothing."""
    params = call.params
    require(params, "RouteTableId")
    refuse_unsupported(params, frozenset({"RouteTableId", "SubnetId"}))
    if not given(params, "SubnetId"):
        raise Ec2Error("MissingParameter", "The request must contain the parameter subnetId")
    table = route_shapes.named(txn, params["RouteTableId"])
    subnet = networks.subnet(txn, params["SubnetId"])
    _refuse_other_network(table.id, table.row.vpc, subnet.id, subnet.vpc)
    associations = route_table_associations
    present = txn.connection.execute(select(associations).where(associations.c.subnet == subnet.id)).first()
    if present is not None:
        if present.route_table != table.id:
            raise Ec2Error(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {table.id} conflicts with an existing association",
            )
        return {"AssociationId": present.id, "AssociationState": _ASSOCIATED}
    association = txn.new_id("rtbassoc")
    with rerouted(txn, subnet.vpc):
        txn.connection.execute(
            insert(associations).values(id=association, route_table=table.id, main=None, subnet=subnet.id)
        )
    return {"AssociationId": association, "AssociationState": _ASSOCIATED}


def _refuse_other_network(table: str, vpc: str, other: str, its_vpc: str) -> None:
    if vpc != its_vpc:
        raise Ec2Error("InvalidParameterValue", f"route table {table} and network {other} belong to different networks")


def disassociate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Have a subnet use its VPC's main table again."""
    require(call.params, "AssociationId")
    row = _association(txn, call.params["AssociationId"])
    if row.main is not None:
        raise Ec2Error("InvalidParameterValue", f"cannot disassociate the main route table association {row.id}")
    with rerouted(txn, row.vpc):
        txn.connection.execute(delete(route_table_associations).where(route_table_associations.c.id == row.id))
    return {}


def replace(call: Call, txn: Transaction) -> dict[str, Any]:
    """Have a subnet, or with the main association all that name no table, use another table."""
    require(call.params, "AssociationId", "RouteTableId")
    row = _association(txn, call.params["AssociationId"])
    table = route_shapes.named(txn, call.params["RouteTableId"])
    _refuse_other_network(table.id, table.row.vpc, row.vpc, row.vpc)
    associations = route_table_associations
    association = txn.new_id("rtbassoc")
    with rerouted(txn, row.vpc):
        txn.connection.execute(
            update(associations).where(associations.c.id == row.id).values(id=association, route_table=table.id)
        )
    return {"NewAssociationId": association, "AssociationState": _ASSOCIATED}


def _association(txn: Transaction, association: str) -> Row[Any]:
    """The caller's association of that id, with its VPC."""
    associations = route_table_associations
    query = (
        select(associations, route_tables.c.vpc)
        .join(route_tables, route_tables.c.id == associations.c.route_table)
        .join(vpcs, vpcs.c.id == route_tables.c.vpc)
        .where(vpcs.c.account == txn.account, associations.c.id == association)
    )
    row = txn.connection.execute(query).first()
    if row is None:
        raise Ec2Error("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")
    return row
