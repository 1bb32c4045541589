"""How much an account may have: AWS's names and defaults, with overrides per account."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, delete, insert, select

from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.schema import accounts, quotas

if TYPE_CHECKING:
    from econe_api.store.store import Store

ELASTIC_IPS = "elastic-ips"
GROUPS = "security-groups"
INBOUND_RULES = "inbound-rules-per-group"
OUTBOUND_RULES = "outbound-rules-per-group"
GROUPS_PER_INTERFACE = "groups-per-interface"
INSTANCES = "instances"
PREFIX_LISTS = "prefix-lists"
VPCS = "vpcs"
SUBNETS_PER_VPC = "subnets-per-vpc"
INTERNET_GATEWAYS = "internet-gateways"
ROUTE_TABLES_PER_VPC = "route-tables-per-vpc"
KEY_PAIRS = "key-pairs"
NETWORK_INTERFACES = "network-interfaces"

#: Values of a new AWS account ("Amazon VPC quotas"; instances: the limit that DescribeAccountAttributes reports).
DEFAULTS: Mapping[str, int] = MappingProxyType(
    {
        ELASTIC_IPS: 5,
        GROUPS: 2500,
        INBOUND_RULES: 60,
        OUTBOUND_RULES: 60,
        GROUPS_PER_INTERFACE: 5,
        INSTANCES: 20,
        PREFIX_LISTS: 100,
        VPCS: 5,
        SUBNETS_PER_VPC: 200,
        INTERNET_GATEWAYS: 5,
        ROUTE_TABLES_PER_VPC: 200,
        KEY_PAIRS: 5000,
        NETWORK_INTERFACES: 5000,
    }
)
_MOST = 1_000_000
#: Rules of one group and direction: as in EC2, and what one flow can look up.
_MOST_RULES = 1_000
_OVERRIDE = select(quotas.c.value).where(quotas.c.account == bindparam("owner"), quotas.c.name == bindparam("quota"))


def quota(connection: Connection, account: str, name: str) -> int:
    """Return the quota ``name`` of ``account``: its override, else the default.  An unknown name is a KeyError."""
    default = DEFAULTS[name]
    override = connection.scalar(_OVERRIDE, {"owner": account, "quota": name})
    return default if override is None else override


def list_quotas(store: Store, account: str) -> dict[str, int]:
    """Return every quota of ``account`` that holds now, by name."""
    with store.read(administration("ListQuotas")) as txn:
        _check_account(txn.connection, account)
        rows = txn.connection.execute(select(quotas.c.name, quotas.c.value).where(quotas.c.account == account))
        return {**DEFAULTS, **{row.name: row.value for row in rows}}


def set_quota(store: Store, account: str, name: str, value: int | None) -> None:
    """Override a quota of ``account``; None returns to the default.

    What the account already has above a lower quota stays.  Raises StoreError for an unknown account or name and for
    a value outside 0 to a million (rules per group: to a thousand).
    """
    if name not in DEFAULTS:
        raise StoreError(f"there is no quota {name!r}; known: {', '.join(sorted(DEFAULTS))}")
    most = _MOST_RULES if name in (INBOUND_RULES, OUTBOUND_RULES) else _MOST
    if value is not None and not 0 <= value <= most:
        raise StoreError(f"{value} is no quota; write a number from 0 to {most}")
    with store.write(administration("SetQuota")) as txn:
        _check_account(txn.connection, account)
        txn.connection.execute(delete(quotas).where(quotas.c.account == account, quotas.c.name == name))
        if value is not None:
            txn.connection.execute(insert(quotas).values(account=account, name=name, value=value))


def _check_account(connection: Connection, account: str) -> None:
    if connection.scalar(select(accounts.c.id).where(accounts.c.id == account)) is None:
        raise StoreError(f"there is no account {account!r}; see 'sluice account list'")
