"""Kinds of resources that this cloud has none of, as answers to clients that look for them before they clean up.

Their Describe calls show nothing; an id that is named does not exist; whatever would make one is not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from econe_api.call import Call, Handler
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

#: By action: the list that stays empty, the parameter that names resources, the code of one that is not there.
_KINDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "DescribeCarrierGateways": ("CarrierGateways", "CarrierGatewayIds", "InvalidCarrierGatewayID.NotFound"),
        "DescribeClassicLinkInstances": ("Instances", "InstanceIds", "InvalidInstanceID.NotFound"),
        "DescribeClientVpnEndpoints": (
            "ClientVpnEndpoints",
            "ClientVpnEndpointIds",
            "InvalidClientVpnEndpointId.NotFound",
        ),
        "DescribeCustomerGateways": ("CustomerGateways", "CustomerGatewayIds", "InvalidCustomerGatewayID.NotFound"),
        "DescribeEgressOnlyInternetGateways": (
            "EgressOnlyInternetGateways",
            "EgressOnlyInternetGatewayIds",
            "InvalidEgressOnlyInternetGatewayId.NotFound",
        ),
        "DescribeFlowLogs": ("FlowLogs", "FlowLogIds", "InvalidFlowLogId.NotFound"),
        "DescribeInstanceConnectEndpoints": (
            "InstanceConnectEndpoints",
            "InstanceConnectEndpointIds",
            "InvalidInstanceConnectEndpointId.NotFound",
        ),
        "DescribeIpv6Pools": ("Ipv6Pools", "PoolIds", "InvalidPoolID.NotFound"),
        "DescribeLocalGateways": ("LocalGateways", "LocalGatewayIds", "InvalidLocalGatewayID.NotFound"),
        "DescribeNatGateways": ("NatGateways", "NatGatewayIds", "NatGatewayNotFound"),
        "DescribeTransitGatewayAttachments": (
            "TransitGatewayAttachments",
            "TransitGatewayAttachmentIds",
            "InvalidTransitGatewayAttachmentID.NotFound",
        ),
        "DescribeTransitGatewayRouteTables": (
            "TransitGatewayRouteTables",
            "TransitGatewayRouteTableIds",
            "InvalidRouteTableID.NotFound",
        ),
        "DescribeTransitGatewayVpcAttachments": (
            "TransitGatewayVpcAttachments",
            "TransitGatewayAttachmentIds",
            "InvalidTransitGatewayAttachmentID.NotFound",
        ),
        "DescribeTransitGateways": ("TransitGateways", "TransitGatewayIds", "InvalidTransitGatewayID.NotFound"),
        "DescribeVpcClassicLink": ("Vpcs", "VpcIds", "InvalidVpcID.NotFound"),
        "DescribeVpcClassicLinkDnsSupport": ("Vpcs", "VpcIds", "InvalidVpcID.NotFound"),
        "DescribeVpcEndpointServiceConfigurations": (
            "ServiceConfigurations",
            "ServiceIds",
            "InvalidVpcEndpointServiceId.NotFound",
        ),
        "DescribeVpcEndpointServices": ("ServiceNames", "ServiceNames", "InvalidServiceName"),
        "DescribeVpcEndpoints": ("VpcEndpoints", "VpcEndpointIds", "InvalidVpcEndpointId.NotFound"),
        "DescribeVpcPeeringConnections": (
            "VpcPeeringConnections",
            "VpcPeeringConnectionIds",
            "InvalidVpcPeeringConnectionID.NotFound",
        ),
        "DescribeVpnConnections": ("VpnConnections", "VpnConnectionIds", "InvalidVpnConnectionID.NotFound"),
        "DescribeVpnGateways": ("VpnGateways", "VpnGatewayIds", "InvalidVpnGatewayID.NotFound"),
    }
)
#: Actions whose named VPCs may well exist, but have never been linked.
_LINKS = frozenset({"DescribeVpcClassicLink", "DescribeVpcClassicLinkDnsSupport", "DescribeClassicLinkInstances"})


def _describe(call: Call, _txn: Transaction) -> dict[str, Any]:
    """Show nothing, and refuse ids: there is nothing that could have one."""
    member, ids, code = _KINDS[call.action]
    for name in () if call.action in _LINKS else call.params.get(ids) or ():
        raise Ec2Error(code, f"The ID '{name}' does not exist")
    return {member: []}


#: The handler of each action.
HANDLERS: Mapping[str, Handler] = MappingProxyType(dict.fromkeys(_KINDS, _describe))
