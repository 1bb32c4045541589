"""Private IPv4 addresses of interfaces: what a request asks for and what it gets."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Row, select

from econe_api.actions import placement
from econe_api.actions.parameters import given, ipv4
from econe_api.errors import Ec2Error
from econe_api.store.schema import interfaces, secondary_addresses
from econe_api.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """``primary`` None = any; further addresses are ``secondary`` or ``count`` of any, never both."""

    primary: str | None = None
    secondary: tuple[str, ...] = ()
    count: int = 0

    @property
    def named(self) -> bool:
        """Does it name an address?  Such a request is for one interface."""
        return self.primary is not None or bool(self.secondary)

    @property
    def wanted(self) -> int:
        """How many addresses the interface gets."""
        return 1 + (self.count or len(self.secondary))


def parse(asked: Mapping[str, Any]) -> AddressRequest:
    """Read PrivateIpAddress, PrivateIpAddresses and SecondaryPrivateIpAddressCount.

    Raises:
        Ec2Error: InvalidParameterValue, InvalidParameterCombination.

    """
    primary = [ipv4(asked["PrivateIpAddress"], "privateIpAddress")] if given(asked, "PrivateIpAddress") else []
    secondary: list[str] = []
    for item in asked.get("PrivateIpAddresses") or ():
        text = ipv4(item.get("PrivateIpAddress") or "", "privateIpAddress")
        (primary if item.get("Primary") else secondary).append(text)
    if len(set(primary)) > 1:
        raise Ec2Error("InvalidParameterCombination", "Only one primary private IP address can be specified.")
    count = asked.get("SecondaryPrivateIpAddressCount") or 0
    if count and secondary:
        raise Ec2Error(
            "InvalidParameterCombination",
            "You may specify secondary private IP addresses or secondaryPrivateIpAddressCount, but not both",
        )
    if count < 0:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid."
        )
    refuse_repeats([*dict.fromkeys(primary), *secondary])
    return AddressRequest(primary[0] if primary else None, tuple(secondary), count)


def refuse_repeats(addresses: list[str]) -> None:
    """Refuse a request that names an address twice.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if len(set(addresses)) != len(addresses):
        raise Ec2Error("InvalidParameterValue", "The same private IP address must not appear multiple times")


@dataclass(slots=True)
class FreeAddresses:
    """The free addresses of subnets, taken one after another; ``used`` by subnet id."""

    used: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, txn: Transaction, *subnets: str) -> FreeAddresses:
        """Read what is used (two statements, however many subnets)."""
        used: dict[str, set[str]] = {subnet: set() for subnet in subnets}
        primary = select(interfaces.c.subnet, interfaces.c.private_ip).where(interfaces.c.subnet.in_(used))
        further = (
            select(interfaces.c.subnet, secondary_addresses.c.address)
            .join(interfaces, interfaces.c.id == secondary_addresses.c.interface)
            .where(interfaces.c.subnet.in_(used))
        )
        for query in (primary, further):
            for subnet, address in txn.connection.execute(query):
                used[subnet].add(address)
        return cls(used)

    def few(self, subnet: Row[Any], count: int) -> list[str]:
        """Up to ``count`` free addresses, lowest first; they stay free."""
        return list(islice(placement.free_addresses(subnet.cidr, self.used[subnet.id]), count))

    def take(self, subnet: Row[Any], count: int) -> list[str]:
        """Take the ``count`` lowest free addresses.

        Raises:
            Ec2Error: InsufficientFreeAddressesInSubnet.

        """
        found = self.few(subnet, count)
        if len(found) < count:
            raise Ec2Error(
                "InsufficientFreeAddressesInSubnet",
                f"The specified subnet '{subnet.id}' does not have enough free addresses to satisfy the request.",
            )
        self.used[subnet.id].update(found)
        return found

    def claim(self, subnet: Row[Any], address: str) -> str:
        """Take one address that a request names.

        Raises:
            Ec2Error: InvalidParameterValue (not of the subnet, or reserved), InvalidIPAddress.InUse.

        """
        self.check_free(subnet, address)
        self.used[subnet.id].add(address)
        return address

    def check_free(self, subnet: Row[Any], address: str) -> None:
        """Refuse an address that no interface in the subnet may have, or that one has.

        Raises:
            Ec2Error: as :meth:`claim`.

        """
        if ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(subnet.cidr):
            raise Ec2Error(
                "InvalidParameterValue", f"Address {address} does not fall within the subnet's address range"
            )
        if placement.is_reserved(subnet.cidr, address):
            raise Ec2Error("InvalidParameterValue", f"Address {address} is in subnet's reserved address range")
        if address in self.used[subnet.id]:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {address} is in use.")

    def choose(self, subnet: Row[Any], request: AddressRequest) -> tuple[str, tuple[str, ...]]:
        """The primary address and the secondary ones of a new interface.

        Raises:
            Ec2Error: as :meth:`take` and :meth:`claim`.

        """
        # Those that are named come first: none of them may be given away as the first free one.
        primary = None if request.primary is None else self.claim(subnet, request.primary)
        named = tuple(self.claim(subnet, address) for address in request.secondary)
        if primary is None:
            primary = self.take(subnet, 1)[0]
        return primary, named + tuple(self.take(subnet, request.count))


def secondary_rows(vpc: str, interface: str, addresses: tuple[str, ...], first: int = 0) -> list[dict[str, Any]]:
    """What to insert for an interface's secondary addresses; ``first`` is the first one's place in their order."""
    return [
        {"vpc": vpc, "address": address, "interface": interface, "sort": number}
        for number, address in enumerate(addresses, first)
    ]
