"""Kinds of network resources that this cloud has none of; clients look for them before they clean up a VPC."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: By action: the list that stays empty, the parameter that names resources, the code of one that is not there.
#: Instances that are named may well exist (None): they are just not linked to EC2-Classic.
NETWORKS: Mapping[str, tuple[str, str | None, str]] = MappingProxyType(
    {
        "DescribeCarrierGateways": ("CarrierGateways", "CarrierGatewayIds", "InvalidCarrierGatewayID.NotFound"),
        "DescribeClassicLinkInstances": ("Instances", None, ""),
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
