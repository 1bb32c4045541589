"""Pools of elastic IPs: which public addresses the cloud may hand out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import Connection, delete, func, insert, select

from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.records import Kind
from econe_api.store.schema import addresses, pools
from econe_api.store.store import Store
from econe_api.store.vpc_rows import DEFAULT_VPC

_MOST_ADDRESSES = 65_536
_SMALLEST = 30
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool: public network, its gateway, the first and last address to hand out, how many are free and used.

    ``gateway_mac`` "" = the hypervisors ask for it on their uplinks.
    """

    name: str
    cidr: str
    gateway: str
    gateway_mac: str
    first: str
    last: str
    free: int
    used: int


def create_pool(store: Store, name: str, cidr: str, gateway: str, gateway_mac: str, first: str, last: str) -> Pool:
    """Make a pool of the addresses ``first`` to ``last`` (both in it) of the public network ``cidr``.

    Making the same pool again changes nothing.  Raises :class:`StoreError` when one of that name differs, when its
    network overlaps another pool's or the tenants' own, and when a value is wrong.
    """
    wanted = _check(name, cidr, gateway, gateway_mac, first, last)
    with store.write(administration("CreatePool")) as txn:
        for present in read_pools(txn.connection):
            if present.name == name:
                return _same(present, wanted)
            if IPv4Network(present.cidr).overlaps(IPv4Network(wanted.cidr)):
                raise StoreError(
                    f"network {wanted.cidr} overlaps {present.cidr} of pool {present.name!r}; choose another network"
                )
        txn.connection.execute(
            insert(pools).values(name=name, cidr=wanted.cidr, gateway=wanted.gateway, gateway_mac=wanted.gateway_mac)
        )
        span = range(int(IPv4Address(wanted.first)), int(IPv4Address(wanted.last)) + 1)
        rows = [{"public_ip": str(IPv4Address(number)), "sort": number - span.start, "pool": name} for number in span]
        txn.connection.execute(insert(addresses), rows)
        txn.touch(Kind.POOL, name)
    return wanted


def add_network(store: Store, cidr: str, name: str | None, gateway: str | None, gateway_mac: str) -> Pool:
    """Make a pool of a whole public network: all host addresses but the gateway's.

    The name is the network's where it is None, the gateway its first host's address.  Raises :class:`StoreError` as
    :func:`create_pool`, and when the gateway is neither the first nor the last host.
    """
    try:
        network = IPv4Network(cidr)
    except ValueError as error:
        raise StoreError(f"{cidr!r} is no IPv4 network ({error}); write e.g. 203.0.113.0/24") from error
    if network.prefixlen > _SMALLEST:
        raise StoreError(f"{network} is too small; a gateway and an address to hand out need a /{_SMALLEST}")
    lowest, highest = network.network_address + 1, network.broadcast_address - 1
    router = lowest if gateway is None else _address("gateway", gateway, network)
    if router not in (lowest, highest):
        raise StoreError(f"gateway {router} divides {network}; name a range with 'sluice pool create'")
    first, last = (lowest + 1, highest) if router == lowest else (lowest, highest - 1)
    own_name = str(network).replace("/", "-")
    return create_pool(store, name or own_name, str(network), str(router), gateway_mac, str(first), str(last))


def remove_pool(store: Store, name: str) -> None:
    """Take a pool away; :class:`StoreError` when there is none of that name or some account has an address of it."""
    with store.write(administration("RemovePool")) as txn:
        present = next((pool for pool in read_pools(txn.connection) if pool.name == name), None)
        if present is None:
            raise StoreError(f"there is no pool {name!r}; see 'sluice pool list'")
        if present.used:
            raise StoreError(f"accounts have {present.used} addresses of pool {name!r}; they must release them first")
        txn.connection.execute(delete(addresses).where(addresses.c.pool == name))
        txn.connection.execute(delete(pools).where(pools.c.name == name))
        txn.touch(Kind.POOL, name)


def list_pools(store: Store) -> tuple[Pool, ...]:
    """Return all pools by name, with how many of their addresses are free and used."""
    with store.read(administration("ListPools")) as txn:
        return read_pools(txn.connection)


def read_pools(connection: Connection) -> tuple[Pool, ...]:
    """All pools by name, within a transaction."""
    counts = (
        select(addresses.c.pool, func.count().label("size"), func.count(addresses.c.allocation).label("used"))
        .group_by(addresses.c.pool)
        .subquery()
    )
    query = (
        select(pools, counts.c.size, counts.c.used, addresses.c.public_ip.label("first"))
        .join(counts, counts.c.pool == pools.c.name)
        .join(addresses, (addresses.c.pool == pools.c.name) & (addresses.c.sort == 0))
        .order_by(pools.c.name)
    )
    return tuple(
        Pool(
            name=row.name,
            cidr=row.cidr,
            gateway=row.gateway,
            gateway_mac=row.gateway_mac,
            first=row.first,
            last=str(IPv4Address(row.first) + row.size - 1),
            free=row.size - row.used,
            used=row.used,
        )
        for row in connection.execute(query)
    )


def _same(present: Pool, wanted: Pool) -> Pool:
    if replace(present, free=wanted.free, used=wanted.used) != wanted:
        raise StoreError(
            f"there is a pool {present.name!r} already ({present.cidr}, gateway {present.gateway} "
            f"{present.gateway_mac}, {present.first} to {present.last}); choose another name"
        )
    return present


def _check(name: str, cidr: str, gateway: str, gateway_mac: str, first: str, last: str) -> Pool:
    """Return the pool in canonical form, all free; StoreError names the value that is wrong."""
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} is no pool name; write 1 to 64 letters, digits, dots, dashes or underscores")
    try:
        network = IPv4Network(cidr)
    except ValueError as error:
        raise StoreError(f"{cidr!r} is no IPv4 network ({error}); write e.g. 203.0.113.0/24") from error
    if network.overlaps(DEFAULT_VPC):
        raise StoreError(f"network {network} overlaps {DEFAULT_VPC}, which every account's VPC uses; choose another")
    router = _address("gateway", gateway, network)
    low, high = _address("first", first, network), _address("last", last, network)
    size = int(high) - int(low) + 1
    if not 1 <= size <= _MOST_ADDRESSES:
        raise StoreError(f"{low} to {high} is no range of 1 to {_MOST_ADDRESSES} addresses; mend first or last")
    if low <= router <= high:
        raise StoreError(f"the gateway {router} is between {low} and {high}; leave it out of the range")
    mac = gateway_mac.lower()
    if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00"):
        raise StoreError(f"{gateway_mac!r} is no MAC of a host; write it like 02:00:00:00:00:01")
    return Pool(name, str(network), str(router), mac, str(low), str(high), free=size, used=0)


def _address(what: str, text: str, network: IPv4Network) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except ValueError as error:
        raise StoreError(f"{what} {text!r} is no IPv4 address; write one of {network}") from error
    outer = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()
    if address not in network or address in outer:
        raise StoreError(f"{what} {address} is no host's address in {network}; write one that is")
    return address
