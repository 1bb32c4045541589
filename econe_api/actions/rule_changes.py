"""ModifySecurityGroupRules, UpdateSecurityGroupRuleDescriptions...: rules keep their ids and say something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, update

from econe_api.actions import group_lookup, identifiers, permissions, rule_limits, rule_request, rule_rows
from econe_api.actions.parameters import given, require
from econe_api.actions.permissions import AskedRule
from econe_api.actions.rule_rows import Rule
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import rules
from econe_api.store.transaction import Transaction

_SOURCES = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
    "ReferencedGroupId": ("UserIdGroupPairs", "GroupId"),
}


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Replace what rules of one group say, all of them or none; each keeps its id, its tags and its direction."""
    params = call.params
    require(params, "GroupId", "SecurityGroupRules")
    group = group_lookup.target(txn, {"GroupId": params["GroupId"]})
    wanted = [item.get("SecurityGroupRuleId") or "" for item in params["SecurityGroupRules"]]
    present = {rule.id: rule for rule in rule_rows.load(txn, rules.c.group == group.id)}
    _check_ids(wanted, present)
    asked = [_asked(item.get("SecurityGroupRule") or {}) for item in params["SecurityGroupRules"]]
    rule_request.refuse_unenforced(asked, ipv6=txn.config.ipv6)
    meant = rule_request.resolve(txn, asked, group)
    changed = [
        replace(present[key], permission=permission, description=rule.description)
        for key, permission, rule in zip(wanted, meant, asked, strict=True)
    ]
    for egress in (False, True):
        here = [rule for rule in changed if rule.egress is egress]
        others = [rule for rule in present.values() if rule.egress is egress and rule.id not in wanted]
        after = permissions.added(frozenset(rule.permission for rule in others), [rule.permission for rule in here])
        if here:
            rule_limits.check(txn, after, egress=egress)
    _write(txn, changed)
    if any(rule.permission != present[rule.id].permission for rule in changed):
        txn.touch(Kind.GROUP, group.id)
    return {"Return": True}


def _check_ids(wanted: Sequence[str], present: Mapping[str, Rule]) -> None:
    identifiers.check("sgr", wanted)
    if len(set(wanted)) != len(wanted):
        raise Ec2Error("InvalidParameterValue", "The same security group rule must not appear multiple times")
    for key in wanted:
        if key not in present:
            raise rule_rows.not_found(key)


def _asked(item: Mapping[str, Any]) -> AskedRule:
    """A SecurityGroupRuleRequest as the rule that it asks for."""
    named = [name for name in _SOURCES if given(item, name)]
    if len(named) > 1:
        raise Ec2Error(
            "InvalidParameterCombination",
            "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified",
        )
    permission = {name: item.get(name) for name in ("IpProtocol", "FromPort", "ToPort")}
    _refuse_open_range(permission)
    for name in named:
        member, key = _SOURCES[name]
        permission[member] = [{key: item[name], "Description": item.get("Description")}]
    return permissions.parse([permission])[0]


def _refuse_open_range(permission: Mapping[str, Any]) -> None:
    """Refuse a port that is missing in the words of this action, which are not those of the others."""
    ported = permissions.protocol_number(permission["IpProtocol"]) in (permissions.TCP, permissions.UDP)
    if ported and (permission["FromPort"] is None or permission["ToPort"] is None):
        raise Ec2Error(
            "InvalidParameterValue", "Invalid value for portRange. Must specify both from and to ports with TCP/UDP."
        )


def _write(txn: Transaction, changed: Sequence[Rule]) -> None:
    names = ("protocol", "from_port", "to_port", "cidr", "referenced_group", "prefix_list", "description")
    change = (
        update(rules).where(rules.c.id == bindparam("rule")).values({name: bindparam(f"new_{name}") for name in names})
    )
    rows = [rule_rows.row(rule) for rule in changed]
    txn.connection.execute(
        change, [{"rule": row["id"], **{f"new_{name}": row[name] for name in names}} for row in rows]
    )


def describe_ingress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give inbound rules other descriptions, or none; what they allow stays."""
    return _update_descriptions(call, txn, egress=False)


def describe_egress(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give outbound rules other descriptions, or none; what they allow stays."""
    return _update_descriptions(call, txn, egress=True)


def _update_descriptions(call: Call, txn: Transaction, *, egress: bool) -> dict[str, Any]:
    params = call.params
    group = group_lookup.target(txn, params)
    present = rule_rows.of_group(txn, group.id, egress=egress)
    by_id, by_permission = given(params, "SecurityGroupRuleDescriptions"), given(params, "IpPermissions")
    if by_id and by_permission:
        raise Ec2Error(
            "InvalidParameterCombination",
            "The parameter ipPermissions cannot be used with the parameter securityGroupRuleDescriptions",
        )
    if by_id:
        known = {rule.id: rule for rule in present}
        items = params["SecurityGroupRuleDescriptions"]
        _check_ids([item.get("SecurityGroupRuleId") or "" for item in items], known)
        texts = [(known[item["SecurityGroupRuleId"]], item.get("Description")) for item in items]
    else:
        require(params, "IpPermissions")
        asked = permissions.parse(params["IpPermissions"])
        meant = rule_request.lenient(txn, asked, group)
        permissions.refuse_repeats(meant)
        said = {rule.permission: rule for rule in present}
        for permission in meant:
            if permission not in said:
                raise rule_rows.no_such_permission()
        texts = [(said[permission], rule.description) for permission, rule in zip(meant, asked, strict=True)]
    _write(txn, [replace(rule, description=permissions.description(text)) for rule, text in texts])
    return {"Return": True}
