"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    addresses,
    associations,
    groups,
    images,
    instances,
    launch,
    prefix_list_queries,
    prefix_lists,
    rule_changes,
    rules,
    tags,
    zones,
)
from econe_api.call import Action, Handler

__all__ = ["ACTIONS"]


def _reads(handler: Handler) -> Action:
    return Action(handler, mutates=False)


def _writes(handler: Handler, settles: Callable[[Mapping[str, Any]], list[str]] | None = None) -> Action:
    return Action(handler, mutates=True, settles=settles)


def _instances(member: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda answer: [instance["InstanceId"] for instance in answer[member]]


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "AllocateAddress": _writes(addresses.allocate),
        "AssociateAddress": _writes(associations.associate),
        "AuthorizeSecurityGroupEgress": _writes(rules.authorize_egress),
        "AuthorizeSecurityGroupIngress": _writes(rules.authorize_ingress),
        "CreateManagedPrefixList": _writes(prefix_lists.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateTags": _writes(tags.create),
        "DeleteManagedPrefixList": _writes(prefix_lists.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteTags": _writes(tags.remove),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceTypes": _reads(images.describe_types),
        "DescribeInstances": _reads(instances.describe),
        "DescribeManagedPrefixLists": _reads(prefix_list_queries.describe),
        "DescribePrefixLists": _reads(prefix_list_queries.describe_provided),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeTags": _reads(tags.describe),
        "DisassociateAddress": _writes(associations.disassociate),
        "GetManagedPrefixListAssociations": _reads(prefix_list_queries.associations),
        "GetManagedPrefixListEntries": _reads(prefix_list_queries.entries),
        "ModifyInstanceAttribute": _writes(instances.modify_attribute),
        "ModifyManagedPrefixList": _writes(prefix_lists.modify),
        "ModifySecurityGroupRules": _writes(rule_changes.modify),
        "ReleaseAddress": _writes(addresses.release),
        "RestoreManagedPrefixListVersion": _writes(prefix_lists.restore),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "TerminateInstances": _writes(instances.terminate, _instances("TerminatingInstances")),
        "UpdateSecurityGroupRuleDescriptionsEgress": _writes(rule_changes.describe_egress),
        "UpdateSecurityGroupRuleDescriptionsIngress": _writes(rule_changes.describe_ingress),
    }
)
