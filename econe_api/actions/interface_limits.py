"""How many network interfaces an instance may have and how many private addresses each, by instance type.

The figures of AWS's own types are those of "Maximum IP addresses per network interface" in the EC2 user guide; any
other type has what AWS gives types with as many vCPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from econe_api.config import InstanceType
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

#: As many as EC2 gives any type on one interface.
MOST_ADDRESSES = 50


@dataclass(frozen=True, slots=True)
class InterfaceLimits:
    """Of an instance: its interfaces, and the IPv4 addresses of each, the primary one included."""

    interfaces: int
    addresses: int


_BY_NAME: Mapping[str, InterfaceLimits] = MappingProxyType(
    {
        "t2.nano": InterfaceLimits(2, 2),
        "t2.micro": InterfaceLimits(2, 2),
        "t2.small": InterfaceLimits(3, 4),
        "t2.medium": InterfaceLimits(3, 6),
        "t2.large": InterfaceLimits(3, 12),
        "t3.nano": InterfaceLimits(2, 2),
        "t3.micro": InterfaceLimits(2, 2),
        "t3.small": InterfaceLimits(3, 4),
        "t3.medium": InterfaceLimits(3, 6),
        "t3.large": InterfaceLimits(3, 12),
        "m1.small": InterfaceLimits(2, 4),
        "m1.medium": InterfaceLimits(2, 6),
        "m1.large": InterfaceLimits(3, 10),
    }
)
_BY_VCPUS = ((1, InterfaceLimits(2, 4)), (2, InterfaceLimits(3, 10)), (8, InterfaceLimits(4, 15)))
_LARGE = InterfaceLimits(8, 30)


def limits(size: InstanceType) -> InterfaceLimits:
    """What an instance of this size may have."""
    known = _BY_NAME.get(size.name)
    if known is not None:
        return known
    return next((fitting for most, fitting in _BY_VCPUS if size.vcpus <= most), _LARGE)


def of_type(txn: Transaction, name: str) -> InterfaceLimits:
    """The same by a type's name; one that has been taken out of the configuration counts as large."""
    return next((limits(size) for size in txn.config.instance_types if size.name == name), _LARGE)


def refuse_interfaces(txn: Transaction, type_name: str, count: int) -> None:
    """Refuse more interfaces than an instance of a type may have.

    Raises:
        Ec2Error: AttachmentLimitExceeded.

    """
    if count > of_type(txn, type_name).interfaces:
        raise Ec2Error("AttachmentLimitExceeded", f"Interface count {count} exceeds the limit for {type_name}")


def refuse_addresses(txn: Transaction, type_name: str | None, count: int) -> None:
    """Refuse more private addresses on one interface than an instance of a type may have; None = not attached.

    Raises:
        Ec2Error: PrivateIpAddressLimitExceeded.

    """
    if count > (MOST_ADDRESSES if type_name is None else of_type(txn, type_name).addresses):
        raise Ec2Error("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
