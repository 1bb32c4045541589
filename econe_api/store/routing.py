"""Which subnets reach the outside: those whose route table sends 0.0.0.0/0 to the gateway attached to their VPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Select, and_, func, select

from econe_api.store.network_tables import internet_gateways, route_table_associations, route_tables
from econe_api.store.records import Kind
from econe_api.store.schema import subnets
from econe_api.store.transaction import Transaction


def public_subnets() -> Select[Any]:
    """The ids of the subnets that reach the outside."""
    own, main = route_table_associations.alias("own"), route_table_associations.alias("main")
    used = func.coalesce(own.c.route_table, main.c.route_table)
    attached = and_(internet_gateways.c.id == route_tables.c.gateway, internet_gateways.c.vpc == route_tables.c.vpc)
    return (
        select(subnets.c.id)
        .outerjoin(own, own.c.subnet == subnets.c.id)
        .join(main, main.c.main == subnets.c.vpc)
        .join(route_tables, route_tables.c.id == used)
        .join(internet_gateways, attached)
    )


@contextmanager
def rerouted(txn: Transaction, vpc: str) -> Iterator[None]:
    """Tell the followers, at the end, of the subnets of a VPC that reach the outside now and did not, or no longer."""
    here = public_subnets().where(subnets.c.vpc == vpc)
    before = set(txn.connection.scalars(here))
    yield
    for subnet in sorted(before ^ set(txn.connection.scalars(here))):
        txn.touch(Kind.SUBNET, subnet)
