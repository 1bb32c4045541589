"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    address_attributes,
    address_pools,
    address_transfers,
    addresses,
    associations,
    classic,
    group_queries,
    groups,
    images,
    instances,
    launch,
    nothing,
    prefix_list_queries,
    prefix_lists,
    rule_changes,
    rules,
    tags,
    zones,
)
from econe_api.call import Action, Answer, Handler

__all__ = ["ACTIONS"]


def _reads(handler: Handler) -> Action:
    return Action(handler, mutates=False)


def _writes(handler: Handler, settles: Callable[[Mapping[str, Any]], list[str]] | None = None) -> Action:
    return Action(handler, mutates=True, settles=settles)


def _empty(handler: Handler) -> Action:
    return Action(handler, mutates=False, answer=Answer.EMPTY)


def _refuses(handler: Handler) -> Action:
    return Action(handler, mutates=False, answer=Answer.REFUSED)


def _instances(member: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda answer: [instance["InstanceId"] for instance in answer[member]]


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "AcceptAddressTransfer": _writes(address_transfers.accept),
        "AllocateAddress": _writes(addresses.allocate),
        "AssociateAddress": _writes(associations.associate),
        "AssociateSecurityGroupVpc": _refuses(group_queries.associate),
        "AuthorizeSecurityGroupEgress": _writes(rules.authorize_egress),
        "AuthorizeSecurityGroupIngress": _writes(rules.authorize_ingress),
        "CreateManagedPrefixList": _writes(prefix_lists.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateTags": _writes(tags.create),
        "DeleteManagedPrefixList": _writes(prefix_lists.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteTags": _writes(tags.remove),
        "DescribeAddressTransfers": _reads(address_transfers.describe),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAddressesAttribute": _reads(address_attributes.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceTypes": _reads(images.describe_types),
        "DescribeInstances": _reads(instances.describe),
        "DescribeIpv6Pools": _empty(nothing.nothing("Ipv6Pools", "PoolIds", "InvalidPoolID.NotFound")),
        "DescribeManagedPrefixLists": _reads(prefix_list_queries.describe),
        "DescribeMovingAddresses": _empty(classic.describe_moving),
        "DescribePrefixLists": _reads(prefix_list_queries.describe_provided),
        "DescribePublicIpv4Pools": _reads(address_pools.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeSecurityGroupReferences": _empty(group_queries.references),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroupVpcAssociations": _empty(group_queries.associations),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeStaleSecurityGroups": _empty(group_queries.stale),
        "DescribeTags": _reads(tags.describe),
        "DisableAddressTransfer": _writes(address_transfers.disable),
        "DisassociateAddress": _writes(associations.disassociate),
        "DisassociateSecurityGroupVpc": _refuses(group_queries.disassociate),
        "EnableAddressTransfer": _writes(address_transfers.enable),
        "GetManagedPrefixListAssociations": _reads(prefix_list_queries.associations),
        "GetManagedPrefixListEntries": _reads(prefix_list_queries.entries),
        "GetSecurityGroupsForVpc": _reads(group_queries.for_vpc),
        "ModifyAddressAttribute": _writes(address_attributes.modify),
        "ModifyInstanceAttribute": _writes(instances.modify_attribute),
        "ModifyManagedPrefixList": _writes(prefix_lists.modify),
        "ModifySecurityGroupRules": _writes(rule_changes.modify),
        "MoveAddressToVpc": _refuses(classic.refuse_move),
        "ReleaseAddress": _writes(addresses.release),
        "ResetAddressAttribute": _writes(address_attributes.reset),
        "RestoreAddressToClassic": _refuses(classic.refuse_move),
        "RestoreManagedPrefixListVersion": _writes(prefix_lists.restore),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "TerminateInstances": _writes(instances.terminate, _instances("TerminatingInstances")),
        "UpdateSecurityGroupRuleDescriptionsEgress": _writes(rule_changes.describe_egress),
        "UpdateSecurityGroupRuleDescriptionsIngress": _writes(rule_changes.describe_ingress),
    }
)
