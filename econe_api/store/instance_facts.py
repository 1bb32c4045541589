"""What an instance may know of itself, read anew for every question of the metadata service.

Plain maps, lists and texts, ready for a frame; docs/metadata.md lists what becomes of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, select

from econe_api.config import Config
from econe_api.store.availability import unavailable
from econe_api.store.key_tables import key_pairs
from econe_api.store.metadata_tables import load_options
from econe_api.store.schema import (
    addresses,
    groups,
    instances,
    interface_groups,
    interfaces,
    ipv6_addresses,
    secondary_addresses,
    subnets,
    vpcs,
)

_ENDED = ("shutting-down", "terminated")


def read_facts(engine: Engine, config: Config, interface: str) -> dict[str, Any] | None:
    """The facts of the instance with this interface; None = there is none, or it has ended.

    Raises :class:`econe_api.store.errors.StoreUnavailableError` when the database does not answer.
    """
    reader = engine
    if engine.dialect.name == "postgresql":
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with unavailable(reader), reader.connect() as connection, connection.begin():
        own = select(interfaces.c.instance).where(interfaces.c.id == interface)
        query = select(instances).where(instances.c.id.in_(own), instances.c.state.not_in(_ENDED))
        row = connection.execute(query).one_or_none()
        return None if row is None else _facts(connection, config, row)


def _facts(connection: Connection, config: Config, row: Row[Any]) -> dict[str, Any]:
    options = load_options(connection, config, [row.id])[row.id]
    material = _public_key(connection, row.account, row.key_name) if row.key_name else None
    return {
        "account": row.account,
        "instance": row.id,
        "image": row.image,
        "type": row.type,
        "reservation": row.reservation,
        "launch_index": row.launch_index,
        "launched": f"{row.launched:%Y-%m-%dT%H:%M:%SZ}",
        "zone": row.zone,
        "region": config.region,
        "domain": config.dhcp.domain,
        "key": [row.key_name, material] if material else None,
        "user_data": row.user_data,
        "tokens": options.tokens,
        "endpoint": options.endpoint,
        "hop_limit": options.hop_limit,
        "interfaces": _interfaces(connection, row.id),
    }


def _public_key(connection: Connection, account: str, name: str) -> str | None:
    """The public key that an account keeps under a name, in OpenSSH's one line; None = none (any more)."""
    query = select(key_pairs.c.public_key).where(key_pairs.c.account == account, key_pairs.c.name == name)
    return connection.scalar(query)


def _interfaces(connection: Connection, instance: str) -> list[dict[str, Any]]:
    """The interfaces by device index; the first is the primary one."""
    mine = select(interfaces.c.id).where(interfaces.c.instance == instance)
    members: defaultdict[str, list[list[str]]] = defaultdict(list)
    named = select(interface_groups.c.interface, groups.c.id, groups.c.name).join(
        groups, groups.c.id == interface_groups.c.group
    )
    for interface, group, name in connection.execute(
        named.where(interface_groups.c.interface.in_(mine)).order_by(groups.c.id)
    ):
        members[interface].append([group, name])
    public: defaultdict[str, list[list[str]]] = defaultdict(list)
    associated = select(addresses.c.interface, addresses.c.public_ip, addresses.c.private_ip)
    for interface, public_ip, private_ip in connection.execute(
        associated.where(addresses.c.interface.in_(mine)).order_by(addresses.c.sort)
    ):
        public[interface].append([public_ip, private_ip])
    further, six = (_listed(connection, table, mine) for table in (secondary_addresses, ipv6_addresses))
    placed = (
        select(
            interfaces,
            subnets.c.cidr,
            subnets.c.ipv6_cidr,
            vpcs.c.cidr.label("vpc_cidr"),
            vpcs.c.ipv6_cidr.label("vpc_ipv6"),
        )
        .join(subnets, subnets.c.id == interfaces.c.subnet)
        .join(vpcs, vpcs.c.id == interfaces.c.vpc)
        .where(interfaces.c.instance == instance)
        .order_by(interfaces.c.device_index)
    )
    return [
        {
            "id": row.id,
            "mac": row.mac,
            "device": row.device_index,
            "addresses": [row.private_ip, *further[row.id]],
            # The one that stands for the first address comes first.
            "public": sorted(public[row.id], key=lambda pair: pair[1] != row.private_ip),
            "ipv6": six[row.id],
            "groups": members[row.id],
            "subnet": row.subnet,
            "subnet_cidr": row.cidr,
            "subnet_ipv6": row.ipv6_cidr,
            "vpc": row.vpc,
            "vpc_cidr": row.vpc_cidr,
            "vpc_ipv6": row.vpc_ipv6,
        }
        for row in connection.execute(placed)
    ]


def _listed(connection: Connection, table: Table, mine: Select[Any]) -> defaultdict[str, list[str]]:
    """The addresses of ``table`` by interface, in their order."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(table).where(table.c.interface.in_(mine)).order_by(table.c.sort)):
        found[row.interface].append(row.address)
    return found
