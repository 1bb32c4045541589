"""CreateSecurityGroup, DeleteSecurityGroup and DescribeSecurityGroups."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import delete, func, insert, or_, select

from econe_api.actions import group_lookup, group_shapes, networks, pagination, rule_rows, tag_rows
from econe_api.actions.filters import Filters
from econe_api.actions.group_shapes import Group
from econe_api.actions.parameters import refuse_unsupported, require
from econe_api.actions.permissions import ANY, Permission, SourceKind
from econe_api.actions.rule_rows import Rule
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.quotas import GROUPS
from econe_api.store.records import Kind
from econe_api.store.schema import groups, interface_groups, rules
from econe_api.store.transaction import Transaction

DEFAULT = "default"

_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
_ALPHABET = "a-zA-Z0-9 ._-:/()#,@[]+=&;{}!$*"


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a group that lets nothing in and everything out; names are unique within a VPC.

    Without VpcId it belongs to the default VPC.  An account may have 2,500 groups, the default ones included.
    """
    params = call.params
    require(params, "GroupName", "Description")
    refuse_unsupported(params, frozenset({"GroupName", "Description", "VpcId", "TagSpecifications"}))
    name, description = params["GroupName"], params["Description"]
    _check_text(name, description)
    tags = tag_rows.specified(params, "security-group").get("security-group", {})
    vpc = networks.vpc(txn, params["VpcId"]) if params.get("VpcId") else networks.default_vpc(txn)
    if txn.connection.scalar(select(groups.c.id).where(groups.c.vpc == vpc.id, groups.c.name == name)):
        raise Ec2Error("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc.id}'")
    count = txn.connection.scalar(select(func.count()).select_from(groups).where(groups.c.account == txn.account)) or 0
    if count >= txn.quota(GROUPS):
        raise Ec2Error("SecurityGroupLimitExceeded", "The maximum number of security groups has been reached.")
    group = txn.new_id("sg")
    txn.connection.execute(
        insert(groups).values(
            id=group,
            number=txn.next_number("group"),
            account=txn.account,
            vpc=vpc.id,
            name=name,
            description=description,
        )
    )
    everything = [Permission(ANY, None, None, SourceKind.CIDR, "0.0.0.0/0")]
    if vpc.ipv6_cidr is not None:
        everything.append(Permission(ANY, None, None, SourceKind.CIDR6, "::/0"))
    rule_rows.add(txn, [Rule(txn.new_id("sgr"), group, True, permission, None) for permission in everything])
    tag_rows.write(txn, "security-group", [group], tags)
    txn.touch(Kind.GROUP, group)
    return {"GroupId": group, "SecurityGroupArn": group_shapes.arn(group, txn), "Tags": tag_rows.shape(tags)}


def _check_text(name: str, description: str) -> None:
    for value, parameter in ((name, "groupName"), (description, "groupDescription")):
        if not _TEXT.fullmatch(value):
            raise Ec2Error(
                "InvalidParameterValue",
                f"Value ({value}) for parameter {parameter} is invalid. Valid are up to 255 characters of {_ALPHABET}",
            )
    if name == DEFAULT:
        raise Ec2Error("InvalidGroup.Reserved", "The security group 'default' is reserved")
    if name.startswith("sg-"):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({name}) for parameter groupName is invalid. Group names may not be in the format sg-*.",
        )


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a group that no network interface is in and no rule of another group names; the default one stays."""
    group = group_lookup.target(txn, call.params)
    if group.name == DEFAULT:
        raise Ec2Error("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
    used = select(interface_groups.c.interface).where(interface_groups.c.group == group.id)
    referenced = select(rules.c.id).where(rules.c.referenced_group == group.id, rules.c.group != group.id)
    if txn.connection.scalar(select(or_(used.exists(), referenced.exists()))):
        raise Ec2Error("DependencyViolation", f"resource {group.id} has a dependent object")
    gone = list(txn.connection.scalars(delete(rules).where(rules.c.group == group.id).returning(rules.c.id)))
    tag_rows.forget(txn, [group.id, *gone])
    txn.connection.execute(delete(groups).where(groups.c.id == group.id))
    txn.touch(Kind.GROUP, group.id)
    return {"Return": True, "GroupId": group.id}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show groups with their rules, merged by protocol and ports.

    Names mean groups of the default VPC.  Filters about rules need not hold for one and the same rule.
    """
    params = call.params
    for name in ("GroupIds", "GroupNames"):
        pagination.check(params, name)
    filters: Filters[Group] = Filters(params.get("Filters"), group_shapes.FIELDS, tagged=True)
    clauses = [groups.c.account == txn.account, *filters.clauses()]
    if params.get("GroupIds") or params.get("GroupNames"):
        named = group_lookup.resolve(txn, params.get("GroupIds") or (), params.get("GroupNames") or ())
        clauses.append(groups.c.id.in_([row.id for row in named]))
    found = [group for group in group_shapes.load(txn, *clauses) if filters.matches(group, group.tags)]
    shown, token = pagination.page(found, lambda group: (group.row.number,), params, call.action)
    answer = [group_shapes.security_group(group, txn) for group in shown]
    return {"SecurityGroups": answer} | ({"NextToken": token} if token else {})
