"""The tables of what is between a VPC and the outside: internet gateways and route tables.

What every VPC has exactly one of and nobody can change - its network ACL, its DHCP options - is in no table: its id
follows from the VPC's (:mod:`econe_api.actions.networks`).
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table, UniqueConstraint

from econe_api.store.schema import metadata

#: ``vpc`` is the VPC that the gateway is attached to, None = none; a VPC has one at most.
internet_gateways = Table(
    "internet_gateways",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("vpc", ForeignKey("vpcs.id"), unique=True),
)

#: A table's local route is there always.  ``gateway`` is the target of 0.0.0.0/0, None = there is no such route; the
#: gateway may have been detached or deleted since, then the route is a black hole.
route_tables = Table(
    "route_tables",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("vpc", ForeignKey("vpcs.id"), nullable=False, index=True),
    Column("gateway", String(32)),
)

#: Which table a subnet uses; ``subnet`` None = the VPC's main table, used by all subnets without a row of their own.
#: ``main`` is the VPC's id in that row and None in all others, so that a VPC has one main table.
route_table_associations = Table(
    "route_table_associations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("route_table", ForeignKey("route_tables.id"), nullable=False, index=True),
    Column("main", ForeignKey("vpcs.id")),
    Column("subnet", ForeignKey("subnets.id")),
    UniqueConstraint("main"),
    UniqueConstraint("subnet"),
)
