"""AuthorizeSecurityGroup..., RevokeSecurityGroup... and DescribeSecurityGroupRules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select

from econe_api.actions import (
    group_lookup,
    identifiers,
    pagination,
    permissions,
    rule_limits,
    rule_request,
    rule_rows,
    tag_rows,
)
from econe_api.actions.filters import Field, Filters
from econe_api.actions.parameters import given
from econe_api.actions.rule_rows import Rule
from econe_api.call import Call, Params
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import groups, rules
from econe_api.store.transaction import Transaction

_FIELDS: dict[str, Field[Rule]] = {
    "group-id": Field(lambda rule: (rule.group,), rules.c.group),
    "security-group-rule-id": Field(lambda rule: (rule.id,), rules.c.id),
}


def authorize_ingress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Let more come to a group's members: from prefixes, other groups of the VPC, or prefix lists.

    In any of EC2's three syntaxes; a rule per source, each with an id.  60 rules per direction, IPv4 and IPv6 apart; a
    prefix list counts as many as it may have entries.
    """
    return _authorize(call, txn, egress=False)


def authorize_egress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Let a group's members reach more; as AuthorizeSecurityGroupIngress."""
    return _authorize(call, txn, egress=True)


def revoke_ingress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Let less come to a group's members, by permissions or by rule ids; connections that need the rule end.

    What is not there is answered as unknownIpPermissionSet in the default VPC and refused in another, where nothing is
    revoked then.
    """
    return _revoke(call, txn, egress=False)


def revoke_egress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Let a group's members reach less; as RevokeSecurityGroupIngress."""
    return _revoke(call, txn, egress=True)


def describe_rules(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show rules one by one, with their tags."""
    params = call.params
    pagination.check(params, "SecurityGroupRuleIds")
    filters = Filters(params.get("Filters"), _FIELDS, tagged=True)
    _check_groups(params)
    wanted = identifiers.check("sgr", params.get("SecurityGroupRuleIds") or ())
    own = rules.c.group.in_(select(groups.c.id).where(groups.c.account == txn.account))
    chosen = [rules.c.id.in_(wanted)] if wanted else []
    found = rule_rows.load(txn, own, *chosen, *filters.clauses())
    _refuse_absent(wanted, {rule.id for rule in found} if not params.get("Filters") else _present(txn, wanted))
    tags = tag_rows.load(txn, "security-group-rule", [rule.id for rule in found])
    found = [rule for rule in found if filters.matches(rule, tags[rule.id])]
    shown, token = pagination.page(found, lambda rule: (rule.id,), params, call.action)
    answer = [rule_rows.security_group_rule(rule, tags[rule.id], txn.account, txn.config.region) for rule in shown]
    return {"SecurityGroupRules": answer} | ({"NextToken": token} if token else {})


def _check_groups(params: Params) -> None:
    """The filter group-id takes ids: what cannot be one is refused, unlike the values of other filters."""
    for item in params.get("Filters") or ():
        for value in item.get("Values") or () if item.get("Name") == "group-id" else ():
            if not {"*", "?"} & set(value) and not identifiers.well_formed("sg", value):
                raise Ec2Error("InvalidGroupId.Malformed", f"The security group ID '{value}' is malformed")


def _present(txn: Transaction, wanted: Sequence[str]) -> set[str]:
    own = rules.c.group.in_(select(groups.c.id).where(groups.c.account == txn.account))
    return set(txn.connection.scalars(select(rules.c.id).where(own, rules.c.id.in_(wanted))))


def _refuse_absent(wanted: Sequence[str], present: set[str]) -> None:
    for rule in wanted:
        if rule not in present:
            raise rule_rows.not_found(rule)


def _authorize(call: Call, txn: Transaction, *, egress: bool) -> dict[str, Any]:
    group = group_lookup.target(txn, call.params)
    tags = tag_rows.specified(call.params, "security-group-rule").get("security-group-rule", {})
    asked = rule_request.asked(call.params, egress=egress)
    rule_request.refuse_unenforced(asked, ipv6=txn.config.ipv6)
    meant = rule_request.resolve(txn, asked, group)
    present = rule_rows.of_group(txn, group.id, egress=egress)
    after = permissions.added(frozenset(rule.permission for rule in present), meant)
    rule_limits.check(txn, after, egress=egress)
    new = [
        Rule(txn.new_id("sgr"), group.id, egress, permission, rule.description)
        for permission, rule in zip(meant, asked, strict=True)
    ]
    rule_rows.add(txn, new)
    tag_rows.write(txn, "security-group-rule", [rule.id for rule in new], tags)
    txn.touch(Kind.GROUP, group.id)
    shown = [rule_rows.security_group_rule(rule, tags, txn.account, txn.config.region) for rule in new]
    return {"Return": True, "SecurityGroupRules": shown}


def _revoke(call: Call, txn: Transaction, *, egress: bool) -> dict[str, Any]:
    group = group_lookup.target(txn, call.params)
    present = rule_rows.of_group(txn, group.id, egress=egress)
    unknown: list[permissions.Permission] = []
    if given(call.params, "SecurityGroupRuleIds"):
        gone = _by_id(call, present)
    else:
        gone, unknown = _by_permission(call, txn, group, present, egress=egress)
    if gone:
        txn.connection.execute(delete(rules).where(rules.c.id.in_([rule.id for rule in gone])))
        tag_rows.forget(txn, [rule.id for rule in gone])
        txn.touch(Kind.GROUP, group.id)
    return {
        "Return": True,
        "UnknownIpPermissions": rule_rows.ip_permissions([(permission, None) for permission in unknown], None),
        "RevokedSecurityGroupRules": [rule_rows.revoked_rule(rule) for rule in gone],
    }


def _by_id(call: Call, present: Sequence[Rule]) -> list[Rule]:
    if any(given(call.params, name) for name in ("IpPermissions", "IpProtocol", "CidrIp", "SourceSecurityGroupName")):
        raise Ec2Error(
            "InvalidParameterCombination", "The parameter securityGroupRuleIds cannot be used with ipPermissions"
        )
    wanted = identifiers.check("sgr", call.params["SecurityGroupRuleIds"])
    _refuse_absent(wanted, {rule.id for rule in present})
    return [rule for rule in present if rule.id in wanted]


def _by_permission(
    call: Call, txn: Transaction, group: Row[Any], present: Sequence[Rule], *, egress: bool
) -> tuple[list[Rule], list[permissions.Permission]]:
    asked = rule_request.asked(call.params, egress=egress)
    meant = rule_request.lenient(txn, asked, group)
    permissions.refuse_repeats(meant)
    left, unknown = permissions.removed(frozenset(rule.permission for rule in present), meant)
    if unknown and not group.in_default_vpc:
        raise rule_rows.no_such_permission()
    return [rule for rule in present if rule.permission not in left], unknown
