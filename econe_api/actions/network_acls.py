"""Network ACLs as clients need to see them: each VPC has its default one, which allows all, for all its subnets.

It follows from the VPC and is stored nowhere, because nobody can change it: security groups are what is enforced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from econe_api.actions import listing, tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.identifiers import following
from econe_api.actions.tag_rows import Tags
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.schema import subnets, vpcs
from econe_api.store.transaction import Transaction

KIND = "network-acl"


@dataclass(frozen=True, slots=True)
class _Acl:
    """The ACL of a VPC, its subnets and its tags."""

    id: str
    vpc: str
    owner: str
    ipv6: bool
    subnets: tuple[str, ...]
    tags: Tags

    @property
    def entries(self) -> list[dict[str, Any]]:
        """NetworkAclEntry of each: allow everything, and the last one that nobody reaches."""
        families = [("CidrBlock", "0.0.0.0/0", 0), *([("Ipv6CidrBlock", "::/0", 1)] if self.ipv6 else [])]
        return [
            {member: block, "Egress": egress, "Protocol": "-1", "RuleAction": action, "RuleNumber": first + offset}
            for egress in (True, False)
            for action, first in (("allow", 100), ("deny", 32767))
            for member, block, offset in families
        ]

    @property
    def associations(self) -> list[dict[str, str]]:
        """NetworkAclAssociation of each subnet."""
        return [
            {"NetworkAclAssociationId": following("aclassoc", subnet), "NetworkAclId": self.id, "SubnetId": subnet}
            for subnet in self.subnets
        ]


def ids(txn: Transaction) -> list[str]:
    """The ids of the caller's ACLs."""
    return [
        following("acl", vpc) for vpc in txn.connection.scalars(select(vpcs.c.id).where(vpcs.c.account == txn.account))
    ]


def _load(txn: Transaction) -> list[_Acl]:
    rows = list(txn.connection.execute(select(vpcs).where(vpcs.c.account == txn.account)))
    inside: defaultdict[str, list[str]] = defaultdict(list)
    mine = select(subnets.c.vpc, subnets.c.id).join(vpcs, vpcs.c.id == subnets.c.vpc)
    for vpc, subnet in txn.connection.execute(mine.where(vpcs.c.account == txn.account).order_by(subnets.c.id)):
        inside[vpc].append(subnet)
    acls = {row.id: following("acl", row.id) for row in rows}
    tags = tag_rows.load(txn, KIND, list(acls.values()))
    return [
        _Acl(acls[row.id], row.id, row.account, row.ipv6_cidr is not None, tuple(inside[row.id]), tags[acls[row.id]])
        for row in rows
    ]


def _entries(read: Callable[[dict[str, Any]], str | None]) -> Field[_Acl]:
    return Field(lambda acl: map(read, acl.entries))


def _associations(member: str) -> Field[_Acl]:
    return Field(lambda acl: (association[member] for association in acl.associations))


def _never(_acl: _Acl) -> tuple[str, ...]:
    return ()


_FIELDS: dict[str, Field[_Acl]] = {
    "association.association-id": _associations("NetworkAclAssociationId"),
    "association.network-acl-id": _associations("NetworkAclId"),
    "association.subnet-id": _associations("SubnetId"),
    "default": Field(lambda _acl: ("true",)),
    "entry.cidr": _entries(lambda entry: entry.get("CidrBlock")),
    "entry.egress": _entries(lambda entry: str(entry["Egress"]).lower()),
    "entry.icmp.code": Field(_never),
    "entry.icmp.type": Field(_never),
    "entry.ipv6-cidr": _entries(lambda entry: entry.get("Ipv6CidrBlock")),
    "entry.port-range.from": Field(_never),
    "entry.port-range.to": Field(_never),
    "entry.protocol": _entries(lambda entry: str(entry["Protocol"])),
    "entry.rule-action": _entries(lambda entry: str(entry["RuleAction"])),
    "entry.rule-number": _entries(lambda entry: str(entry["RuleNumber"])),
    "network-acl-id": Field(lambda acl: (acl.id,)),
    "owner-id": Field(lambda acl: (acl.owner,)),
    "vpc-id": Field(lambda acl: (acl.vpc,)),
}


def _absent(acl: str) -> Ec2Error:
    return Ec2Error("InvalidNetworkAclID.NotFound", f"The networkAcl ID '{acl}' does not exist")


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the ACL of each VPC: all, or those named, that pass the filters."""
    shown, more = listing.choose(call, _load(txn), "NetworkAclIds", _FIELDS, _absent)
    answer = [
        {
            "NetworkAclId": acl.id,
            "VpcId": acl.vpc,
            "OwnerId": acl.owner,
            "IsDefault": True,
            "Entries": acl.entries,
            "Associations": acl.associations,
            "Tags": tag_rows.shape(acl.tags),
        }
        for acl in shown
    ]
    return {"NetworkAcls": answer} | more
