"""CreateSubnet, CreateDefaultSubnet, DeleteSubnet, DescribeSubnets and ModifySubnetAttribute."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, func, select, update

from econe_api.actions import cidr_blocks, identifiers, listing, networks, subnet_shapes, tag_rows, zones
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call, Params
from econe_api.errors import Ec2Error
from econe_api.store import vpc_rows
from econe_api.store.quotas import SUBNETS_PER_VPC
from econe_api.store.schema import interfaces, subnets, vpcs
from econe_api.store.transaction import Transaction

_CREATE = frozenset(
    {"VpcId", "CidrBlock", "Ipv6CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "TagSpecifications"}
)
#: Default subnets have 4,096 addresses, as in EC2.
_DEFAULT_PREFIX = 20

#: What ModifySubnetAttribute may be told of what is so anyway.
_AS_IT_IS: Mapping[str, tuple[Any, ...]] = {
    "MapPublicIpOnLaunch": ({"Value": False},),
    "MapCustomerOwnedIpOnLaunch": ({"Value": False},),
    "EnableDns64": ({"Value": False},),
    "PrivateDnsHostnameTypeOnLaunch": ("ip-name",),
    "EnableResourceNameDnsARecordOnLaunch": ({"Value": False},),
    "EnableResourceNameDnsAAAARecordOnLaunch": ({"Value": False},),
    "DisableLniAtDeviceIndex": ({"Value": True},),
}


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a subnet: a part of its VPC's range that no other subnet has, in one zone."""
    params = call.params
    require(params, "VpcId")
    _refuse_ipv6_native(params)
    require(params, "CidrBlock")
    refuse_unsupported(params, _CREATE, {"Ipv6Native": (False,)})
    block = cidr_blocks.ipv4_block(params["CidrBlock"])
    tags = tag_rows.specified(params, "subnet").get("subnet", {})
    vpc = networks.vpc(txn, params["VpcId"])
    zone = _zone(params, txn)
    if not cidr_blocks.usable(block) or not block.subnet_of(ipaddress.IPv4Network(vpc.cidr)):
        raise Ec2Error("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.")
    others = list(txn.connection.execute(select(subnets).where(subnets.c.vpc == vpc.id)))
    _refuse_conflict(block, (ipaddress.IPv4Network(row.cidr) for row in others))
    block6 = _ipv6(params.get("Ipv6CidrBlock"), vpc, others)
    if len(others) >= txn.quota(SUBNETS_PER_VPC):
        raise _full()
    subnet = vpc_rows.add_subnet(txn, vpc.id, str(block), zone, block6, default=False)
    tag_rows.write(txn, "subnet", [subnet], tags)
    return {"Subnet": _show(txn, subnet)}


def _refuse_ipv6_native(params: Params) -> None:
    """What EC2 finds wrong with a subnet of IPv6 alone comes before what this cloud finds wrong with it."""
    if not params.get("Ipv6Native"):
        return
    if not (given(params, "Ipv6CidrBlock") or given(params, "Ipv6IpamPoolId")):
        raise Ec2Error("MissingParameter", "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.")
    if given(params, "CidrBlock") or given(params, "Ipv4IpamPoolId"):
        raise Ec2Error(
            "InvalidParameterCombination",
            "When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true.",
        )
    raise Ec2Error("UnsupportedOperation", "Subnets of IPv6 alone are not supported by this cloud")


def _full() -> Ec2Error:
    return Ec2Error("SubnetLimitExceeded", "The maximum number of subnets for this VPC has been reached.")


def _zone(params: Params, txn: Transaction) -> str:
    """The zone asked for by name or id; the first when none is."""
    name, zone_id = params.get("AvailabilityZone"), params.get("AvailabilityZoneId")
    if name and zone_id:
        raise Ec2Error(
            "InvalidParameterCombination", "You may specify availabilityZone or availabilityZoneId, but not both"
        )
    known = zones.ids(txn.config)
    found = name or next((zone for zone, known_id in known.items() if known_id == zone_id), zone_id)
    if not found:
        return txn.config.zones[0]
    if found not in known:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({found}) for parameter availabilityZone is invalid. Subnets can currently only be created in the "
            f"following availability zones: {', '.join(known)}.",
        )
    return str(found)


def _refuse_conflict(block: ipaddress.IPv4Network, others: Iterable[ipaddress.IPv4Network]) -> None:
    if any(block.overlaps(other) for other in others):
        raise Ec2Error("InvalidSubnet.Conflict", f"The CIDR '{block}' conflicts with another subnet")


def _ipv6(text: str | None, vpc: Row[Any], others: Iterable[Row[Any]]) -> str | None:
    if not text:
        return None
    block = cidr_blocks.ipv6_block(text, "ipv6CidrBlock")
    if vpc.ipv6_cidr is None or block.prefixlen != 64 or not block.subnet_of(ipaddress.IPv6Network(vpc.ipv6_cidr)):
        raise Ec2Error("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.")
    if str(block) in {row.ipv6_cidr for row in others}:
        raise Ec2Error("InvalidSubnet.Conflict", f"The CIDR '{block}' conflicts with another subnet")
    return str(block)


def _show(txn: Transaction, subnet: str) -> dict[str, Any]:
    return subnet_shapes.subnet(subnet_shapes.load(txn, subnets.c.id == subnet)[0])


def create_default(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make the default subnet of a zone again, in the first free part of the default VPC."""
    params = call.params
    refuse_unsupported(params, frozenset({"AvailabilityZone", "AvailabilityZoneId"}), {"Ipv6Native": (False,)})
    if not params.get("AvailabilityZone") and not params.get("AvailabilityZoneId"):
        raise Ec2Error("MissingParameter", "The request must contain the parameter availabilityZone")
    zone = _zone(params, txn)
    vpc = txn.connection.execute(select(vpcs).where(vpcs.c.account == txn.account, vpcs.c.is_default)).first()
    if vpc is None:
        raise Ec2Error("DefaultVpcDoesNotExist", "No default VPC exists for this account in this region.")
    others = list(txn.connection.execute(select(subnets).where(subnets.c.vpc == vpc.id)))
    for row in others:
        if row.is_default and row.zone == zone:
            raise Ec2Error(
                "DefaultSubnetAlreadyExistsInAvailabilityZone", f"'{row.id}' is already the default subnet in {zone}."
            )
    if len(others) >= txn.quota(SUBNETS_PER_VPC):
        raise _full()
    taken = [ipaddress.IPv4Network(row.cidr) for row in others]
    blocks = ipaddress.IPv4Network(vpc.cidr).subnets(new_prefix=_DEFAULT_PREFIX)
    block = next((block for block in blocks if not any(block.overlaps(other) for other in taken)), None)
    if block is None:
        raise Ec2Error("InvalidSubnet.Conflict", f"The default VPC '{vpc.id}' has no room for one more default subnet")
    block6 = None
    if vpc.ipv6_cidr is not None:
        used = {row.ipv6_cidr for row in others}
        parts = map(str, ipaddress.IPv6Network(vpc.ipv6_cidr).subnets(new_prefix=64))
        block6 = next((part for part in parts if part not in used), None)
    return {"Subnet": _show(txn, vpc_rows.add_subnet(txn, vpc.id, str(block), zone, block6, default=True))}


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a subnet that no interface is in."""
    require(call.params, "SubnetId")
    subnet = networks.subnet(txn, call.params["SubnetId"]).id
    inside = select(func.count()).select_from(interfaces).where(interfaces.c.subnet == subnet)
    if txn.connection.scalar(inside):
        raise Ec2Error("DependencyViolation", f"The subnet '{subnet}' has dependencies and cannot be deleted.")
    vpc_rows.remove_subnet(txn, subnet)
    tag_rows.forget(txn, [subnet])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show subnets: all, or those named, that pass the filters."""
    identifiers.check("subnet", call.params.get("SubnetIds") or ())
    views = subnet_shapes.load(txn)
    shown, more = listing.choose(call, views, "SubnetIds", subnet_shapes.FIELDS, networks.no_subnet)
    return {"Subnets": [subnet_shapes.subnet(view) for view in shown]} | more


def modify_attribute(call: Call, txn: Transaction) -> dict[str, Any]:
    """Say whether new interfaces get an IPv6 address by themselves."""
    params = call.params
    require(params, "SubnetId")
    if (params.get("MapPublicIpOnLaunch") or {}).get("Value"):
        raise Ec2Error(
            "UnsupportedOperation",
            "Public addresses at launch (mapPublicIpOnLaunch) are not supported by this cloud: allocate an elastic IP",
        )
    refuse_unsupported(params, frozenset({"SubnetId", "AssignIpv6AddressOnCreation"}), _AS_IT_IS)
    subnet = networks.subnet(txn, params["SubnetId"])
    asked = params.get("AssignIpv6AddressOnCreation")
    if asked is not None:
        require(asked, "Value")
        if asked["Value"] and subnet.ipv6_cidr is None:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Invalid value 'true' for assignIpv6AddressOnCreation. The subnet '{subnet.id}' has no IPv6 CIDR",
            )
        txn.connection.execute(update(subnets).where(subnets.c.id == subnet.id).values(assign_ipv6=asked["Value"]))
    return {}
