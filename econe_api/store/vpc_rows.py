"""The rows that a VPC consists of, for those who make VPCs: new accounts and the API."""

from __future__ import annotations

import ipaddress
import secrets
from itertools import repeat

from sqlalchemy import delete, insert, select, update

from econe_api.store.errors import StoreError
from econe_api.store.network_tables import internet_gateways, route_table_associations, route_tables
from econe_api.store.records import Kind
from econe_api.store.schema import accounts, groups, rules, subnets, vpcs
from econe_api.store.transaction import Transaction
from econe_api.store.vpc_numbers import next_number, next_vlan

DEFAULT_VPC = ipaddress.IPv4Network("172.31.0.0/16")
"""Every account's default VPC, as in EC2; tenants' addresses may be the same, they never meet."""
_SUBNET_PREFIX = 20


def add_default_vpc(txn: Transaction, account: str) -> str:
    """Make an account's default VPC: reaches the outside, and has one subnet per zone; returns its id.

    Raises:
        StoreError: no number is left for it, or it has not room for a subnet in each zone.

    """
    vpc = add_vpc(txn, account, str(DEFAULT_VPC), ipv6=txn.config.ipv6, default=True)
    gateway = txn.new_id("igw")
    txn.connection.execute(insert(internet_gateways).values(id=gateway, account=account, vpc=vpc))
    txn.connection.execute(update(route_tables).where(route_tables.c.vpc == vpc).values(gateway=gateway))
    zones, blocks = txn.config.zones, list(DEFAULT_VPC.subnets(new_prefix=_SUBNET_PREFIX))
    if len(zones) > len(blocks):
        raise StoreError(
            f"{len(zones)} zones do not fit a default VPC; give the hypervisors at most {len(blocks)} zones"
        )
    network = txn.connection.scalar(select(vpcs.c.ipv6_cidr).where(vpcs.c.id == vpc))
    ipv6 = repeat(None) if network is None else map(str, ipaddress.IPv6Network(network).subnets(new_prefix=64))
    for zone, block, ipv6_cidr in zip(zones, blocks, ipv6, strict=False):
        add_subnet(txn, vpc, str(block), zone, ipv6_cidr, default=True)
    txn.connection.execute(update(accounts).where(accounts.c.id == account).values(default_vpc=vpc))
    return vpc


def add_vpc(txn: Transaction, account: str, cidr: str, *, ipv6: bool, default: bool) -> str:
    """Make a VPC with its main route table and its default security group; returns its id.

    Raises:
        FabricFullError: no number is left for it.

    """
    vpc, table = txn.new_id("vpc"), txn.new_id("rtb")
    txn.connection.execute(
        insert(vpcs).values(
            id=vpc,
            number=next_number(txn),
            account=account,
            cidr=cidr,
            vlan=next_vlan(txn),
            is_default=default,
            ipv6_cidr=str(_unique_local_block()) if ipv6 else None,
            dns_hostnames=default,
        )
    )
    txn.connection.execute(insert(route_tables).values(id=table, vpc=vpc))
    main = {"id": txn.new_id("rtbassoc"), "route_table": table, "main": vpc}
    txn.connection.execute(insert(route_table_associations).values(main))
    _add_default_group(txn, account, vpc, ("0.0.0.0/0", "::/0") if ipv6 else ("0.0.0.0/0",))
    txn.touch(Kind.VPC, vpc)
    return vpc


def add_subnet(txn: Transaction, vpc: str, cidr: str, zone: str, ipv6_cidr: str | None, *, default: bool) -> str:
    """Make a subnet that has been checked; returns its id."""
    subnet = txn.new_id("subnet")
    txn.connection.execute(
        insert(subnets).values(id=subnet, vpc=vpc, cidr=cidr, zone=zone, is_default=default, ipv6_cidr=ipv6_cidr)
    )
    txn.touch(Kind.SUBNET, subnet)
    return subnet


def remove_subnet(txn: Transaction, subnet: str) -> None:
    """Take a subnet away that nothing is in."""
    associations = route_table_associations
    txn.connection.execute(delete(associations).where(associations.c.subnet == subnet))
    txn.connection.execute(delete(subnets).where(subnets.c.id == subnet))
    txn.touch(Kind.SUBNET, subnet)


def remove_vpc(txn: Transaction, vpc: str) -> list[str]:
    """Take a VPC away that has nothing but what it was born with; returns the ids of what has gone, it included."""
    execute = txn.connection.execute
    tables = select(route_tables.c.id).where(route_tables.c.vpc == vpc)
    execute(delete(route_table_associations).where(route_table_associations.c.route_table.in_(tables)))
    gone = list(
        txn.connection.scalars(delete(route_tables).where(route_tables.c.vpc == vpc).returning(route_tables.c.id))
    )
    mine = select(groups.c.id).where(groups.c.vpc == vpc)
    gone += txn.connection.scalars(delete(rules).where(rules.c.group.in_(mine)).returning(rules.c.id))
    for group in txn.connection.scalars(mine).all():
        txn.touch(Kind.GROUP, group)
        gone.append(group)
    execute(delete(groups).where(groups.c.vpc == vpc))
    execute(update(accounts).where(accounts.c.default_vpc == vpc).values(default_vpc=None))
    execute(delete(vpcs).where(vpcs.c.id == vpc))
    txn.touch(Kind.VPC, vpc)
    return [*gone, vpc]


def _unique_local_block() -> ipaddress.IPv6Network:
    """A /56 for a VPC, of a random unique local prefix (RFC 4193), so that no two VPCs are alike."""
    return ipaddress.IPv6Network(((0xFD << 40 | secrets.randbits(40)) << 80, 56))


def _add_default_group(txn: Transaction, account: str, vpc: str, anywhere: tuple[str, ...]) -> None:
    """The group of instances that name none: members reach one another, and everybody."""
    group = txn.new_id("sg")
    txn.connection.execute(
        insert(groups).values(
            id=group,
            number=txn.next_number("group"),
            account=account,
            vpc=vpc,
            name="default",
            description="default VPC security group",
        )
    )
    any_traffic = {"group": group, "protocol": -1}
    txn.connection.execute(
        insert(rules),
        [
            {**any_traffic, "id": txn.new_id("sgr"), "egress": False, "cidr": None, "referenced_group": group},
            *(
                {**any_traffic, "id": txn.new_id("sgr"), "egress": True, "cidr": cidr, "referenced_group": None}
                for cidr in anywhere
            ),
        ],
    )
    txn.touch(Kind.GROUP, group)
