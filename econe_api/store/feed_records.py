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
_Chosen = Select[tuple[str]] | None
Found = Iterator[tuple[str, Record]]
"""Key and record of those that are there, ordered by key."""


def _within(column: ColumnElement[str], only: _Chosen) -> ColumnElement[bool]:
    return true() if only is None else column.in_(only)


# The statements of a kind are built once for each way of choosing: to build one takes longer than to execute it.


@cache
def _vpc_query(only: _Chosen) -> Select[Any]:
    return select(vpcs).where(_within(vpcs.c.id, only)).order_by(vpcs.c.id)


def _vpcs(connection: Connection, only: Keys) -> Found:
    for row in connection.execute(_vpc_query(only.query), only.parameters):
        yield row.id, VpcRecord(row.id, row.number, row.cidr, row.vlan or 0, row.ipv6_cidr, row.dns_support)


@cache
def _subnet_queries(only: _Chosen) -> tuple[Select[Any], Select[Any]]:
    """The statements for the ids of those that reach the outside, and for the subnets."""
    wanted = _within(subnets.c.id, only)
    return public_subnets().where(wanted), select(subnets).where(wanted).order_by(subnets.c.id)


def _subnets(connection: Connection, only: Keys) -> Found:
    outward, present = _subnet_queries(only.query)
    public = set(connection.scalars(outward, only.parameters))
    for row in connection.execute(present, only.parameters):
        gateway = str(ipaddress.IPv4Network(row.cidr).network_address + 1)
        ipv6_gateway = None
        if row.ipv6_cidr is not None:
            ipv6_gateway = str(ipaddress.IPv6Network(row.ipv6_cidr).network_address + 1)
        yield (
            row.id,
            SubnetRecord(row.id, row.vpc, row.cidr, gateway, row.ipv6_cidr, ipv6_gateway, row.id in public),
        )


@cache
def _pool_query(only: _Chosen) -> Select[Any]:
    return select(pools).where(_within(pools.c.name, only)).order_by(pools.c.name)


def _pools(connection: Connection, only: Keys) -> Found:
    for row in connection.execute(_pool_query(only.query), only.parameters):
        yield row.name, PoolRecord(row.name, cidr=row.cidr, gateway=row.gateway, gateway_mac=row.gateway_mac)


@cache
def _prefix_list_queries(only: _Chosen) -> tuple[Select[Any], Select[Any]]:
    """The statements for entries and lists."""
    entry = prefix_list_entries.c
    present = select(entry.prefix_list, entry.cidr).where(entry.until.is_(None), _within(entry.prefix_list, only))
    wanted = select(prefix_lists).where(_within(prefix_lists.c.id, only)).order_by(prefix_lists.c.id)
    return present.order_by(entry.prefix_list, entry.cidr), wanted


def _prefix_lists(connection: Connection, only: Keys) -> Found:
    entries, lists = _prefix_list_queries(only.query)
    present: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(entries, only.parameters):
        present[row.prefix_list].append(row.cidr)
    for row in connection.execute(lists, only.parameters):
        version = 4 if row.family == "IPv4" else 6
        yield row.id, PrefixListRecord(row.id, row.number, version, tuple(present[row.id]))


@cache
def _group_queries(only: _Chosen) -> tuple[Select[Any], Select[Any]]:
    """The statements for rules, in the order of a record's fields after the group, and for groups."""
    rule = rules.c
    written = select(
        *(rule.group, rule.id, rule.egress, rule.protocol, rule.from_port, rule.to_port),
        *(rule.cidr, rule.referenced_group, rule.prefix_list),
    )
    return (
        written.where(_within(rule.group, only)).order_by(rule.id),
        select(groups).where(_within(groups.c.id, only)).order_by(groups.c.id),
    )


def _groups(connection: Connection, only: Keys) -> Found:
    written, present = _group_queries(only.query)
    contents: defaultdict[str, list[RuleRecord]] = defaultdict(list)
    for group, *fields in connection.execute(written, only.parameters):
        contents[group].append(RuleRecord(*fields))
    for row in connection.execute(present, only.parameters):
        yield row.id, GroupRecord(row.id, number=row.number, vpc=row.vpc, name=row.name, rules=tuple(contents[row.id]))


@cache
def _interface_queries(only: _Chosen) -> tuple[Select[Any], ...]:
    """The statements for memberships, IPv6 addresses, secondary addresses and interfaces."""
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


@cache
def _address_query(only: _Chosen) -> Select[Any]:
    associated = addresses.c.interface.is_not(None)
    return select(addresses).where(associated, _within(addresses.c.public_ip, only)).order_by(addresses.c.public_ip)


def _addresses(connection: Connection, only: Keys) -> Found:
    for row in connection.execute(_address_query(only.query), only.parameters):
        yield (
            row.public_ip,
            AddressRecord(row.public_ip, pool=row.pool, interface=row.interface, private_ip=row.private_ip),
        )


@cache
def _host_queries(only: _Chosen) -> tuple[Select[Any], ...]:
    """The statements for certificates that hold, join tokens that may be used, and hosts."""
    held, token = host_certificates.c, join_tokens.c
    holding = select(held.host, held.serial).where(held.revoked.is_(None), _within(held.host, only))
    unused = select(token.host, token.digest).where(token.used.is_(None), _within(token.host, only))
    return (
        holding.order_by(held.serial),
        unused.order_by(token.digest),
        select(hosts).where(_within(hosts.c.name, only)).order_by(hosts.c.name),
    )


def _hosts(connection: Connection, only: Keys) -> Found:
    holding, unused, present = _host_queries(only.query)
    serials: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(holding, only.parameters):
        serials[row.host].append(row.serial)
    invitations: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(unused, only.parameters):
        invitations[row.host].append(row.digest)
    for row in connection.execute(present, only.parameters):
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
