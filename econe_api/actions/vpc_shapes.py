"""VPCs between their rows and the shape of the EC2 API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from econe_api.actions import tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.identifiers import following
from econe_api.actions.tag_rows import Tags
from econe_api.store.schema import vpcs
from econe_api.store.transaction import Transaction

_ASSOCIATED = {"State": "associated"}


@dataclass(frozen=True, slots=True)
class Vpc:
    """A VPC's row with its tags."""

    row: Row[Any]
    tags: Tags

    @property
    def id(self) -> str:
        """The VPC's id."""
        return str(self.row.id)


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[Vpc]:
    """The caller's VPCs that the clauses choose (two statements)."""
    rows = list(txn.connection.execute(select(vpcs).where(vpcs.c.account == txn.account, *clauses)))
    tags = tag_rows.load(txn, "vpc", [row.id for row in rows])
    return [Vpc(row, tags[row.id]) for row in rows]


def dhcp_options_id(account: str) -> str:
    """The id of the one set of DHCP options that an account has."""
    return following("dopt", account)


def vpc(view: Vpc, txn: Transaction) -> dict[str, Any]:
    """Vpc of a VPC."""
    row = view.row
    block = {
        "AssociationId": following("vpc-cidr-assoc", row.id),
        "CidrBlock": row.cidr,
        "CidrBlockState": _ASSOCIATED,
    }
    block6 = {
        "AssociationId": following("vpc-cidr-assoc/6", row.id),
        "Ipv6CidrBlock": row.ipv6_cidr,
        "Ipv6CidrBlockState": _ASSOCIATED,
        "NetworkBorderGroup": txn.config.region,
        "Ipv6Pool": "Amazon",
    }
    return {
        "VpcId": row.id,
        "OwnerId": row.account,
        "State": "available",
        "CidrBlock": row.cidr,
        "CidrBlockAssociationSet": [block],
        "Ipv6CidrBlockAssociationSet": [block6] if row.ipv6_cidr is not None else [],
        "DhcpOptionsId": dhcp_options_id(row.account),
        "InstanceTenancy": "default",
        "IsDefault": row.is_default,
        "Tags": tag_rows.shape(view.tags),
    }


def _if_ipv6(value: str) -> Field[Vpc]:
    return Field(lambda view: (value,) if view.row.ipv6_cidr is not None else ())


_CIDR: Field[Vpc] = Field(lambda view: (view.row.cidr,))
_IS_DEFAULT: Field[Vpc] = Field(lambda view: (str(view.row.is_default).lower(),))
#: The filters of DescribeVpcs, with the spellings of old clients.
FIELDS: dict[str, Field[Vpc]] = {
    "cidr": _CIDR,
    "cidr-block": _CIDR,
    "cidrBlock": _CIDR,
    "cidr-block-association.association-id": Field(lambda view: (following("vpc-cidr-assoc", view.id),)),
    "cidr-block-association.cidr-block": _CIDR,
    "cidr-block-association.state": Field(lambda _view: ("associated",)),
    "dhcp-options-id": Field(lambda view: (dhcp_options_id(view.row.account),)),
    "dhcpOptionsId": Field(lambda view: (dhcp_options_id(view.row.account),)),
    "ipv6-cidr-block-association.association-id": Field(
        lambda view: (following("vpc-cidr-assoc/6", view.id),) if view.row.ipv6_cidr is not None else ()
    ),
    "ipv6-cidr-block-association.ipv6-cidr-block": Field(lambda view: (view.row.ipv6_cidr,)),
    "ipv6-cidr-block-association.ipv6-pool": _if_ipv6("Amazon"),
    "ipv6-cidr-block-association.state": _if_ipv6("associated"),
    "is-default": _IS_DEFAULT,
    "isDefault": _IS_DEFAULT,
    "owner-id": Field(lambda view: (view.row.account,)),
    "state": Field(lambda _view: ("available",)),
    "vpc-id": Field(lambda view: (view.id,)),
}
