"""What the small oned's hosts do: a VM that boots is a network namespace, plugged into the bridge of its hypervisor.

Its NICs say which interfaces they are and have the MACs that oned chose; addresses come from ``address_of``, as a guest
would get them by DHCP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from econe_api.compute.backend import InterfaceSpec, LaunchSpec
from econe_api.compute.namespaces import NamespaceBackend
from topologies.oned.model import Vm


@dataclass
class Hypervisors:
    """Plugs VMs in and out; append :meth:`follow` to an oned's ``changed``.

    ``hosts`` are the namespace backend's hypervisors by what oned calls them; ``address_of`` gives the address of an
    interface (``eni-...``) with its prefix length and gateway.
    """

    backend: NamespaceBackend
    hosts: Mapping[str, str]
    address_of: Callable[[str], tuple[str, int, str]]
    plugged: dict[int, str] = field(default_factory=dict)

    def follow(self, vm: Vm) -> None:
        """Bring the VM's namespace to what its new state means."""
        if vm.state == 3 and vm.hosts and vm.lcm in (2, 20):
            self.plugged[vm.id] = self.hosts[vm.hosts[-1]]
            self.backend.launch(self._spec(vm))
        elif vm.state in (6, 8) and vm.id in self.plugged:
            self.backend.terminate(vm.name, self.plugged.pop(vm.id))

    def _spec(self, vm: Vm) -> LaunchSpec:
        links = tuple(self._interface(index, nic) for index, nic in enumerate(vm.nics))
        return LaunchSpec(vm.name, self.plugged[vm.id], "", "", None, links)

    def _interface(self, index: int, nic: Mapping[str, str]) -> InterfaceSpec:
        address, length, gateway = self.address_of(nic["SLUICE_INTERFACE"])
        return InterfaceSpec(nic["SLUICE_INTERFACE"], nic["MAC"], address, length, gateway, index)
