"""Who may use a security group, and who refers to it: the smaller questions about groups.

Groups belong to one VPC each here, and VPCs are not connected: no peering, no transit gateway, no group that is
associated with a second VPC.  What EC2 shows of these is therefore always empty.
"""

from __future__ import annotations

from typing import Any

from econe_api.actions import group_lookup, group_shapes, networks, pagination, tag_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.group_shapes import Group
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.schema import groups
from econe_api.store.transaction import Transaction

_FOR_VPC: dict[str, Field[Group]] = {
    "group-id": group_shapes.FIELDS["group-id"],
    "description": group_shapes.FIELDS["description"],
    "group-name": group_shapes.FIELDS["group-name"],
    "owner-id": group_shapes.FIELDS["owner-id"],
    "primary-vpc-id": group_shapes.FIELDS["vpc-id"],
}
_NAMES = ("group-id", "group-owner-id", "state", "vpc-id", "vpc-owner-id")
_ASSOCIATIONS: dict[str, Field[None]] = {name: Field(lambda _none: ()) for name in _NAMES}


def for_vpc(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the groups that network interfaces of a VPC can be in: those of that VPC."""
    params = call.params
    require(params, "VpcId")
    pagination.check(params)
    filters = Filters(params.get("Filters"), _FOR_VPC, tagged=True)
    vpc = networks.vpc(txn, params["VpcId"])
    clauses = [groups.c.account == txn.account, groups.c.vpc == vpc.id, *filters.clauses()]
    found = [group for group in group_shapes.load(txn, *clauses) if filters.matches(group, group.tags)]
    shown, token = pagination.page(found, lambda group: (group.row.number,), params, call.action)
    answer = [
        {
            "GroupId": group.row.id,
            "GroupName": group.row.name,
            "Description": group.row.description,
            "OwnerId": group.row.account,
            "PrimaryVpcId": group.row.vpc,
            "Tags": tag_rows.shape(group.tags),
        }
        for group in shown
    ]
    return {"SecurityGroupForVpcs": answer} | ({"NextToken": token} if token else {})


def references(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the VPCs on the other side of a connection that refer to groups: none, VPCs are not connected."""
    require(call.params, "GroupId")
    group_lookup.resolve(txn, call.params["GroupId"], [])
    return {"SecurityGroupReferenceSet": []}


def stale(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the rules that refer to what is gone: none, a group that a rule refers to cannot be deleted."""
    require(call.params, "VpcId")
    pagination.check(call.params, bounds=(5, 255))
    networks.vpc(txn, call.params["VpcId"])
    return {"StaleSecurityGroupSet": []}


def associations(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the associations of groups with further VPCs: none, a group belongs to one VPC."""
    pagination.check(call.params)
    Filters(call.params.get("Filters"), _ASSOCIATIONS)
    return {"SecurityGroupVpcAssociations": []}


def associate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Refuse to associate a group with a second VPC, after the checks of both ids."""
    _check(call, txn)
    raise Ec2Error("UnsupportedOperation", "Security groups of several VPCs are not supported by this cloud")


def disassociate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Refuse to end an association that cannot be there."""
    _check(call, txn)
    raise Ec2Error(
        "InvalidVpcAssociation.NotFound",
        f"The security group '{call.params['GroupId']}' is not associated with the VPC '{call.params['VpcId']}'",
    )


def _check(call: Call, txn: Transaction) -> None:
    require(call.params, "GroupId", "VpcId")
    group_lookup.resolve(txn, [call.params["GroupId"]], [])
    networks.vpc(txn, call.params["VpcId"])
