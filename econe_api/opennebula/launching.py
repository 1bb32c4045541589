"""What oned is asked for when an instance is launched: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from econe_api.compute.backend import InterfaceSpec, LaunchSpec
from econe_api.config import InstanceType
from econe_api.opennebula.documents import INSTANCE, INTERFACE, Network
from econe_api.opennebula.templates import Attribute, template

_ENCODED = "base64"


def vm_template(
    spec: LaunchSpec, size: InstanceType | None, network: Network, context: Mapping[str, str] | None
) -> str:
    """Return what ``one.template.instantiate`` merges into the VM's template.

    An attribute given here replaces the template's own of that name: its NICs, and its CONTEXT, of which ``context``
    is what the template has (None: leave it alone).
    """
    attributes: list[Attribute] = [(INSTANCE, spec.instance_id)]
    if size is not None:
        attributes += [("CPU", str(size.vcpus)), ("VCPU", str(size.vcpus)), ("MEMORY", str(size.memory_mib))]
    attributes += [("NIC", nic(interface, network)) for interface in spec.interfaces]
    if spec.user_data and context is not None:
        data = {"USER_DATA": spec.user_data, "USER_DATA_ENCODING": _ENCODED}
        attributes.append(("CONTEXT", {"NETWORK": "YES", **context, **data}))
    return template(attributes)


def nic_template(interface: InterfaceSpec, network: Network) -> str:
    """Return what ``one.vm.attachnic`` takes."""
    return template([("NIC", nic(interface, network))])


def nic(interface: InterfaceSpec, network: Network) -> dict[str, str]:
    """Return a NIC on ``network``.

    Its MAC is oned's to choose: asking for one is an administrator's right ("NIC/MAC" is a restricted attribute).  Its
    address is asked for where the network has it to give; a network of MAC addresses alone leaves that to us.
    """
    asked = {"NETWORK_ID": str(network.id), INTERFACE: interface.id}
    return asked | ({"IP": interface.address} if _has(network, interface.address) else {})


def _has(network: Network, address: str) -> bool:
    wanted = int(IPv4Address(address))
    return any(0 <= wanted - int(IPv4Address(each.first)) < each.size for each in network.ranges if each.first)


def macs(interfaces: Iterable[InterfaceSpec], named: Mapping[str, str]) -> dict[str, str]:
    """Return the interfaces whose NIC has another MAC than theirs, with that; ``named`` has the NICs' by interface."""
    return {each.id: named[each.id] for each in interfaces if each.id in named and named[each.id] != each.mac}
