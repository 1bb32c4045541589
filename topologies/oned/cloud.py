"""What the small oned does: VMs and their lives, leases and quotas.  Texts and codes are those of oned 6.10."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from topologies.oned.model import LCM, STATES, Network, RefusalError, User, Vm
from topologies.oned.templates import Members, ParseError, Template

AUTHORIZATION, NO_EXISTS, ACTION, INTERNAL = 0x0200, 0x0400, 0x0800, 0x2000
_RESTRICTED = (("NIC", "MAC"), ("NIC", "BRIDGE"), ("NIC", "VLAN_ID"), ("CONTEXT", "FILES"))
_OWN = frozenset({"CPU", "VCPU", "MEMORY", "NIC", "DISK", "OS", "CONTEXT", "GRAPHICS"})
_FAILED = frozenset({36})


class Oned:
    """One oned.  ``pause`` is how long each step of a VM's life takes, in seconds.

    ``changed`` is told of every new state of a VM, from the thread that brings it about; ``fail_boots``: VMs end in
    BOOT_FAILURE.
    """

    def __init__(self, pause: float = 0.02) -> None:
        self.lock = threading.RLock()
        self.pause = pause
        self.fail_boots = False
        self.changed: list[Callable[[Vm], None]] = []
        self.users: dict[int, User] = {0: User(0, "oneadmin", "secret", group=0)}
        self.hosts: dict[int, str] = {}
        self.networks: dict[int, Network] = {}
        self.templates: dict[int, Template] = {}
        self.vms: dict[int, Vm] = {}
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="oned", daemon=True)
        self._ticker.start()

    def close(self) -> None:
        """End the VMs' lives going on."""
        self._stopping.set()
        self._ticker.join()

    def add_user(self, name: str, password: str, group: int = 1, driver: str = "core") -> User:
        """Make a user."""
        made = User(max(self.users) + 1, name, password, group, driver)
        self.users[made.id] = made
        return made

    def user(self, name: str) -> User | None:
        """The user of a name."""
        return next((each for each in self.users.values() if each.name == name), None)

    def set_state(self, vm: Vm, state: int, lcm: int = 0, *then: tuple[int, int]) -> None:
        """Bring a VM to a state, as drivers, the scheduler or an administrator would."""
        with self.lock:
            vm.state, vm.lcm, vm.then, vm.at = state, lcm, list(then), time.monotonic() + self.pause
            if state == 6:
                for network in self.networks.values():
                    network.leases = {offset: owner for offset, owner in network.leases.items() if owner != vm.id}
        for tell in self.changed:
            tell(vm)

    def vm(self, caller: User, number: int, right: str = "USE") -> Vm:
        """The VM of an id, if the caller may see it."""
        found = self.vms.get(number)
        if found is None:
            raise RefusalError(NO_EXISTS, f"Error getting virtual machine [{number}].", number)
        if caller.group != 0 and found.owner is not caller:
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform {right} VM [{number}].")
        return found

    def instantiate(self, caller: User, number: int, name: str, hold: bool, text: str) -> int:
        """Make a VM from a template."""
        if number not in self.templates:
            raise RefusalError(NO_EXISTS, f"Error getting virtual machine template [{number}].", number)
        extra = _parsed(text)
        self._refuse_restricted(caller, extra)
        whole = self.templates[number].merged(extra)
        self._check_quota(caller)
        made = Vm(next(self._numbers), caller, name, Template(), Template(), state=2 if hold else 1)
        nics = whole.vectors("NIC")
        try:
            for index, nic in enumerate(nics):
                self._lease(made, index, nic)
        except RefusalError:
            self._free(made.id)
            raise
        made.template = Template([item for item in whole.items if item[0] in _OWN])
        made.own = Template([item for item in whole.items if item[0] not in _OWN])
        self.vms[made.id] = made
        self.set_state(made, made.state)
        return made.id

    def deploy(self, caller: User, number: int, host: int) -> None:
        """Send a VM to a host."""
        vm = self.vm(caller, number, "ADMIN")
        if caller.group != 0:
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform ADMIN VM [{number}].")
        if host not in self.hosts:
            raise RefusalError(NO_EXISTS, f"Error getting host [{host}].", host)
        if vm.state not in (1, 2, 4, 9):
            raise RefusalError(ACTION, "This action is not available for state " + _state(vm))
        vm.hosts.append(self.hosts[host])
        self.set_state(vm, 3, 2, (3, 36 if self.fail_boots else 3))

    def act(self, caller: User, action: str, number: int) -> None:
        """Do one of the actions of ``one.vm.action``."""
        vm = self.vm(caller, number, "MANAGE")
        runs, halts = (vm.state, vm.lcm) in ((3, 3), (3, 16)), vm.state in (4, 5, 8, 9)
        match action:
            case "poweroff" | "poweroff-hard" if runs:
                self._begin(vm, (3, 18), (8, 0))
            case "resume" if halts or (vm.state, vm.lcm) == (3, 16):
                self._begin(vm, (3, 20), (3, 3))
            case "reboot" | "reboot-hard" if runs:
                self.set_state(vm, 3, 3)
            case "release" if vm.state == 2:
                self.set_state(vm, 1)
            case "terminate" | "terminate-hard" if runs:
                self._begin(vm, (3, 12), (6, 0))
            case "terminate" | "terminate-hard" if halts or vm.state in (1, 2):
                self.set_state(vm, 6)
            case "terminate" | "terminate-hard" if vm.state == 6:
                return
            case (
                "poweroff"
                | "poweroff-hard"
                | "resume"
                | "reboot"
                | "reboot-hard"
                | "release"
                | "terminate"
                | ("terminate-hard")
            ):
                words = f'Error performing action "{action}": This action is not available for state {_state(vm)}'
                raise RefusalError(ACTION, words)
            case _:
                raise RefusalError(ACTION, f'Action "{action}" is not supported')

    def recover(self, caller: User, number: int, operation: int) -> None:
        """Delete a VM, whatever its state (the only one of the recoveries that there is)."""
        vm = self.vm(caller, number, "ADMIN")
        if caller.group != 0 or operation != 3:
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform ADMIN VM [{number}].")
        self.set_state(vm, 3, 23, (6, 0))

    def attach_nic(self, caller: User, number: int, text: str) -> None:
        """Plug a NIC in."""
        vm = self.vm(caller, number, "MANAGE")
        if (vm.state, vm.lcm) != (3, 3):
            raise RefusalError(ACTION, f"This action is not available for state {_state(vm)}")
        extra = _parsed(text)
        self._refuse_restricted(caller, extra)
        for nic in extra.vectors("NIC"):
            self._lease(vm, 1 + max((int(each["NIC_ID"]) for each in vm.nics), default=-1), nic)
            vm.template.items.append(("NIC", nic))
        self.set_state(vm, 3, 25, (3, 3))

    def detach_nic(self, caller: User, number: int, nic: int) -> None:
        """Unplug a NIC."""
        vm = self.vm(caller, number, "MANAGE")
        if (vm.state, vm.lcm) not in ((3, 3), (8, 0)):
            raise RefusalError(ACTION, f"This action is not available for state {_state(vm)}")
        vm.template.items = [
            (name, value)
            for name, value in vm.template.items
            if not (name == "NIC" and isinstance(value, dict) and value["NIC_ID"] == str(nic))
        ]
        self.set_state(vm, 3, 25, (3, 3))

    def reserve(self, caller: User, number: int, text: str) -> int:
        """Take one address of a network into a network of the caller's own."""
        parent = self.networks.get(number)
        if parent is None or parent.first is None:
            raise RefusalError(NO_EXISTS, f"Error getting virtual network [{number}].", number)
        asked = _parsed(text)
        if any(each.name == asked.get("NAME") and each.owner is caller for each in self.networks.values()):
            raise RefusalError(INTERNAL, f"NAME is already taken by NET {number}.")
        limit = caller.quotas.get(("LEASES", number))
        used = sum(1 for each in self.networks.values() if each.parent == number and each.owner is caller)
        if limit is not None and used >= limit:
            words = f"user [{caller.id}] limit of {limit} reached for LEASES quota in NETWORK with ID: {number}."
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : {words}")
        free = [each for each in range(parent.size) if each not in parent.leases]
        if asked.get("IP"):
            wanted = int(IPv4Address(asked.get("IP"))) - int(IPv4Address(parent.first))
            free = [wanted] if wanted in free and asked.get("AR_ID") == "0" else []
        if not free:
            words = "Not enough free addresses in address range 0, or it does not exist"
            raise RefusalError(ACTION, words if asked.get("IP") else "Not enough free addresses in a single range")
        made = Network(max(self.networks) + 1, asked.get("NAME"), caller, parent.mac, 1)
        made.first, made.parent = str(IPv4Address(parent.first) + free[0]), number
        parent.leases[free[0]] = -1 - made.id
        self.networks[made.id] = made
        return made.id

    def delete_network(self, caller: User, number: int) -> None:
        """Delete a network; a reservation's addresses are its parent's again."""
        gone = self.networks.get(number)
        if gone is None:
            raise RefusalError(NO_EXISTS, f"Error getting virtual network [{number}].", number)
        if caller.group != 0 and gone.owner is not caller:
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform MANAGE NET [{number}].")
        if gone.leases:
            words = "Cannot delete virtual network. Can not remove a virtual network with leases in use"
            raise RefusalError(ACTION, words)
        del self.networks[number]
        if gone.parent is not None:
            parent = self.networks[gone.parent]
            parent.leases = {offset: owner for offset, owner in parent.leases.items() if owner != -1 - number}

    def _check_quota(self, caller: User) -> None:
        limit = caller.quotas.get(("VMS", -1))
        used = sum(1 for vm in self.vms.values() if vm.owner is caller and vm.state != 6)
        if limit is not None and used >= limit:
            words = f"user [{caller.id}] limit of {limit} reached for VMS quota in VM."
            raise RefusalError(AUTHORIZATION, f"User [{caller.id}] : {words}")

    def _refuse_restricted(self, caller: User, template: Template) -> None:
        for name, key in _RESTRICTED:
            if caller.group != 0 and any(key in vector for vector in template.vectors(name)):
                words = f"VM Template includes a restricted attribute {name}/{key}."
                raise RefusalError(AUTHORIZATION, words)

    def _lease(self, vm: Vm, index: int, nic: Members) -> None:
        network = self.networks.get(int(nic.get("NETWORK_ID", "-1")))
        if network is None:
            raise RefusalError(INTERNAL, f"Virtual network with ID: {nic.get('NETWORK_ID')} does not exist")
        free = (each for each in range(network.size) if each not in network.leases)
        offset: int | None = next(free, None)
        if "IP" in nic and network.first is not None:
            offset = int(IPv4Address(nic["IP"])) - int(IPv4Address(network.first))
        if offset is None or not 0 <= offset < network.size or offset in network.leases:
            raise RefusalError(INTERNAL, f"Cannot get IP/MAC lease from virtual network {network.id}.")
        network.leases[offset] = vm.id
        number = int(network.mac.replace(":", ""), 16) + offset
        nic |= {"NIC_ID": str(index), "TARGET": f"one-{vm.id}-{index}", "MAC": number.to_bytes(6, "big").hex(":")}
        if network.first is not None:
            nic["IP"] = str(IPv4Address(network.first) + offset)

    def _free(self, vm: int) -> None:
        for network in self.networks.values():
            network.leases = {offset: owner for offset, owner in network.leases.items() if owner != vm}

    def _begin(self, vm: Vm, *states: tuple[int, int]) -> None:
        """Have a VM go through states from now on; as with oned, the old one is still shown when a call is answered."""
        with self.lock:
            vm.then, vm.at = list(states), time.monotonic() + self.pause

    def _tick(self) -> None:
        while not self._stopping.wait(0.005):
            with self.lock:
                due = [vm for vm in self.vms.values() if vm.then and vm.at <= time.monotonic()]
                for vm in due:
                    (state, lcm), *rest = vm.then
                    self.set_state(vm, state, lcm, *rest)


def _parsed(text: str) -> Template:
    try:
        return Template.parse(text)
    except ParseError as error:
        raise RefusalError(INTERNAL, str(error)) from error


def _state(vm: Vm) -> str:
    return LCM.get(vm.lcm, str(vm.lcm)) if vm.state == 3 else STATES.get(vm.state, str(vm.state))
