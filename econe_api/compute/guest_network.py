"""What an instance of the namespace backend does about its network interfaces, as an image's own scripts would.

The first interface has the main routing table, with the default route.  Every further one has a table of its own,
number 100 + device index, for packets from its addresses, so that they leave by it: the switch lets no interface send
from another one's address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from econe_api.compute import netns
from econe_api.compute.backend import InterfaceSpec

_FIRST_TABLE = 100


def device(device_index: int) -> str:
    """The name of an interface inside the instance."""
    return f"eth{device_index}"


def configure(interfaces: Sequence[InterfaceSpec]) -> None:
    """Give interfaces their addresses and routes and switch them on; raises :class:`netns.CommandError`.

    Called in the instance's namespace.
    """
    lines = [line for interface in interfaces for line in _lines(interface)]
    if lines:
        netns.ip_batch(lines)
    for interface in interfaces:
        if interface.device_index > 0:
            _flush(interface.device_index)
            netns.ip_batch(_rules(interface, [interface.address, *interface.secondary]))
            if interface.ipv6:
                netns.ip_batch(_rules(interface, interface.ipv6), version=6)


def forget(namespace: str, device_index: int) -> None:
    """Drop the rules that choose the interface's table; the table's routes go with the device."""
    with netns.there(namespace):
        _flush(device_index)


def _flush(device_index: int) -> None:
    flush = [f"rule flush table {_table(device_index)}"]
    for version in (4, 6):
        netns.ip_batch(flush, version=version)


def _table(device_index: int) -> int:
    return _FIRST_TABLE + device_index


def _lines(interface: InterfaceSpec) -> list[str]:
    name = device(interface.device_index)
    lines = [
        *(
            f"address add {each}/{interface.prefix_length} dev {name}"
            for each in (interface.address, *interface.secondary)
        ),
        # The switch lets nobody else have the address, so that it need not be looked for before it is used.
        *(f"address add {each}/{interface.ipv6_prefix_length} dev {name} nodad" for each in interface.ipv6),
        f"link set {name} up",
    ]
    if interface.device_index == 0:
        lines.append(f"route add default via {interface.gateway} dev {name}")
        if interface.ipv6:
            lines.append(f"route add ::/0 via {interface.ipv6_gateway} dev {name}")
        return lines
    table = f"dev {name} table {_table(interface.device_index)}"
    lines += [
        f"route add {_network(interface.address, interface.prefix_length)} {table}",
        f"route add default via {interface.gateway} {table}",
    ]
    if interface.ipv6:
        lines += [
            f"route add {_network(interface.ipv6[0], interface.ipv6_prefix_length)} {table}",
            f"route add ::/0 via {interface.ipv6_gateway} {table}",
        ]
    return lines


def _network(address: str, prefix_length: int) -> str:
    return str(ipaddress.ip_interface(f"{address}/{prefix_length}").network)


def _rules(interface: InterfaceSpec, addresses: list[str] | tuple[str, ...]) -> list[str]:
    return [f"rule add from {address} lookup {_table(interface.device_index)}" for address in addresses]
