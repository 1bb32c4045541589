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
    instance_metadata,
    instances,
    launch,
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
        "CreateSecurityGroup": _writes(groups.create),
        "CreateTags": _writes(tags.create),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteTags": _writes(tags.remove),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceTypes": _reads(images.describe_types),
        "DescribeInstances": _reads(instances.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeTags": _reads(tags.describe),
        "DisassociateAddress": _writes(associations.disassociate),
        "ModifyInstanceAttribute": _writes(instances.modify_attribute),
        "ModifyInstanceMetadataOptions": _writes(instance_metadata.modify),
        "ReleaseAddress": _writes(addresses.release),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "TerminateInstances": _writes(instances.terminate, _instances("TerminatingInstances")),
    }
)
