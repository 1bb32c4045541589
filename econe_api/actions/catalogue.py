"""Every action by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from econe_api.actions import (
    absent_kinds,
    account_attributes,
    addresses,
    associations,
    dhcp_options,
    groups,
    images,
    instances,
    internet_gateways,
    launch,
    network_acls,
    route_tables,
    routes,
    rules,
    subnets,
    tags,
    vpcs,
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
        **{name: _reads(handler) for name, handler in absent_kinds.HANDLERS.items()},
        "AllocateAddress": _writes(addresses.allocate),
        "AssociateAddress": _writes(associations.associate),
        "AssociateRouteTable": _writes(route_tables.associate),
        "AttachInternetGateway": _writes(internet_gateways.attach),
        "AuthorizeSecurityGroupEgress": _writes(rules.authorize_egress),
        "AuthorizeSecurityGroupIngress": _writes(rules.authorize_ingress),
        "CreateDefaultSubnet": _writes(subnets.create_default),
        "CreateDefaultVpc": _writes(vpcs.create_default),
        "CreateInternetGateway": _writes(internet_gateways.create),
        "CreateRoute": _writes(routes.create),
        "CreateRouteTable": _writes(route_tables.create),
        "CreateSecurityGroup": _writes(groups.create),
        "CreateSubnet": _writes(subnets.create),
        "CreateTags": _writes(tags.create),
        "CreateVpc": _writes(vpcs.create),
        "DeleteInternetGateway": _writes(internet_gateways.remove),
        "DeleteRoute": _writes(routes.remove),
        "DeleteRouteTable": _writes(route_tables.remove),
        "DeleteSecurityGroup": _writes(groups.remove),
        "DeleteSubnet": _writes(subnets.remove),
        "DeleteTags": _writes(tags.remove),
        "DeleteVpc": _writes(vpcs.remove),
        "DescribeAccountAttributes": _reads(account_attributes.describe),
        "DescribeAddresses": _reads(addresses.describe),
        "DescribeAvailabilityZones": _reads(zones.describe_zones),
        "DescribeDhcpOptions": _reads(dhcp_options.describe),
        "DescribeImages": _reads(images.describe_images),
        "DescribeInstanceTypes": _reads(images.describe_types),
        "DescribeInstances": _reads(instances.describe),
        "DescribeInternetGateways": _reads(internet_gateways.describe),
        "DescribeNetworkAcls": _reads(network_acls.describe),
        "DescribeRegions": _reads(zones.describe_regions),
        "DescribeRouteTables": _reads(route_tables.describe),
        "DescribeSecurityGroupRules": _reads(rules.describe_rules),
        "DescribeSecurityGroups": _reads(groups.describe),
        "DescribeSubnets": _reads(subnets.describe),
        "DescribeTags": _reads(tags.describe),
        "DescribeVpcAttribute": _reads(vpcs.describe_attribute),
        "DescribeVpcs": _reads(vpcs.describe),
        "DetachInternetGateway": _writes(internet_gateways.detach),
        "DisassociateAddress": _writes(associations.disassociate),
        "DisassociateRouteTable": _writes(route_tables.disassociate),
        "ModifyInstanceAttribute": _writes(instances.modify_attribute),
        "ModifySubnetAttribute": _writes(subnets.modify_attribute),
        "ModifyVpcAttribute": _writes(vpcs.modify_attribute),
        "ReleaseAddress": _writes(addresses.release),
        "ReplaceRoute": _writes(routes.replace),
        "ReplaceRouteTableAssociation": _writes(route_tables.replace),
        "RevokeSecurityGroupEgress": _writes(rules.revoke_egress),
        "RevokeSecurityGroupIngress": _writes(rules.revoke_ingress),
        "RunInstances": _writes(launch.run, _instances("Instances")),
        "TerminateInstances": _writes(instances.terminate, _instances("TerminatingInstances")),
    }
)
