"""What an instance of the namespace backend does about its network interfaces, as an image's own scripts would.

The first interface has the main routing table, with the default route.  Every further one has a table of its own,
number 100 + device index, for packets from its addresses, so that they leave by it: the switch lets no interface send
from another one's address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from econe_api.compute import kernel, netns
from econe_api.compute.backend import InterfaceSpec
from econe_api.compute.rtnetlink import Rtnetlink

_FIRST_TABLE = 100


def device(device_index: int) -> str:
    """The name of an interface inside the instance."""
    return f"eth{device_index}"


def configure(interfaces: Sequence[InterfaceSpec]) -> None:
    """Give interfaces their addresses and routes and switch them on; raises :class:`netns.CommandError`.

    Called in the instance's namespace.
    """
    try:
        with Rtnetlink() as network:
            for interface in interfaces:
                _furnish(network, interface)
    except OSError as error:
        raise netns.CommandError(["ip"], str(error)) from error
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


def _furnish(network: Rtnetlink, interface: InterfaceSpec) -> None:
    """Addresses, on, routes.  The switch lets nobody else have an address, so none is looked for before it is used."""
    name = device(interface.device_index)
    for each in (interface.address, *interface.secondary):
        network.add_address(name, each, interface.prefix_length)
    for each in interface.ipv6:
        network.add_address(name, each, interface.ipv6_prefix_length)
    kernel.set_up(name)
    if interface.device_index == 0:
        network.add_route(name, "0.0.0.0/0", interface.gateway)
        if interface.ipv6:
            network.add_route(name, "::/0", interface.ipv6_gateway)
        return
    table = _table(interface.device_index)
    network.add_route(name, _network(interface.address, interface.prefix_length), table=table)
    network.add_route(name, "0.0.0.0/0", interface.gateway, table)
    if interface.ipv6:
        network.add_route(name, _network(interface.ipv6[0], interface.ipv6_prefix_length), table=table)
        network.add_route(name, "::/0", interface.ipv6_gateway, table)


def _network(address: str, prefix_length: int) -> str:
    return str(ipaddress.ip_interface(f"{address}/{prefix_length}").network)


def _rules(interface: InterfaceSpec, addresses: list[str] | tuple[str, ...]) -> list[str]:
    return [f"rule add from {address} lookup {_table(interface.device_index)}" for address in addresses]
