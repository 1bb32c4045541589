"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    addresses,
    assignments,
    associations,
    attachments,
    groups,
    images,
    instances,
    interface_attributes,
    interfaces,
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
        "AssignIpv6Addresses": _writes(assignments.assign_ipv6),
        "AssignPrivateIpAddresses": _writes(assignments.assign_private),
        "AssociateAddress": _writes(associations.associate),
        "AttachNetworkInterface": _writes(attachments.attach),
        "AuthorizeSecurityGroupEgress": _writes(rules.authorize_egress),
        "AuthorizeSecurityGroupIngress": _writes(rules.authorize_ingress),
        "CreateNetworkInterface": _writes(interfaces.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateTags": _writes(tags.create),
        "DeleteNetworkInterface": _writes(interfaces.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteTags": _writes(tags.remove),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceTypes": _reads(images.describe_types),
        "DescribeInstances": _reads(instances.describe),
        "DescribeNetworkInterfaceAttribute": _reads(interface_attributes.describe),
        "DescribeNetworkInterfaces": _reads(interfaces.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeTags": _reads(tags.describe),
        "DetachNetworkInterface": _writes(attachments.detach),
        "DisassociateAddress": _writes(associations.disassociate),
        "ModifyInstanceAttribute": _writes(instances.modify_attribute),
        "ModifyNetworkInterfaceAttribute": _writes(interface_attributes.modify),
        "ReleaseAddress": _writes(addresses.release),
        "ResetNetworkInterfaceAttribute": _writes(interface_attributes.reset),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "TerminateInstances": _writes(instances.terminate, _instances("TerminatingInstances")),
        "UnassignIpv6Addresses": _writes(assignments.unassign_ipv6),
        "UnassignPrivateIpAddresses": _writes(assignments.unassign_private),
    }
)
