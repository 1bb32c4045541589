"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    absent_kinds,
    addresses,
    associations,
    groups,
    images,
    instance_attributes,
    instance_states,
    instance_status,
    instance_types,
    instances,
    key_pairs,
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
        "CreateKeyPair": _writes(key_pairs.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateTags": _writes(tags.create),
        "DeleteKeyPair": _writes(key_pairs.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteTags": _writes(tags.remove),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeImageAttribute": _reads(images.describe_attribute),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceAttribute": _reads(instance_attributes.describe),
        "DescribeInstanceCreditSpecifications": _reads(absent_kinds.describe_credits),
        "DescribeInstanceEventNotificationAttributes": _reads(absent_kinds.describe_event_notifications),
        "DescribeInstanceStatus": _reads(instance_status.describe),
        "DescribeInstanceTypeOfferings": _reads(instance_types.describe_offerings),
        "DescribeInstanceTypes": _reads(instance_types.describe),
        "DescribeInstances": _reads(instances.describe),
        "DescribeKeyPairs": _reads(key_pairs.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeTags": _reads(tags.describe),
        "DisassociateAddress": _writes(associations.disassociate),
        "GetConsoleOutput": _reads(instance_status.console_output),
        "GetPasswordData": _reads(instance_status.password_data),
        "ImportKeyPair": _writes(key_pairs.bring),
        "MonitorInstances": _writes(instances.monitor),
        "ModifyInstanceAttribute": _writes(instance_attributes.modify),
        "RebootInstances": _writes(instance_states.reboot),
        "ReleaseAddress": _writes(addresses.release),
        "ResetInstanceAttribute": _writes(instance_attributes.reset),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "StartInstances": _writes(instance_states.start, _instances("StartingInstances")),
        "StopInstances": _writes(instance_states.stop, _instances("StoppingInstances")),
        "TerminateInstances": _writes(instance_states.terminate, _instances("TerminatingInstances")),
        "UnmonitorInstances": _writes(instances.unmonitor),
        **{action: _reads(handler) for action, handler in absent_kinds.HANDLERS.items()},
    }
)
