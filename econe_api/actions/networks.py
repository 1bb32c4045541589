"""VPCs and subnets as the actions look them up: the caller's own, anything else does not exist."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, select

from econe_api.actions import identifiers
from econe_api.errors import Ec2Error
from econe_api.store.network_tables import internet_gateways
from econe_api.store.schema import subnets, vpcs
from econe_api.store.transaction import Transaction

_GATEWAY = select(internet_gateways.c.id).where(internet_gateways.c.vpc == bindparam("vpc"))


def default_vpc(txn: Transaction) -> Row[Any]:
    """The row of the account's default VPC.

    Raises:
        Ec2Error: VPCIdNotSpecified.

    """
    row = txn.connection.execute(select(vpcs).where(vpcs.c.account == txn.account, vpcs.c.is_default)).first()
    if row is None:
        raise Ec2Error("VPCIdNotSpecified", "No default VPC for this user")
    return row


def no_vpc(vpc_id: str) -> Ec2Error:
    """The error for a VPC that is not there, or not the caller's."""
    return Ec2Error("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def no_subnet(subnet_id: str) -> Ec2Error:
    """The error for a subnet that is not there, or not the caller's."""
    return Ec2Error("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")


def reaches_outside(txn: Transaction, vpc_id: str) -> bool:
    """Is an internet gateway attached to the VPC?"""
    return txn.connection.scalar(_GATEWAY, {"vpc": vpc_id}) is not None


def vpc(txn: Transaction, vpc_id: str) -> Row[Any]:
    """The row of a VPC.

    Raises:
        Ec2Error: InvalidVpcID.Malformed, InvalidVpcID.NotFound.

    """
    identifiers.check("vpc", [vpc_id])
    row = txn.connection.execute(select(vpcs).where(vpcs.c.account == txn.account, vpcs.c.id == vpc_id)).first()
    if row is None:
        raise no_vpc(vpc_id)
    return row


def subnet(txn: Transaction, subnet_id: str) -> Row[Any]:
    """The row of a subnet, with its VPC's ``is_default`` as ``in_default_vpc``.

    Raises:
        Ec2Error: InvalidSubnetID.NotFound.

    """
    query = (
        select(subnets, vpcs.c.is_default.label("in_default_vpc"))
        .join(vpcs, vpcs.c.id == subnets.c.vpc)
        .where(vpcs.c.account == txn.account, subnets.c.id == subnet_id)
    )
    row = txn.connection.execute(query).first()
    if row is None:
        raise no_subnet(subnet_id)
    return row


def default_subnets(txn: Transaction) -> list[Row[Any]]:
    """The default subnets of the default VPC, ordered by zone; rows as :func:`subnet` gives them.

    Raises:
        Ec2Error: VPCIdNotSpecified.

    """
    query = (
        select(subnets, vpcs.c.is_default.label("in_default_vpc"))
        .join(vpcs, vpcs.c.id == subnets.c.vpc)
        .where(vpcs.c.account == txn.account, vpcs.c.is_default, subnets.c.is_default)
        .order_by(subnets.c.zone)
    )
    rows = list(txn.connection.execute(query))
    if not rows:
        raise Ec2Error("VPCIdNotSpecified", "No default VPC for this user")
    return rows
