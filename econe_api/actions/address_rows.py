"""Elastic IPs as the actions look them up and show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select

from econe_api.actions import tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.parameters import ipv4
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.quotas import ELASTIC_IPS
from econe_api.store.schema import addresses, interfaces, vpcs
from econe_api.store.transaction import Transaction

_ROWS = (
    select(
        addresses,
        interfaces.c.instance,
        interfaces.c.account.label("owner"),
        vpcs.c.is_default.label("in_default_vpc"),
    )
    .outerjoin(interfaces, interfaces.c.id == addresses.c.interface)
    .outerjoin(vpcs, vpcs.c.id == interfaces.c.vpc)
    .order_by(addresses.c.pool, addresses.c.sort)
)
# What most calls about one address ask, built once: to build a statement takes longer than to execute it.
_OWN = _ROWS.where(addresses.c.account == bindparam("account"))
_BY_ALLOCATION = _OWN.where(addresses.c.allocation == bindparam("name"))
_BY_ASSOCIATION = _OWN.where(addresses.c.association == bindparam("name"))
_BY_PUBLIC_IP = _OWN.where(addresses.c.public_ip == bindparam("name"))
_COUNT = select(func.count()).select_from(addresses).where(addresses.c.account == bindparam("account"))


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[Row[Any]]:
    """The caller's addresses that the clauses choose, in pool order, with the interface that each is associated with.

    A row has ``instance``, ``owner`` (of the interface), ``in_default_vpc`` too; None where there is no association.
    """
    return list(txn.connection.execute(_ROWS.where(addresses.c.account == txn.account, *clauses)))


def by_allocation(txn: Transaction, allocation: str) -> Row[Any]:
    """The address of an allocation id.

    Raises:
        Ec2Error: InvalidAllocationID.NotFound.

    """
    row = _named(txn, _BY_ALLOCATION, allocation)
    return row or _absent("InvalidAllocationID.NotFound", f"The allocation ID '{allocation}' does not exist")


def by_allocations(txn: Transaction, wanted: Sequence[str]) -> list[Row[Any]]:
    """The addresses of allocation ids, in pool order.

    Raises:
        Ec2Error: InvalidAllocationID.NotFound.

    """
    rows = load(txn, addresses.c.allocation.in_(wanted)) if wanted else []
    present = {row.allocation for row in rows}
    for allocation in wanted:
        if allocation not in present:
            _absent("InvalidAllocationID.NotFound", f"The allocation ID '{allocation}' does not exist")
    return rows


def check_quota(txn: Transaction) -> None:
    """Refuse one address more than the caller may have.

    Raises:
        Ec2Error: AddressLimitExceeded.

    """
    if (txn.connection.scalar(_COUNT, {"account": txn.account}) or 0) >= txn.quota(ELASTIC_IPS):
        raise Ec2Error("AddressLimitExceeded", "The maximum number of addresses has been reached.")


def by_public_ip(txn: Transaction, public_ip: str) -> Row[Any]:
    """The address itself, if it is allocated to the caller.

    Raises:
        Ec2Error: InvalidParameterValue (no address), InvalidAddress.NotFound.

    """
    text = ipv4(public_ip, "publicIp")
    return _named(txn, _BY_PUBLIC_IP, text) or _absent("InvalidAddress.NotFound", f"Address '{text}' not found.")


def by_association(txn: Transaction, association: str) -> Row[Any]:
    """The address of an association id.

    Raises:
        Ec2Error: InvalidAssociationID.NotFound.

    """
    row = _named(txn, _BY_ASSOCIATION, association)
    return row or _absent("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")


def _named(txn: Transaction, query: Select[Any], name: str) -> Row[Any] | None:
    return txn.connection.execute(query, {"account": txn.account, "name": name}).first()


def _absent(code: str, message: str) -> Row[Any]:
    raise Ec2Error(code, message)


def address(row: Row[Any], tags: Tags, region: str) -> dict[str, Any]:
    """Address of a row; a free one has no association, interface or instance."""
    shape = {
        "PublicIp": row.public_ip,
        "AllocationId": row.allocation,
        "Domain": "vpc",
        "PublicIpv4Pool": row.pool,
        "NetworkBorderGroup": region,
        "Tags": tag_rows.shape(tags),
    }
    associated = {
        "AssociationId": row.association,
        "NetworkInterfaceId": row.interface,
        "NetworkInterfaceOwnerId": row.owner,
        "PrivateIpAddress": row.private_ip,
        "InstanceId": row.instance,
    }
    return shape | {name: value for name, value in associated.items() if value is not None}


def fields(region: str) -> dict[str, Field[Row[Any]]]:
    """The filters of DescribeAddresses."""
    return {
        "allocation-id": Field(lambda row: (row.allocation,), addresses.c.allocation),
        "association-id": Field(lambda row: (row.association,), addresses.c.association),
        "domain": Field(lambda row: ("vpc",)),
        "instance-id": Field(lambda row: (row.instance,), interfaces.c.instance),
        "network-border-group": Field(lambda row: (region,)),
        "network-interface-id": Field(lambda row: (row.interface,), addresses.c.interface),
        "network-interface-owner-id": Field(lambda row: (row.owner,)),
        "private-ip-address": Field(lambda row: (row.private_ip,), addresses.c.private_ip),
        "public-ip": Field(lambda row: (row.public_ip,), addresses.c.public_ip),
        "public-ipv4-pool": Field(lambda row: (row.pool,), addresses.c.pool),
    }
