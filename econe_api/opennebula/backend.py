"""The OpenNebula backend: an instance is a VM that oned runs, made and handled in the name of its owner.

An account acts as the user that it is named after.  A VM is made on hold, noted in the store, and deployed once its
interfaces have the MACs that oned chose: a worker that is killed in between finds it again by ``SLUICE_INSTANCE`` in
its user template, and the packets of its first second find their filters in place.  Ports are OpenNebula's own doing
(taps ``one-VM-NIC``): the network driver on the hypervisor writes to them which interface they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from econe_api.compute.backend import (
    BackendDownError,
    BackendUnavailableError,
    Condition,
    Console,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
    UnderWayError,
)
from econe_api.config import Config, ConfigError
from econe_api.opennebula import accounts, actions, bus, states
from econe_api.opennebula.actions import Oned
from econe_api.opennebula.bindings import Binding, Bindings
from econe_api.opennebula.documents import Vm
from econe_api.opennebula.errors import state_reason
from econe_api.opennebula.inventory import Inventory
from econe_api.opennebula.launching import macs, nic_template, vm_template
from econe_api.opennebula.reservations import Reservations
from econe_api.opennebula.rpc import Client, Code, OneError, RefusedError
from econe_api.opennebula.session import service_account
from econe_api.opennebula.states import Phase
from econe_api.store.errors import StoreError
from econe_api.store.store import Store

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_CONDITIONS = {
    Phase.PENDING: Condition.UNDER_WAY,
    Phase.RUNNING: Condition.RUNNING,
    Phase.STOPPING: Condition.UNDER_WAY,
    Phase.STOPPED: Condition.STOPPED,
    Phase.ENDING: Condition.UNDER_WAY,
    Phase.ENDED: Condition.ENDED,
    Phase.FAILED: Condition.BROKEN,
}
_USERS_INTERVAL = 60.0
_LATER = frozenset({Code.AUTHENTICATION, Code.LOCKED, Code.REPLICATION})
"""Refusals that are not about the request: a wrong secret or clock, a lock, an oned that has no leader."""


class OpenNebulaBackend:
    """Implements :class:`econe_api.compute.backend.ComputeBackend` and ``Announcing``."""

    def __init__(self, config: Config, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigError when the configuration is not enough, or the secret cannot be read."""
        settings = config.opennebula
        if settings.network is None:
            raise ConfigError("opennebula.network is missing; write the id of the virtual network of the instances")
        try:
            client = Client(settings.endpoint, settings.timeout)
        except ValueError as error:
            raise ConfigError(f"opennebula.endpoint: {error}") from error
        sessions = service_account(settings.secret_file, settings.administrator)
        self._config = config
        self._store = store
        self._client = client
        self._sessions = sessions
        self._users_due = float("-inf")
        parent = settings.address_network
        self._reservations = None if parent is None else Reservations(store, client, sessions, parent, settings.resync)
        self._settings = settings
        self._network = settings.network
        self._clock = clock
        self._bindings = Bindings(store)
        self._inventory = Inventory(client, sessions, settings.resync, settings.page)
        self._oned = Oned(client, sessions, self._inventory)
        self._verdicts: dict[str, LaunchFailedError] = {}  # of launches whose VM is just being ended

    @classmethod
    def from_config(cls, config: Config) -> OpenNebulaBackend:
        """Return the backend of a configuration, with the store that it names."""
        return cls(config, Store.open(config))

    def announce(self, changed: Callable[[], None]) -> None:
        """Listen to oned's events, if the configuration says where; each is a reason to look, and nothing else."""
        if self._settings.events != "off":

            def hint(vm: int | None) -> None:
                self._inventory.doubt(vm)
                changed()

            bus.listen(self._settings.events, hint)

    def list(self) -> Mapping[str, ObservedInstance]:
        """Return the instances that have a VM, as it was last seen: at most ``resync`` seconds ago."""
        self._do(self._keep_up)
        bound = self._bindings.all()
        found = self._inventory.look(bound)
        for instance, vm in found.items():
            if vm is not None and vm.phase is Phase.RUNNING and not bound[instance].started:
                self._bindings.note_started(instance)
        return {instance: self._observed(instance, vm) for instance, vm in found.items()}

    def _keep_up(self) -> None:
        """Do what is due besides VMs: accounts as users are, reservations given back.

        What is refused there keeps no instance waiting.
        """
        try:
            if self._reservations is not None:
                self._reservations.settle()
            if self._settings.follow_users and time.monotonic() >= self._users_due:
                self._users_due = time.monotonic() + _USERS_INTERVAL
                accounts.follow(self._store, self._client, self._sessions)
        except (RefusedError, StoreError) as error:
            _LOG.warning("%s", error)

    def _observed(self, instance: str, vm: Vm | None) -> ObservedInstance:
        if vm is None:
            return ObservedInstance(instance, "", Condition.ENDED, leads=True)
        condition = Condition.UNDER_WAY if vm.phase is None else _CONDITIONS[vm.phase]
        if condition is Condition.ENDED and instance in self._verdicts:
            condition = Condition.UNDER_WAY  # the launch has to say why
        host = "" if vm.moves else actions.hypervisor_of(self._config.hypervisors, vm.host)
        return ObservedInstance(instance, host, condition, leads=True)

    def launch(self, spec: LaunchSpec) -> None:
        """Take the instance one step further on its way to running; UnderWayError until it is there."""
        try:
            self._launch(spec)
        except RefusedError as error:
            if error.code in _LATER:
                raise BackendUnavailableError(str(error)) from error
            raise LaunchFailedError(state_reason(error), error.text) from error
        except OneError as error:
            raise BackendUnavailableError(str(error)) from error

    def _launch(self, spec: LaunchSpec) -> None:
        binding = self._bindings.of(spec.instance_id)
        if binding is None:
            vm = self._oned.find(spec.instance_id, spec.account_name) or self._make(spec)
            self._bindings.bind(spec.instance_id, vm.id, vm.born)
            started = False
        else:
            vm, started = self._known(spec.instance_id, binding), binding.started
        if vm.phase is Phase.ENDED:
            self._bindings.forget(spec.instance_id)
            unknown = LaunchFailedError("Server.InternalError", f"VM {vm.id} was terminated in OpenNebula")
            raise self._verdicts.pop(spec.instance_id, unknown)
        if vm.phase is Phase.FAILED or (self._is_late(vm) and not started):
            code = "Server.InsufficientInstanceCapacity" if vm.phase is Phase.PENDING else "Server.InternalError"
            self._give_up(spec, vm, started, code, f"VM {vm.id} is in state {vm.state_name} {vm.error}".strip())
        if vm.state in (states.HOLD, states.PENDING):
            self._send_off(spec, vm, started)
        elif vm.phase is Phase.STOPPED:
            self._oned.act(vm, "resume")
        vm = self._inventory.read(vm.id) or vm
        if vm.phase is not Phase.RUNNING:
            raise UnderWayError(f"VM {vm.id} is in state {vm.state_name}")
        self._bindings.note_started(spec.instance_id)

    def _known(self, instance_id: str, binding: Binding) -> Vm:
        vm = self._inventory.read(binding.vm)
        if vm is None or vm.born != binding.born:
            self._inventory.doubt(binding.vm)
            raise UnderWayError(f"VM {binding.vm} of {instance_id} is not there")
        return vm

    def _is_late(self, vm: Vm) -> bool:
        return vm.phase is Phase.PENDING and self._clock() - vm.born > self._settings.launch_timeout

    def _give_up(self, spec: LaunchSpec, vm: Vm, started: bool, code: str, why: str) -> None:
        """A VM that has never run goes, and the launch has failed; what has run is kept for somebody to recover."""
        if started:
            raise BackendUnavailableError(f"{why}; recover it with 'onevm recover'")
        self._verdicts[spec.instance_id] = LaunchFailedError(code, why)
        self.terminate(spec.instance_id, spec.host)
        raise self._verdicts.pop(spec.instance_id)

    def _make(self, spec: LaunchSpec) -> Vm:
        """Have oned make the VM, on hold, as the instance's owner."""
        number = self._settings.templates.get(spec.image, self._settings.template)
        if number is None:
            raise LaunchFailedError(
                "Client.InvalidAMIID.NotFound", f"no template of OpenNebula stands for {spec.image}"
            )
        self._oned.check_user(spec.account_name, self._bindings.user_of(spec.account))
        size = next((each for each in self._config.instance_types if each.name == spec.instance_type), None)
        context = self._oned.context(spec.account_name, number) if spec.user_data else None
        try:
            text = vm_template(spec, size, self._oned.network(self._network), context)
        except ValueError as error:
            raise LaunchFailedError("Client.InvalidParameterValue", str(error)) from error
        return self._oned.instantiate(spec.account_name, number, spec.instance_id, text)

    def _send_off(self, spec: LaunchSpec, vm: Vm, started: bool) -> None:
        """Have a VM that waits for its host go to it, its interfaces known by their MACs."""
        self._adopt(spec.interfaces, vm)
        if self._settings.placement == "opennebula":
            if vm.state == states.HOLD:
                self._oned.act(vm, "release")
            return
        try:
            self._oned.deploy(vm, actions.oned_host(self._config.hypervisors, spec.host))
        except RefusedError as error:
            now = self._inventory.read(vm.id)
            if error.code in _LATER or (now is not None and now.state not in (states.HOLD, states.PENDING)):
                raise UnderWayError(f"VM {vm.id}: {error.text}") from error
            self._give_up(spec, vm, started, state_reason(error), error.text)

    def _adopt(self, interfaces: tuple[InterfaceSpec, ...], vm: Vm) -> None:
        different = macs(interfaces, {nic.interface: nic.mac for nic in vm.nics if nic.interface})
        if different:
            self._bindings.adopt(different)

    def stop(self, instance_id: str, host: str) -> None:
        """Switch the VM off (ACPI first); it keeps its leases."""
        vm = self._read(instance_id)
        if vm is None or vm.phase in (Phase.STOPPED, Phase.ENDED):
            return
        if vm.phase is Phase.RUNNING:
            self._do(lambda: self._oned.switch_off(vm))
        self._expect(vm, Phase.STOPPED, Phase.ENDED)

    def reboot(self, spec: LaunchSpec) -> None:
        """Have the VM's system boot anew."""
        vm = self._read(spec.instance_id)
        if vm is None or vm.phase is not Phase.RUNNING:
            self.launch(spec)
            return
        self._do(lambda: self._oned.act(vm, "reboot"))

    def terminate(self, instance_id: str, host: str) -> None:
        """End the VM; its leases go back to their networks."""
        vm = self._read(instance_id)
        if vm is None:
            vm = self._do(lambda: self._oned.find(instance_id, None))
        if vm is not None and vm.phase is not Phase.ENDED:
            known = vm
            if vm.phase is not Phase.ENDING:
                self._do(lambda: self._oned.end(known))
            self._expect(vm, Phase.ENDED)
        self._bindings.forget(instance_id)

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Plug a NIC into the VM."""
        vm = self._read(spec.instance_id)
        if vm is None or vm.phase not in (Phase.RUNNING, Phase.STOPPED):
            raise UnderWayError(f"the VM of {spec.instance_id} cannot take an interface yet")
        if not any(nic.interface == interface.id for nic in vm.nics):
            known = vm
            self._do(lambda: self._oned.attach(known, nic_template(interface, self._oned.network(self._network))))
            vm = self._read(spec.instance_id) or vm
        self._adopt((interface,), vm)
        if vm.lcm_state == states.HOTPLUG_NIC:
            raise UnderWayError(f"VM {vm.id} is in state {vm.state_name}")

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Unplug a NIC."""
        vm = self._read(spec.instance_id)
        if vm is None or vm.phase is Phase.ENDED:
            return
        known = vm
        for nic in vm.nics:
            if nic.interface == interface.id:
                if vm.lcm_state != states.HOTPLUG_NIC:
                    self._do(lambda number=nic.nic_id: self._oned.detach(known, number))  # type: ignore[misc]
                raise UnderWayError(f"interface {interface.id} is still in VM {vm.id}")

    def console(self, instance_id: str) -> Console | None:
        """Return None: OpenNebula keeps no console."""
        return None

    def _vm_of(self, instance_id: str) -> Vm | None:
        """Return the VM that is bound to an instance, read anew; None: there is none.  Raises OneError."""
        binding = self._bindings.of(instance_id)
        if binding is None:
            return None
        vm = self._inventory.read(binding.vm)
        return vm if vm is not None and vm.born == binding.born else None

    def _read(self, instance_id: str) -> Vm | None:
        return self._do(lambda: self._vm_of(instance_id))

    def _expect(self, vm: Vm, *phases: Phase) -> None:
        """Raise UnderWayError unless the VM has come to one of ``phases``."""
        now = self._do(lambda: self._inventory.read(vm.id))
        if now is not None and now.phase not in phases:
            raise UnderWayError(f"VM {vm.id} is in state {now.state_name}")

    def _do(self, call: Callable[[], _Value]) -> _Value:
        try:
            return call()
        except RefusedError as error:
            raise BackendUnavailableError(str(error)) from error
        except OneError as error:
            raise BackendDownError(str(error)) from error
