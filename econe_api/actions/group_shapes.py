"""Security groups between their rows and the shape of the EC2 API."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from econe_api.actions import rule_rows, tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.permissions import SourceKind, protocol_name
from econe_api.actions.rule_rows import Rule
from econe_api.actions.tag_rows import Tags
from econe_api.store.schema import groups, rules
from econe_api.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Group:
    """A group's row with its rules; ``names`` are those of the groups that the rules refer to, by id."""

    row: Row[Any]
    rules: tuple[Rule, ...]
    names: dict[str, str]
    tags: Tags


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[Group]:
    """The groups that the clauses choose, with their rules (four statements)."""
    rows = list(txn.connection.execute(select(groups).where(*clauses)))
    chosen = select(groups.c.id).where(*clauses)
    by_group = defaultdict(list)
    for rule in rule_rows.load(txn, rules.c.group.in_(chosen)):
        by_group[rule.group].append(rule)
    referenced = select(rules.c.referenced_group).where(rules.c.group.in_(chosen))
    named = txn.connection.execute(select(groups.c.id, groups.c.name).where(groups.c.id.in_(referenced)))
    names = {row.id: row.name for row in named}
    tags = tag_rows.load(txn, "security-group", [row.id for row in rows])
    return [Group(row, tuple(by_group[row.id]), names, tags[row.id]) for row in rows]


def arn(group: str, txn: Transaction) -> str:
    """The Amazon resource name of a group of the caller."""
    return f"arn:aws:ec2:{txn.config.region}:{txn.account}:security-group/{group}"


def security_group(group: Group, txn: Transaction) -> dict[str, Any]:
    """SecurityGroup of a group."""
    row = group.row
    return {
        "GroupId": row.id,
        "GroupName": row.name,
        "Description": row.description,
        "OwnerId": row.account,
        "VpcId": row.vpc,
        "SecurityGroupArn": arn(row.id, txn),
        "IpPermissions": _permissions(group, egress=False),
        "IpPermissionsEgress": _permissions(group, egress=True),
        "Tags": tag_rows.shape(group.tags),
    }


def _permissions(group: Group, *, egress: bool) -> list[dict[str, Any]]:
    entries = [(rule.permission, rule.description) for rule in group.rules if rule.egress is egress]
    return rule_rows.ip_permissions(entries, group.row.account)


def _of_rules(egress: bool, read: Callable[[Group, Rule], str | None]) -> Field[Group]:
    def values(group: Group) -> Iterator[str | None]:
        return (read(group, rule) for rule in group.rules if rule.egress is egress)

    return Field(values)


def _port(value: int | None) -> str | None:
    return None if value is None else str(value)


def _source(kind: SourceKind) -> Callable[[Group, Rule], str | None]:
    return lambda _group, rule: rule.permission.source if rule.permission.kind is kind else None


_RULE_FIELDS: dict[str, Callable[[Group, Rule], str | None]] = {
    "cidr": _source(SourceKind.CIDR),
    "ipv6-cidr": _source(SourceKind.CIDR6),
    "prefix-list-id": _source(SourceKind.PREFIX_LIST),
    "group-id": _source(SourceKind.GROUP),
    "group-name": lambda group, rule: group.names.get(rule.permission.source),
    "user-id": lambda group, rule: group.row.account if rule.permission.kind is SourceKind.GROUP else None,
    "protocol": lambda _group, rule: protocol_name(rule.permission.protocol),
    "from-port": lambda _group, rule: _port(rule.permission.from_port),
    "to-port": lambda _group, rule: _port(rule.permission.to_port),
}


def _one(read: Callable[[Row[Any]], str], column: ColumnElement[Any]) -> Field[Group]:
    def values(group: Group) -> Iterable[str]:
        return (read(group.row),)

    return Field(values, column)


#: The filters of DescribeSecurityGroups.
FIELDS: dict[str, Field[Group]] = {
    "group-id": _one(lambda row: row.id, groups.c.id),
    "group-name": _one(lambda row: row.name, groups.c.name),
    "description": _one(lambda row: row.description, groups.c.description),
    "owner-id": _one(lambda row: row.account, groups.c.account),
    "vpc-id": _one(lambda row: row.vpc, groups.c.vpc),
    **{f"ip-permission.{name}": _of_rules(False, read) for name, read in _RULE_FIELDS.items()},
    **{f"egress.ip-permission.{name}": _of_rules(True, read) for name, read in _RULE_FIELDS.items()},
}
