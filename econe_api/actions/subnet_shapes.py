"""Subnets between their rows and the shape of the EC2 API."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select

from econe_api.actions import tag_rows, zones
from econe_api.actions.filters import Field
from econe_api.actions.identifiers import following
from econe_api.actions.placement import RESERVED_FIRST
from econe_api.actions.tag_rows import Tags
from econe_api.store.schema import interfaces, secondary_addresses, subnets, vpcs
from econe_api.store.transaction import Transaction

#: The names of a subnet's addresses: after their digits, and no resource names besides.
_HOSTNAMES = {
    "HostnameType": "ip-name",
    "EnableResourceNameDnsARecord": False,
    "EnableResourceNameDnsAAAARecord": False,
}


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet's row, how many of its IPv4 addresses interfaces have, the id of its zone, its owner and its tags."""

    row: Row[Any]
    used: int
    zone_id: str
    arn: str
    owner: str
    tags: Tags

    @property
    def id(self) -> str:
        """The subnet's id."""
        return str(self.row.id)

    @property
    def free(self) -> int:
        """How many addresses instances may still have: all but the first four, the last and those in use."""
        return ipaddress.IPv4Network(self.row.cidr).num_addresses - RESERVED_FIRST - 1 - self.used


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[Subnet]:
    """The caller's subnets that the clauses choose (four statements)."""
    query = select(subnets).join(vpcs, vpcs.c.id == subnets.c.vpc).where(vpcs.c.account == txn.account, *clauses)
    rows = list(txn.connection.execute(query))
    used: Counter[str] = Counter()
    primary = select(interfaces.c.subnet, func.count())
    further = primary.join(secondary_addresses, secondary_addresses.c.interface == interfaces.c.id)
    for counts in (primary, further):
        mine = counts.where(interfaces.c.account == txn.account).group_by(interfaces.c.subnet)
        for name, count in txn.connection.execute(mine):
            used[name] += count
    tags = tag_rows.load(txn, "subnet", [row.id for row in rows])
    arn = f"arn:aws:ec2:{txn.config.region}:{txn.account}:subnet/"
    ids = zones.ids(txn.config)
    return [
        Subnet(row, used[row.id], ids.get(row.zone, row.zone), arn + row.id, txn.account, tags[row.id]) for row in rows
    ]


def subnet(view: Subnet) -> dict[str, Any]:
    """Subnet of a subnet."""
    row = view.row
    block6 = {
        "AssociationId": following("subnet-cidr-assoc", row.id),
        "Ipv6CidrBlock": row.ipv6_cidr,
        "Ipv6CidrBlockState": {"State": "associated"},
    }
    return {
        "SubnetId": row.id,
        "SubnetArn": view.arn,
        "OwnerId": view.owner,
        "VpcId": row.vpc,
        "State": "available",
        "CidrBlock": row.cidr,
        "AvailableIpAddressCount": view.free,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": view.zone_id,
        "DefaultForAz": row.is_default,
        "MapPublicIpOnLaunch": False,
        "MapCustomerOwnedIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": row.assign_ipv6,
        "Ipv6CidrBlockAssociationSet": [block6] if row.ipv6_cidr is not None else [],
        "Ipv6Native": False,
        "EnableDns64": False,
        "PrivateDnsNameOptionsOnLaunch": _HOSTNAMES,
        "Tags": tag_rows.shape(view.tags),
    }


def _never(_view: Subnet) -> tuple[str, ...]:
    return ()


def _fixed(value: str) -> Field[Subnet]:
    return Field(lambda _view: (value,))


_ZONE: Field[Subnet] = Field(lambda view: (view.row.zone,))
_ZONE_ID: Field[Subnet] = Field(lambda view: (view.zone_id,))
_CIDR: Field[Subnet] = Field(lambda view: (view.row.cidr,))
_DEFAULT: Field[Subnet] = Field(lambda view: (str(view.row.is_default).lower(),))
#: The filters of DescribeSubnets, with the spellings of old clients.
FIELDS: dict[str, Field[Subnet]] = {
    "availability-zone": _ZONE,
    "availabilityZone": _ZONE,
    "availability-zone-id": _ZONE_ID,
    "availabilityZoneId": _ZONE_ID,
    "available-ip-address-count": Field(lambda view: (str(view.free),)),
    "cidr": _CIDR,
    "cidr-block": _CIDR,
    "cidrBlock": _CIDR,
    "customer-owned-ipv4-pool": Field(_never),
    "default-for-az": _DEFAULT,
    "defaultForAz": _DEFAULT,
    "enable-dns64": _fixed("false"),
    "enable-lni-at-device-index": Field(_never),
    "ipv6-cidr-block-association.association-id": Field(
        lambda view: (following("subnet-cidr-assoc", view.id),) if view.row.ipv6_cidr is not None else ()
    ),
    "ipv6-cidr-block-association.ipv6-cidr-block": Field(lambda view: (view.row.ipv6_cidr,)),
    "ipv6-cidr-block-association.state": Field(lambda view: ("associated",) if view.row.ipv6_cidr is not None else ()),
    "ipv6-native": _fixed("false"),
    "map-customer-owned-ip-on-launch": _fixed("false"),
    "map-public-ip-on-launch": _fixed("false"),
    "outpost-arn": Field(_never),
    "owner-id": Field(lambda view: (view.owner,)),
    "private-dns-name-options-on-launch.enable-resource-name-dns-a-record": _fixed("false"),
    "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": _fixed("false"),
    "private-dns-name-options-on-launch.hostname-type": _fixed("ip-name"),
    "state": _fixed("available"),
    "subnet-arn": Field(lambda view: (view.arn,)),
    "subnet-id": Field(lambda view: (view.id,)),
    "vpc-id": Field(lambda view: (view.row.vpc,)),
}
