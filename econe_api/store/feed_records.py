"""Reads the present state of objects in bulk, as the change feed hands them out: one or two statements per kind."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select, true

from econe_api.store.attachments import DETACHING
from econe_api.store.host_tables import host_certificates, hosts, join_tokens
from econe_api.store.prefix_list_tables import prefix_list_entries, prefix_lists
from econe_api.store.records import (
    AddressRecord,
    GroupRecord,
    HostRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    PrefixListRecord,
    Record,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from econe_api.store.routing import public_subnets
from econe_api.store.schema import (
    addresses,
    groups,
    instances,
    interface_groups,
    interfaces,
    ipv6_addresses,
    pools,
    rules,
    secondary_addresses,
    subnets,
    vpcs,
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Which objects: those whose keys ``query`` selects, None = all.

    ``parameters`` are what the query is executed with, so that one query, and what is built with it, serves for ever.
    """

    query: Select[tuple[str]] | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)


ALL = Keys()
Found = Iterator[tuple[str, Record]]
"""Key and record of those that are there, ordered by key."""


def _within(column: ColumnElement[str], only: Select[tuple[str]] | None) -> ColumnElement[bool]:
    return true() if only is None else column.in_(only)


def _vpcs(connection: Connection, only: Keys) -> Found:
    for row in connection.execute(
        select(vpcs).where(_within(vpcs.c.id, only.query)).order_by(vpcs.c.id), only.parameters
    ):
        yield row.id, VpcRecord(row.id, row.number, row.cidr, row.vlan or 0, row.ipv6_cidr, row.dns_support)


def _subnets(connection: Connection, only: Keys) -> Found:
    public = set(connection.scalars(public_subnets().where(_within(subnets.c.id, only.query)), only.parameters))
    for row in connection.execute(
        select(subnets).where(_within(subnets.c.id, only.query)).order_by(subnets.c.id), only.parameters
    ):
        gateway = str(ipaddress.IPv4Network(row.cidr).network_address + 1)
        ipv6_gateway = None
        if row.ipv6_cidr is not None:
            ipv6_gateway = str(ipaddress.IPv6Network(row.ipv6_cidr).network_address + 1)
        yield (
            row.id,
            SubnetRecord(row.id, row.vpc, row.cidr, gateway, row.ipv6_cidr, ipv6_gateway, row.id in public),
        )


def _pools(connection: Connection, only: Keys) -> Found:
    for row in connection.execute(
        select(pools).where(_within(pools.c.name, only.query)).order_by(pools.c.name), only.parameters
    ):
        yield row.name, PoolRecord(row.name, cidr=row.cidr, gateway=row.gateway, gateway_mac=row.gateway_mac)


def _prefix_lists(connection: Connection, only: Keys) -> Found:
    present: defaultdict[str, list[str]] = defaultdict(list)
    entry = prefix_list_entries.c
    query = select(entry.prefix_list, entry.cidr).where(entry.until.is_(None), _within(entry.prefix_list, only.query))
    for row in connection.execute(query.order_by(entry.prefix_list, entry.cidr), only.parameters):
        present[row.prefix_list].append(row.cidr)
    wanted = select(prefix_lists).where(_within(prefix_lists.c.id, only.query)).order_by(prefix_lists.c.id)
    for row in connection.execute(wanted, only.parameters):
        version = 4 if row.family == "IPv4" else 6
        yield row.id, PrefixListRecord(row.id, row.number, version, tuple(present[row.id]))


def _groups(connection: Connection, only: Keys) -> Found:
    contents: defaultdict[str, list[RuleRecord]] = defaultdict(list)
    for row in connection.execute(
        select(rules).where(_within(rules.c.group, only.query)).order_by(rules.c.id), only.parameters
    ):
        contents[row.group].append(
            RuleRecord(
                id=row.id,
                egress=row.egress,
                protocol=row.protocol,
                from_port=row.from_port,
                to_port=row.to_port,
                cidr=row.cidr,
                group=row.referenced_group,
                prefix_list=row.prefix_list,
            )
        )
    for row in connection.execute(
        select(groups).where(_within(groups.c.id, only.query)).order_by(groups.c.id), only.parameters
    ):
        yield row.id, GroupRecord(row.id, number=row.number, vpc=row.vpc, name=row.name, rules=tuple(contents[row.id]))


@cache
def _interface_queries(only: Select[tuple[str]] | None) -> tuple[Select[Any], ...]:
    """The statements for memberships, IPv6 addresses, secondary addresses and interfaces: built once, asked often."""
    member, held = interface_groups.c, secondary_addresses.c
    # Who is not attached, or not any more, has no place in the data plane, wherever it is still plugged in.
    attached = interfaces.c.attachment_state.is_distinct_from(DETACHING)
    placed = select(interfaces, instances.c.host).join(instances, interfaces.c.instance == instances.c.id)
    return (
        select(interface_groups).where(_within(member.interface, only)).order_by(member.interface, member.group),
        select(ipv6_addresses).where(_within(ipv6_addresses.c.interface, only)).order_by(ipv6_addresses.c.sort),
        select(secondary_addresses).where(_within(held.interface, only)).order_by(held.sort, held.address),
        placed.where(attached, _within(interfaces.c.id, only)).order_by(interfaces.c.id),
    )


def _interfaces(connection: Connection, only: Keys) -> Found:
    grouped, own, further, placed = _interface_queries(only.query)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(grouped, only.parameters):
        members[row.interface].append(row.group)
    ipv6: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(own, only.parameters):
        ipv6[row.interface].append(row.address)
    secondary: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(further, only.parameters):
        secondary[row.interface].append(row.address)
    for row in connection.execute(placed, only.parameters):
        yield (
            row.id,
            InterfaceRecord(
                id=row.id,
                instance=row.instance,
                vpc=row.vpc,
                subnet=row.subnet,
                mac=row.mac,
                addresses=(row.private_ip, *secondary[row.id], *ipv6[row.id]),
                groups=tuple(members[row.id]),
                host=row.host,
            ),
        )


def _addresses(connection: Connection, only: Keys) -> Found:
    query = select(addresses).where(addresses.c.interface.is_not(None), _within(addresses.c.public_ip, only.query))
    for row in connection.execute(query.order_by(addresses.c.public_ip), only.parameters):
        yield (
            row.public_ip,
            AddressRecord(row.public_ip, pool=row.pool, interface=row.interface, private_ip=row.private_ip),
        )


def _hosts(connection: Connection, only: Keys) -> Found:
    serials: defaultdict[str, list[str]] = defaultdict(list)
    held = host_certificates.c
    holding = select(held.host, held.serial).where(held.revoked.is_(None), _within(held.host, only.query))
    for row in connection.execute(holding.order_by(held.serial), only.parameters):
        serials[row.host].append(row.serial)
    invitations: defaultdict[str, list[str]] = defaultdict(list)
    token = join_tokens.c
    unused = select(token.host, token.digest).where(token.used.is_(None), _within(token.host, only.query))
    for row in connection.execute(unused.order_by(token.digest), only.parameters):
        invitations[row.host].append(row.digest)
    for row in connection.execute(
        select(hosts).where(_within(hosts.c.name, only.query)).order_by(hosts.c.name), only.parameters
    ):
        yield row.name, HostRecord(row.name, row.state, tuple(serials[row.name]), tuple(invitations[row.name]))


#: How each kind is read, in an order in which what refers to another comes after it.
READERS: Mapping[Kind, Callable[[Connection, Keys], Found]] = MappingProxyType(
    {
        Kind.VPC: _vpcs,
        Kind.SUBNET: _subnets,
        Kind.POOL: _pools,
        Kind.PREFIX_LIST: _prefix_lists,
        Kind.GROUP: _groups,
        Kind.INTERFACE: _interfaces,
        Kind.ADDRESS: _addresses,
        Kind.HOST: _hosts,
    }
)
