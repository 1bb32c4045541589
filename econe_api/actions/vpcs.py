"""CreateVpc, CreateDefaultVpc, DeleteVpc, DescribeVpcs and the attributes of VPCs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, update

from econe_api.actions import cidr_blocks, identifiers, listing, networks, tag_rows, vpc_shapes
from econe_api.actions.identifiers import following
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store import vpc_rows
from econe_api.store.errors import StoreError
from econe_api.store.network_tables import internet_gateways, route_table_associations, route_tables
from econe_api.store.quotas import INTERNET_GATEWAYS, VPCS
from econe_api.store.records import Kind
from econe_api.store.schema import groups, interfaces, subnets, vpcs
from econe_api.store.transaction import Transaction

_TENANCIES = ("default", "dedicated", "host")

#: Attributes as DescribeVpcAttribute names them: member of the answer, column.
_ATTRIBUTES: dict[str, tuple[str, ColumnElement[bool]]] = {
    "enableDnsHostnames": ("EnableDnsHostnames", vpcs.c.dns_hostnames),
    "enableDnsSupport": ("EnableDnsSupport", vpcs.c.dns_support),
    "enableNetworkAddressUsageMetrics": ("EnableNetworkAddressUsageMetrics", vpcs.c.usage_metrics),
}


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a VPC that reaches nothing outside; ranges of different VPCs may overlap."""
    params = call.params
    require(params, "CidrBlock")
    _check_tenancy(params.get("InstanceTenancy"))
    supported = {"CidrBlock", "InstanceTenancy", "TagSpecifications"}
    if txn.config.ipv6:
        supported |= {"AmazonProvidedIpv6CidrBlock", "Ipv6CidrBlockNetworkBorderGroup"}
    refuse_unsupported(params, frozenset(supported), {"AmazonProvidedIpv6CidrBlock": (False,)})
    _check_border_group(call, txn)
    block = cidr_blocks.ipv4_block(params["CidrBlock"])
    if not cidr_blocks.usable(block):
        raise Ec2Error("InvalidVpc.Range", f"The CIDR '{block}' is invalid.")
    tags = tag_rows.specified(params, "vpc").get("vpc", {})
    _refuse_more(txn)
    try:
        ipv6 = bool(params.get("AmazonProvidedIpv6CidrBlock"))
        vpc = vpc_rows.add_vpc(txn, txn.account, str(block), ipv6=ipv6, default=False)
    except StoreError as error:
        raise _no_room(error) from error
    tag_rows.write(txn, "vpc", [vpc], tags)
    return {"Vpc": _show(txn, vpc)}


def _check_tenancy(tenancy: str | None) -> None:
    if tenancy and tenancy not in _TENANCIES:
        raise Ec2Error("InvalidParameterValue", f"Value ({tenancy}) for parameter instanceTenancy is invalid.")
    if tenancy not in (None, "", "default"):
        raise Ec2Error("UnsupportedOperation", f"The tenancy '{tenancy}' is not supported by this cloud")


def _check_border_group(call: Call, txn: Transaction) -> None:
    group = call.params.get("Ipv6CidrBlockNetworkBorderGroup")
    if group not in (None, "", txn.config.region):
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({group}) for parameter ipv6CidrBlockNetworkBorderGroup is invalid."
        )


def _refuse_more(txn: Transaction) -> None:
    count = txn.connection.scalar(select(func.count()).select_from(vpcs).where(vpcs.c.account == txn.account)) or 0
    if count >= txn.quota(VPCS):
        raise Ec2Error("VpcLimitExceeded", "The maximum number of VPCs has been reached.")


def _no_room(error: StoreError) -> Ec2Error:
    return Ec2Error("VpcLimitExceeded", f"This cloud has no room for one more VPC: {error}")


def _show(txn: Transaction, vpc: str) -> dict[str, Any]:
    return vpc_shapes.vpc(vpc_shapes.load(txn, vpcs.c.id == vpc)[0], txn)


def create_default(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make the default VPC again that the account has deleted, with its subnets and its internet gateway."""
    present = select(vpcs.c.id).where(vpcs.c.account == txn.account, vpcs.c.is_default)
    if txn.connection.scalar(present) is not None:
        raise Ec2Error("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
    _refuse_more(txn)
    gateways = select(func.count()).select_from(internet_gateways).where(internet_gateways.c.account == txn.account)
    if (txn.connection.scalar(gateways) or 0) >= txn.quota(INTERNET_GATEWAYS):
        raise Ec2Error("InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached.")
    try:
        return {"Vpc": _show(txn, vpc_rows.add_default_vpc(txn, txn.account))}
    except StoreError as error:
        raise _no_room(error) from error


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a VPC that has nothing but its main route table, its network ACL and its default security group."""
    require(call.params, "VpcId")
    vpc = networks.vpc(txn, call.params["VpcId"]).id
    associations = route_table_associations
    main = select(associations.c.route_table).where(associations.c.main == vpc)
    remaining = (
        exists().where(subnets.c.vpc == vpc),
        exists().where(interfaces.c.vpc == vpc),
        exists().where(internet_gateways.c.vpc == vpc),
        exists().where(groups.c.vpc == vpc, groups.c.name != "default"),
        exists().where(route_tables.c.vpc == vpc, route_tables.c.id.not_in(main)),
    )
    if txn.connection.scalar(select(or_(*remaining))):
        raise Ec2Error("DependencyViolation", f"The vpc '{vpc}' has dependencies and cannot be deleted.")
    tag_rows.forget(txn, [*vpc_rows.remove_vpc(txn, vpc), following("acl", vpc)])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show VPCs: all, or those named, that pass the filters."""
    identifiers.check("vpc", call.params.get("VpcIds") or ())
    views = vpc_shapes.load(txn)
    shown, more = listing.choose(call, views, "VpcIds", vpc_shapes.FIELDS, networks.no_vpc)
    return {"Vpcs": [vpc_shapes.vpc(view, txn) for view in shown]} | more


def describe_attribute(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show one attribute."""
    require(call.params, "VpcId", "Attribute")
    attribute = call.params["Attribute"]
    if attribute not in _ATTRIBUTES:
        raise Ec2Error("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid.")
    row = networks.vpc(txn, call.params["VpcId"])
    member, column = _ATTRIBUTES[attribute]
    return {"VpcId": row.id, member: {"Value": row._mapping[column]}}


def modify_attribute(call: Call, txn: Transaction) -> dict[str, Any]:
    """Change one attribute; without DNS support the VPC's instances are told no name servers."""
    params = call.params
    require(params, "VpcId")
    asked = [(name, column) for name, column in _ATTRIBUTES.values() if given(params, name)]
    if len(asked) != 1:
        raise Ec2Error("InvalidParameterCombination", "Exactly one attribute must be specified.")
    ((name, column),) = asked
    require(params[name], "Value")
    row = networks.vpc(txn, params["VpcId"])
    txn.connection.execute(update(vpcs).where(vpcs.c.id == row.id).values({column: params[name]["Value"]}))
    if column is vpcs.c.dns_support:
        txn.touch(Kind.VPC, row.id)
    return {}
