"""The rules that Authorize and Revoke requests ask for, in any of the three syntaxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from econe_api.actions import group_lookup, permissions, prefix_list_rows
from econe_api.actions.parameters import given
from econe_api.actions.permissions import AskedRule, GroupReference, Permission, SourceKind
from econe_api.call import Params
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

_FLAT = ("IpProtocol", "FromPort", "ToPort", "CidrIp")
_CONTRADICTIONS = {(SourceKind.CIDR, permissions.ICMPV6), (SourceKind.CIDR6, permissions.ICMP)}
_SOURCE_GROUP = ("SourceSecurityGroupName", "SourceSecurityGroupOwnerId")


def asked(params: Params, *, egress: bool) -> list[AskedRule]:
    """The rules of a request: IpPermissions, or one flat rule, or a source group alone.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue, InvalidParameterCombination, UnsupportedOperation.

    """
    flat = [name for name in _FLAT if given(params, name)]
    source = [name for name in _SOURCE_GROUP if given(params, name)]
    if egress and source:
        raise Ec2Error("UnsupportedOperation", f"The parameter {source[0]} is not supported. Use ipPermissions instead")
    if given(params, "IpPermissions"):
        if flat or source:
            raise Ec2Error(
                "InvalidParameterCombination",
                f"The parameter ipPermissions cannot be used with the parameter {(flat + source)[0]}",
            )
        return permissions.parse(params["IpPermissions"])
    if source:
        if flat:
            raise Ec2Error(
                "InvalidParameterCombination", f"The parameter {source[0]} cannot be used with the parameter {flat[0]}"
            )
        return _everything_from(params)
    if not flat:
        raise Ec2Error("MissingParameter", "The request must contain the parameter ipPermissions")
    permission = {name: params.get(name) for name in _FLAT[:3]}
    return permissions.parse([permission | {"IpRanges": _cidr(params)}])


def _cidr(params: Params) -> list[dict[str, Any]]:
    return [{"CidrIp": params["CidrIp"]}] if given(params, "CidrIp") else []


def _everything_from(params: Params) -> list[AskedRule]:
    """A source group alone stands for all of TCP, UDP and ICMP."""
    pair = {"GroupName": params.get("SourceSecurityGroupName"), "UserId": params.get("SourceSecurityGroupOwnerId")}
    spans = (("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1))
    return permissions.parse(
        {"IpProtocol": name, "FromPort": first, "ToPort": last, "UserIdGroupPairs": [pair]}
        for name, first, last in spans
    )


def refuse_unenforced(rules: Sequence[AskedRule], *, ipv6: bool) -> None:
    """Refuse what the data plane cannot enforce: it is neither stored nor passed over.

    Raises:
        Ec2Error: UnsupportedOperation, InvalidParameterValue (ICMP of one IP version from a prefix of the other).

    """
    for rule in rules:
        if not ipv6 and (rule.kind is SourceKind.CIDR6 or rule.protocol == permissions.ICMPV6):
            raise Ec2Error("UnsupportedOperation", "IPv6 rules are not supported by this cloud")
        if (rule.kind, rule.protocol) in _CONTRADICTIONS:
            name = permissions.protocol_name(rule.protocol)
            raise Ec2Error("InvalidParameterValue", f"Invalid value '{rule.source}' for {rule.kind} with {name}.")


def resolve(txn: Transaction, rules: Sequence[AskedRule], group: Row[Any]) -> list[Permission]:
    """The permissions that the rules mean, references resolved: ``group`` itself or another of its VPC.

    Raises:
        Ec2Error: InvalidGroup.NotFound (also for a group of another account or VPC), InvalidGroupId.Malformed,
            InvalidPrefixListId.Malformed, InvalidPrefixListID.NotFound, InvalidParameterValue, UnsupportedOperation (a
            VPC peering, a prefix list of IPv6 where there is none).

    """
    references = [rule.source for rule in rules if isinstance(rule.source, GroupReference)]
    _refuse_foreign(txn, references)
    _check_lists(txn, rules)
    known = _known(txn, references, group)
    return [
        rule.permission(known[_named(rule.source)] if isinstance(rule.source, GroupReference) else None)
        for rule in rules
    ]


def _check_lists(txn: Transaction, rules: Sequence[AskedRule]) -> None:
    """The prefix lists named are there, and of the IP version that their rules speak of."""
    asked = [(str(rule.source), rule.protocol) for rule in rules if rule.kind is SourceKind.PREFIX_LIST]
    lists = prefix_list_rows.named(txn, [key for key, _ in asked]) if asked else {}
    for key, protocol in asked:
        family = lists[key].family
        if family == "IPv6" and not txn.config.ipv6:
            raise Ec2Error("UnsupportedOperation", "IPv6 rules are not supported by this cloud")
        if protocol == (permissions.ICMPV6 if family == "IPv4" else permissions.ICMP):
            name = permissions.protocol_name(protocol)
            raise Ec2Error("InvalidParameterValue", f"Invalid value '{key}' for prefixListId with {name}.")


def _refuse_foreign(txn: Transaction, references: Sequence[GroupReference]) -> None:
    for reference in references:
        if reference.peering:
            raise Ec2Error("UnsupportedOperation", "VPC peering is not supported by this cloud")
        if reference.owner not in (None, txn.account):
            raise group_lookup.not_found(_named(reference))


def _known(txn: Transaction, references: Sequence[GroupReference], group: Row[Any]) -> dict[str, str]:
    """The ids of the groups referred to, by what the request calls them."""
    if not references:
        return {}
    wanted = {_named(reference) for reference in references}
    ids = [name for name in wanted if name.startswith("sg-") or any(r.id == name for r in references)]
    own = {group.name: group.id}  # outside the default VPC a name can only mean the group itself
    names = sorted(wanted.difference(ids).difference(own))
    rows = group_lookup.resolve(txn, sorted(ids), names)
    if any(row.vpc != group.vpc for row in rows):
        raise Ec2Error("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
    called = {row.id: row.name for row in rows}
    for reference in references:
        if reference.vpc not in (None, group.vpc):
            raise group_lookup.not_found(_named(reference))
        if reference.id and reference.name not in (None, reference.id, called[reference.id]):
            raise Ec2Error(
                "InvalidParameterCombination",
                f"The groupName '{reference.name}' and the groupId '{reference.id}' name different security groups",
            )
    return {row.id: row.id for row in rows} | {row.name: row.id for row in rows if row.name in names} | own


def _named(reference: GroupReference) -> str:
    return reference.id or reference.name or ""


def lenient(txn: Transaction, rules: Sequence[AskedRule], group: Row[Any]) -> list[Permission]:
    """As :func:`resolve` for a revocation: what cannot have been stored is simply not there."""
    _refuse_foreign(txn, [rule.source for rule in rules if isinstance(rule.source, GroupReference)])
    by_name = [rule for rule in rules if isinstance(rule.source, GroupReference) and not rule.source.id]
    resolved = iter(resolve(txn, by_name, group))
    return [
        next(resolved)
        if isinstance(rule.source, GroupReference) and not rule.source.id
        else rule.permission(rule.source.id if isinstance(rule.source, GroupReference) else None)
        for rule in rules
    ]
