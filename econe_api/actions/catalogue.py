"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    absent_kinds,
    account_attributes,
    address_attributes,
    address_pools,
    address_transfers,
    addresses,
    assignments,
    associations,
    attachments,
    classic,
    dhcp_options,
    group_queries,
    groups,
    image_registration,
    images,
    instance_attributes,
    instance_metadata,
    instance_states,
    instance_status,
    instance_types,
    instances,
    interface_attributes,
    interfaces,
    internet_gateways,
    key_pairs,
    launch,
    network_acls,
    prefix_list_queries,
    prefix_lists,
    route_tables,
    routes,
    rule_changes,
    rules,
    subnets,
    tags,
    vpcs,
    zones,
)
from econe_api.call import Action, Answer, Handler

__all__ = ["ACTIONS"]


def _reads(handler: Handler) -> Action:
    return Action(handler, mutates=False)


def _writes(handler: Handler, settles: Callable[[Mapping[str, Any]], list[str]] | None = None) -> Action:
    return Action(handler, mutates=True, settles=settles)


def _starts(handler: Handler, settles: Callable[[Mapping[str, Any]], list[str]] | None = None) -> Action:
    return Action(handler, mutates=True, settles=settles, starts=True)


def _empty(handler: Handler) -> Action:
    return Action(handler, mutates=False, answer=Answer.EMPTY)


def _refuses(handler: Handler) -> Action:
    return Action(handler, mutates=False, answer=Answer.REFUSED)


def _instances(member: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda answer: [instance["InstanceId"] for instance in answer[member]]


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        **{name: _empty(handler) for name, handler in absent_kinds.HANDLERS.items()},
        "AcceptAddressTransfer": _writes(address_transfers.accept),
        "AllocateAddress": _writes(addresses.allocate),
        "AssignIpv6Addresses": _writes(assignments.assign_ipv6),
        "AssignPrivateIpAddresses": _writes(assignments.assign_private),
        "AssociateAddress": _writes(associations.associate),
        "AssociateRouteTable": _writes(route_tables.associate),
        "AssociateSecurityGroupVpc": _refuses(group_queries.associate),
        "AttachInternetGateway": _writes(internet_gateways.attach),
        "AttachNetworkInterface": _writes(attachments.attach),
        "AuthorizeSecurityGroupEgress": _writes(rules.authorize_egress),
        "AuthorizeSecurityGroupIngress": _writes(rules.authorize_ingress),
        "CreateDefaultSubnet": _writes(subnets.create_default),
        "CreateDefaultVpc": _writes(vpcs.create_default),
        "CreateInternetGateway": _writes(internet_gateways.create),
        "CreateKeyPair": Action(key_pairs.create, mutates=True, prepare=key_pairs.generate),
        "CreateManagedPrefixList": _writes(prefix_lists.create),
        "CreateNetworkInterface": _writes(interfaces.create),
        "CreateRoute": _writes(routes.create),
        "CreateRouteTable": _writes(route_tables.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateSubnet": _writes(subnets.create),
        "CreateTags": _writes(tags.create),
        "CreateVpc": _writes(vpcs.create),
        "DeleteInternetGateway": _writes(internet_gateways.remove),
        "DeleteKeyPair": _writes(key_pairs.remove),
        "DeleteManagedPrefixList": _writes(prefix_lists.remove),
        "DeleteNetworkInterface": _writes(interfaces.remove),
        "DeleteRoute": _writes(routes.remove),
        "DeleteRouteTable": _writes(route_tables.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteSubnet": _writes(subnets.remove),
        "DeleteTags": _writes(tags.remove),
        "DeleteVpc": _writes(vpcs.remove),
        "DeregisterImage": _writes(image_registration.deregister),
        "DescribeAccountAttributes": _reads(account_attributes.describe),
        "DescribeAddressTransfers": _reads(address_transfers.describe),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAddressesAttribute": _reads(address_attributes.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeDhcpOptions": _reads(dhcp_options.describe),
        "DescribeImageAttribute": _reads(images.describe_attribute),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceAttribute": _reads(instance_attributes.describe),
        "DescribeInstanceCreditSpecifications": _reads(absent_kinds.describe_credits),
        "DescribeInstanceEventNotificationAttributes": _reads(absent_kinds.describe_event_notifications),
        "DescribeInstanceStatus": _reads(instance_status.describe),
        "DescribeInstanceTypeOfferings": _reads(instance_types.describe_offerings),
        "DescribeInstanceTypes": _reads(instance_types.describe),
        "DescribeInstances": _reads(instances.describe),
        "DescribeInternetGateways": _reads(internet_gateways.describe),
        "DescribeKeyPairs": _reads(key_pairs.describe),
        "DescribeManagedPrefixLists": _reads(prefix_list_queries.describe),
        "DescribeMovingAddresses": _empty(classic.describe_moving),
        "DescribeNetworkAcls": _reads(network_acls.describe),
        "DescribeNetworkInterfaceAttribute": _reads(interface_attributes.describe),
        "DescribeNetworkInterfaces": _reads(interfaces.describe),
        "DescribePrefixLists": _reads(prefix_list_queries.describe_provided),
        "DescribePublicIpv4Pools": _reads(address_pools.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeRouteTables": _reads(route_tables.describe),
        "DescribeSecurityGroupReferences": _empty(group_queries.references),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroupVpcAssociations": _empty(group_queries.associations),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeStaleSecurityGroups": _empty(group_queries.stale),
        "DescribeSubnets": _reads(subnets.describe),
        "DescribeTags": _reads(tags.describe),
        "DescribeVpcAttribute": _reads(vpcs.describe_attribute),
        "DescribeVpcClassicLink": _reads(classic.describe_links),
        "DescribeVpcClassicLinkDnsSupport": _reads(classic.describe_link_dns),
        "DescribeVpcs": _reads(vpcs.describe),
        "DetachInternetGateway": _writes(internet_gateways.detach),
        "DetachNetworkInterface": _writes(attachments.detach),
        "DisableAddressTransfer": _writes(address_transfers.disable),
        "DisassociateAddress": _writes(associations.disassociate),
        "DisassociateRouteTable": _writes(route_tables.disassociate),
        "DisassociateSecurityGroupVpc": _refuses(group_queries.disassociate),
        "EnableAddressTransfer": _writes(address_transfers.enable),
        "GetConsoleOutput": _reads(instance_status.console_output),
        "GetManagedPrefixListAssociations": _reads(prefix_list_queries.associations),
        "GetManagedPrefixListEntries": _reads(prefix_list_queries.entries),
        "GetPasswordData": _reads(instance_status.password_data),
        "GetSecurityGroupsForVpc": _reads(group_queries.for_vpc),
        "ImportKeyPair": _writes(key_pairs.bring),
        "ModifyAddressAttribute": _writes(address_attributes.modify),
        "ModifyInstanceAttribute": _writes(instance_attributes.modify),
        "ModifyInstanceMetadataOptions": _writes(instance_metadata.modify),
        "ModifyManagedPrefixList": _writes(prefix_lists.modify),
        "ModifyNetworkInterfaceAttribute": _writes(interface_attributes.modify),
        "ModifySecurityGroupRules": _writes(rule_changes.modify),
        "ModifySubnetAttribute": _writes(subnets.modify_attribute),
        "ModifyVpcAttribute": _writes(vpcs.modify_attribute),
        "MonitorInstances": _writes(instances.monitor),
        "MoveAddressToVpc": _refuses(classic.refuse_move),
        "RebootInstances": _starts(instance_states.reboot),
        "RegisterImage": _writes(image_registration.register),
        "ReleaseAddress": _writes(addresses.release),
        "ReplaceRoute": _writes(routes.replace),
        "ReplaceRouteTableAssociation": _writes(route_tables.replace),
        "ResetAddressAttribute": _writes(address_attributes.reset),
        "ResetInstanceAttribute": _writes(instance_attributes.reset),
        "ResetNetworkInterfaceAttribute": _writes(interface_attributes.reset),
        "RestoreAddressToClassic": _refuses(classic.refuse_move),
        "RestoreManagedPrefixListVersion": _writes(prefix_lists.restore),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _starts(launch.run, _instances("Instances")),
        "StartInstances": _starts(instance_states.start, _instances("StartingInstances")),
        "StopInstances": _writes(instance_states.stop, _instances("StoppingInstances")),
        "TerminateInstances": _writes(instance_states.terminate, _instances("TerminatingInstances")),
        "UnassignIpv6Addresses": _writes(assignments.unassign_ipv6),
        "UnassignPrivateIpAddresses": _writes(assignments.unassign_private),
        "UnmonitorInstances": _writes(instances.unmonitor),
        "UpdateSecurityGroupRuleDescriptionsEgress": _writes(rule_changes.describe_egress),
        "UpdateSecurityGroupRuleDescriptionsIngress": _writes(rule_changes.describe_ingress),
    }
)
