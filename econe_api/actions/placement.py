"""Where new instances go: pure.

Instances are spread: each goes to the host with the most memory left, then the most vCPUs, then by name.  Nothing is
promised twice: neither memory nor vCPUs are overcommitted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from econe_api.config import Hypervisor, InstanceType

#: AWS keeps the first four addresses of a subnet (network, router, DNS, future) and the last (broadcast).
RESERVED_FIRST = 4


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a host; a host that was made smaller may be below nought."""

    memory_mib: int
    vcpus: int


def rooms(
    hosts: Iterable[Hypervisor], sizes: Mapping[str, InstanceType], running: Iterable[tuple[str, str, int]]
) -> dict[str, Room]:
    """What is left on each host under instances ``running``, as (host, type, how many).

    A type that has been taken out of the configuration has no size any more and counts as nothing.
    """
    left = {host.name: Room(host.memory_mib, host.vcpus) for host in hosts}
    for host, name, count in running:
        size = sizes.get(name)
        if host in left and size is not None:
            room = left[host]
            left[host] = Room(room.memory_mib - count * size.memory_mib, room.vcpus - count * size.vcpus)
    return left


def spread(left: Mapping[str, Room], size: InstanceType, count: int) -> list[str]:
    """The hosts of up to ``count`` new instances of one size, in launch order; fewer when there is no more room."""
    room = dict(left)
    chosen = []
    for _ in range(count):
        fitting = [
            name for name, free in room.items() if free.memory_mib >= size.memory_mib and free.vcpus >= size.vcpus
        ]
        if not fitting:
            break
        best = min(fitting, key=lambda name: (-room[name].memory_mib, -room[name].vcpus, name))
        room[best] = Room(room[best].memory_mib - size.memory_mib, room[best].vcpus - size.vcpus)
        chosen.append(best)
    return chosen


def free_addresses(cidr: str, used: Collection[str]) -> Iterator[str]:
    """The addresses of a subnet that an instance may have, lowest first."""
    network = ipaddress.IPv4Network(cidr)
    first, last = int(network.network_address) + RESERVED_FIRST, int(network.broadcast_address) - 1
    return (text for number in range(first, last + 1) if (text := str(ipaddress.IPv4Address(number))) not in used)


def is_reserved(cidr: str, address: str) -> bool:
    """Is an address of the subnet one that no instance may have?"""
    network = ipaddress.IPv4Network(cidr)
    offset = int(ipaddress.IPv4Address(address)) - int(network.network_address)
    return offset < RESERVED_FIRST or offset == network.num_addresses - 1
