"""Rules between their rows and the shapes of the EC2 API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, insert, select

from econe_api.actions import tag_rows
from econe_api.actions.permissions import Permission, SourceKind, protocol_name
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.schema import rules
from econe_api.store.transaction import Transaction

# What every change of a group asks, built once: to build a statement takes longer than to execute it.
_OF_GROUP = (
    select(rules).where(rules.c.group == bindparam("its_group"), rules.c.egress == bindparam("its_egress"))
).order_by(rules.c.id)
_ADD = insert(rules)


@dataclass(frozen=True, slots=True)
class Rule:
    """A stored rule."""

    id: str
    group: str
    egress: bool
    permission: Permission
    description: str | None


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[Rule]:
    """The rules that the clauses choose, ordered by id (one statement)."""
    return [_rule(row) for row in txn.connection.execute(select(rules).where(*clauses).order_by(rules.c.id))]


def of_group(txn: Transaction, group: str, *, egress: bool) -> list[Rule]:
    """The rules of one direction of a group, ordered by id (one statement)."""
    return [_rule(found) for found in txn.connection.execute(_OF_GROUP, {"its_group": group, "its_egress": egress})]


def add(txn: Transaction, new: Sequence[Rule]) -> None:
    """Write new rules (one statement)."""
    txn.connection.execute(_ADD, [row(rule) for rule in new])


def row(rule: Rule) -> dict[str, Any]:
    """What the table holds of a rule."""
    permission = rule.permission
    return {
        "id": rule.id,
        "group": rule.group,
        "egress": rule.egress,
        "protocol": permission.protocol,
        "from_port": permission.from_port,
        "to_port": permission.to_port,
        "cidr": permission.source if permission.kind in {SourceKind.CIDR, SourceKind.CIDR6} else None,
        "referenced_group": permission.source if permission.kind is SourceKind.GROUP else None,
        "prefix_list": permission.source if permission.kind is SourceKind.PREFIX_LIST else None,
        "description": rule.description,
    }


def not_found(rule: str) -> Ec2Error:
    """The error for a rule id that is not there, or not the caller's."""
    return Ec2Error("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{rule}' does not exist")


def no_such_permission() -> Ec2Error:
    """The error for a permission that no rule of the group gives."""
    return Ec2Error("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")


def _rule(found: Row[Any]) -> Rule:
    if found.cidr is not None:
        kind, source = (SourceKind.CIDR6 if ":" in found.cidr else SourceKind.CIDR), found.cidr
    elif found.prefix_list is not None:
        kind, source = SourceKind.PREFIX_LIST, found.prefix_list
    else:
        kind, source = SourceKind.GROUP, found.referenced_group
    permission = Permission(found.protocol, found.from_port, found.to_port, kind, source)
    return Rule(found.id, found.group, found.egress, permission, found.description)


def ip_permissions(entries: Iterable[tuple[Permission, str | None]], owner: str | None) -> list[dict[str, Any]]:
    """IpPermissions of permissions with their descriptions: one for all that share protocol and ports.

    ``owner`` is the account of the groups referred to, None = not known.
    """
    merged: dict[tuple[int, int | None, int | None], dict[str, Any]] = {}
    for permission, description in sorted(entries, key=_order):
        key = (permission.protocol, permission.from_port, permission.to_port)
        target = merged.setdefault(key, _empty(permission))
        text = {"Description": description} if description else {}
        if permission.kind is SourceKind.GROUP:
            pair = {"GroupId": permission.source} | ({"UserId": owner} if owner else {})
            target["UserIdGroupPairs"].append(pair | text)
        else:
            member, name = _MEMBERS[permission.kind]
            target[member].append({name: permission.source} | text)
    return list(merged.values())


_MEMBERS = {
    SourceKind.CIDR: ("IpRanges", "CidrIp"),
    SourceKind.CIDR6: ("Ipv6Ranges", "CidrIpv6"),
    SourceKind.PREFIX_LIST: ("PrefixListIds", "PrefixListId"),
}


def _order(entry: tuple[Permission, str | None]) -> tuple[int, int, int, str, str]:
    permission = entry[0]
    first, last = ports_shown(permission)
    return permission.protocol, first, last, permission.kind, permission.source


def _empty(permission: Permission) -> dict[str, Any]:
    shape: dict[str, Any] = {"IpProtocol": protocol_name(permission.protocol)}
    if permission.from_port is not None:
        shape |= {"FromPort": permission.from_port, "ToPort": permission.to_port}
    return shape | {"UserIdGroupPairs": [], "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}


def ports_shown(permission: Permission) -> tuple[int, int]:
    """The ports where the API shows every rule by itself: -1 where there are none."""
    first, last = permission.from_port, permission.to_port
    return -1 if first is None else first, -1 if last is None else last


def _flat(rule: Rule) -> dict[str, Any]:
    first, last = ports_shown(rule.permission)
    shape: dict[str, Any] = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group,
        "IsEgress": rule.egress,
        "IpProtocol": protocol_name(rule.permission.protocol),
        "FromPort": first,
        "ToPort": last,
    }
    if rule.permission.kind is SourceKind.CIDR:
        shape["CidrIpv4"] = rule.permission.source
    if rule.permission.kind is SourceKind.CIDR6:
        shape["CidrIpv6"] = rule.permission.source
    if rule.permission.kind is SourceKind.PREFIX_LIST:
        shape["PrefixListId"] = rule.permission.source
    if rule.description:
        shape["Description"] = rule.description
    return shape


def security_group_rule(rule: Rule, tags: Tags, account: str, region: str) -> dict[str, Any]:
    """SecurityGroupRule of a rule whose groups are all ``account``'s."""
    shape = _flat(rule) | {
        "GroupOwnerId": account,
        "SecurityGroupRuleArn": f"arn:aws:ec2:{region}:{account}:security-group-rule/{rule.id}",
        "Tags": tag_rows.shape(tags),
    }
    if rule.permission.kind is SourceKind.GROUP:
        shape["ReferencedGroupInfo"] = {"GroupId": rule.permission.source, "UserId": account}
    return shape


def revoked_rule(rule: Rule) -> dict[str, Any]:
    """RevokedSecurityGroupRule of a rule."""
    shape = _flat(rule)
    if rule.permission.kind is SourceKind.GROUP:
        shape["ReferencedGroupId"] = rule.permission.source
    return shape
