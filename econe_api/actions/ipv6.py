"""IPv6 addresses of interfaces: what a launch asks for, what it gets, how they are shown."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, Select, select

from econe_api.actions.parameters import given
from econe_api.actions.placement import RESERVED_FIRST
from econe_api.errors import Ec2Error
from econe_api.store.schema import ipv6_addresses
from econe_api.store.transaction import Transaction

#: As many as EC2 gives the larger types per interface.
MOST_ADDRESSES = 15


@dataclass(frozen=True, slots=True)
class Ipv6Request:
    """IPv6 for each instance of a launch: ``count`` addresses, or those named (canonical text).

    ``count`` None = nothing was said about it, so the subnet decides.
    """

    count: int | None = None
    addresses: tuple[str, ...] = ()

    @property
    def wanted(self) -> int:
        """How many addresses an instance gets."""
        return self.count or len(self.addresses)


def parse(asked: Mapping[str, Any], most: int) -> Ipv6Request:
    """Read Ipv6AddressCount or Ipv6Addresses of a launch of up to ``most`` instances.

    Raises:
        Ec2Error: InvalidParameterCombination, InvalidParameterValue.

    """
    count = asked.get("Ipv6AddressCount")
    named = [canonical(item.get("Ipv6Address")) for item in asked.get("Ipv6Addresses") or ()]
    if count and named:
        raise Ec2Error("InvalidParameterCombination", "You may specify ipv6Addresses or ipv6AddressCount, but not both")
    if named and most > 1:
        raise Ec2Error(
            "InvalidParameterCombination", "An IP address may not be specified for more than one instance in a launch"
        )
    if len(set(named)) != len(named):
        raise Ec2Error("InvalidParameterValue", "The same IPv6 address must not appear multiple times")
    if (count or 0) < 0 or max(count or 0, len(named)) > MOST_ADDRESSES:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({count}) for parameter ipv6AddressCount is invalid. 0 to {MOST_ADDRESSES}"
        )
    return Ipv6Request(count, tuple(named))


def canonical(text: str | None) -> str:
    """An IPv6 address in canonical text.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    try:
        address = ipaddress.IPv6Address(text or "")
        if address.scope_id is not None:
            raise ValueError
        return str(address)
    except ValueError:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({text}) for parameter ipv6Addresses is invalid. Invalid IPv6 address"
        ) from None


def refuse_at_both_places(params: Mapping[str, Any]) -> None:
    """Refuse IPv6 of the instance beside network interfaces.

    Raises:
        Ec2Error: InvalidParameterCombination.

    """
    if given(params, "Ipv6Addresses") or params.get("Ipv6AddressCount"):
        raise Ec2Error(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level IPv6 address may not be specified on the same request",
        )


def choose(txn: Transaction, subnet: Row[Any], request: Ipv6Request, instances: int) -> list[tuple[str, ...]]:
    """The addresses of each of ``instances`` new instances in a subnet.

    Raises:
        Ec2Error: InvalidParameterValue (a subnet without IPv6, an address that is not for instances),
            InvalidIPAddress.InUse.

    """
    if request.count is None and not request.addresses and subnet.assign_ipv6:
        request = Ipv6Request(1)
    if not request.wanted:
        return [()] * instances
    if subnet.ipv6_cidr is None:
        raise Ec2Error("InvalidParameterValue", f"The subnet ID '{subnet.id}' does not have an IPv6 CIDR block")
    network = ipaddress.IPv6Network(subnet.ipv6_cidr)
    used = set(txn.connection.scalars(select(ipv6_addresses.c.address).where(ipv6_addresses.c.vpc == subnet.vpc)))
    if request.addresses:
        for address in request.addresses:
            _check(address, network, used)
        return [request.addresses] * instances
    return [tuple(_draw(network, used) for _ in range(request.wanted)) for _ in range(instances)]


def _check(text: str, network: ipaddress.IPv6Network, used: set[str]) -> None:
    address = ipaddress.IPv6Address(text)
    if address not in network:
        raise Ec2Error("InvalidParameterValue", f"Address {text} does not fall within the subnet's address range")
    if address in _outer(network):
        raise Ec2Error("InvalidParameterValue", f"Address {text} is in subnet's reserved address range")
    if text in used:
        raise Ec2Error("InvalidIPAddress.InUse", f"Address {text} is in use.")


def _outer(network: ipaddress.IPv6Network) -> set[ipaddress.IPv6Address]:
    return {*(network[number] for number in range(RESERVED_FIRST)), network[-1]}


def _draw(network: ipaddress.IPv6Network, used: set[str]) -> str:
    """A random address, as in EC2: nobody can guess the neighbours'."""
    while True:
        address = network[secrets.randbits(network.max_prefixlen - network.prefixlen)]
        if address not in _outer(network) and str(address) not in used:
            used.add(str(address))
            return str(address)


def rows(vpc: str, interface: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """What to insert for an interface."""
    return [
        {"vpc": vpc, "address": address, "interface": interface, "sort": number}
        for number, address in enumerate(addresses)
    ]


def of(interfaces: Select[tuple[str]] | BindParameter[Any]) -> Select[Any]:
    """The statement that reads the addresses of interfaces, in order."""
    return select(ipv6_addresses).where(ipv6_addresses.c.interface.in_(interfaces)).order_by(ipv6_addresses.c.sort)


def shape(addresses: Sequence[str]) -> list[dict[str, Any]]:
    """InstanceIpv6Address of each."""
    return [{"Ipv6Address": address, "IsPrimaryIpv6": False} for address in addresses]
