"""What is done to VMs: each call in the name of the VM's owner, unless only an administrator may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from econe_api.config import Hypervisor
from econe_api.opennebula import documents
from econe_api.opennebula.documents import Network, Vm
from econe_api.opennebula.inventory import Inventory
from econe_api.opennebula.rpc import Client, Code, NoAnswerError, RefusedError
from econe_api.opennebula.session import Sessions
from econe_api.opennebula.states import Phase

_OPTION = "host"
_NETWORK_LIFE = 60.0
_PATIENCE = 60.0
"""Seconds that a guest has to switch itself off before its power goes."""
_FORGOTTEN = 600.0
_ANY_DATASTORE = -1
_DELETE = 3  # of one.vm.recover


def oned_host(hypervisors: Iterable[Hypervisor], name: str) -> str:
    """Return what oned calls a hypervisor: its option ``host``, or its name."""
    return next((each.options.get(_OPTION, name) for each in hypervisors if each.name == name), name)


def hypervisor_of(hypervisors: Iterable[Hypervisor], host: str) -> str:
    """Return the hypervisor that oned calls ``host``; "" when it is none of the configuration."""
    return next((each.name for each in hypervisors if host and each.options.get(_OPTION, each.name) == host), "")


class Oned:
    """Does things to VMs; every method raises OneError."""

    def __init__(
        self, client: Client, sessions: Sessions, inventory: Inventory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._inventory = inventory
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._networks: dict[int, tuple[float, Network]] = {}
        self._asked: dict[int, float] = {}

    def find(self, instance: str, owner: str | None) -> Vm | None:
        """Return the VM that says it is ``instance`` and belongs to ``owner`` (None: to anybody), None: there is none.

        Whoever can make VMs can have them say so: without an owner this is for ending what is left over only.
        """
        for vm in self._inventory.pool(owner):
            if vm.instance == instance and owner in (None, vm.owner):
                return vm
        return None

    def check_user(self, name: str, number: int | None) -> None:
        """See that the user ``name`` is still the one with id ``number`` (None: any); RefusedError when not."""
        if number is None:
            return
        found = documents.user(self._client.document(self._sessions.user(name), "one.user.info", -1))
        if found.id != number:
            raise RefusedError(
                "one.user.info",
                Code.AUTHORIZATION,
                f"{name} is user {found.id} now, and the account follows user {number}",
            )

    def network(self, number: int) -> Network:
        """Return a virtual network, as it was at most a minute ago."""
        now = self._clock()
        with self._lock:
            known = self._networks.get(number)
        if known is None or now - known[0] > _NETWORK_LIFE:
            session = self._sessions.administrator()
            known = now, documents.network(self._client.document(session, "one.vn.info", number, False))
            with self._lock:
                self._networks[number] = known
        return known[1]

    def context(self, user: str, number: int) -> dict[str, str] | None:
        """Return the CONTEXT of a template; None when it has what a user may not repeat (``FILES``)."""
        found = self._client.document(self._sessions.user(user), "one.template.info", number, False)
        context = {each.tag: each.text for each in found.iterfind("TEMPLATE/CONTEXT/*") if each.text}
        return None if "FILES" in context else context

    def instantiate(self, user: str, number: int, name: str, text: str) -> Vm:
        """Make a VM on hold from a template, with ``text`` merged into it."""
        session = self._sessions.user(user)
        made = self._client.number(session, "one.template.instantiate", number, name, True, text, False)
        vm = self._inventory.read(made)
        if vm is None:
            raise NoAnswerError(f"oned made VM {made}, and does not know it")
        return vm

    def deploy(self, vm: Vm, host: str) -> None:
        """Send a VM that waits to ``host``, if that has room; an administrator's right."""
        session = self._sessions.administrator()
        known = documents.hosts(self._client.document(session, "one.hostpool.info"))
        if host not in known:
            raise RefusedError("one.vm.deploy", Code.ALLOCATE, f"oned has no host {host}")
        self._client.call(session, "one.vm.deploy", vm.id, known[host], True, _ANY_DATASTORE, "")

    def act(self, vm: Vm, action: str) -> None:
        """Do one of oned's actions ("resume") as the VM's owner.

        oned answers before it begins, and refuses what has begun already: a refusal counts only if the VM is still
        where it was.
        """
        try:
            self._client.call(self._sessions.user(vm.owner), "one.vm.action", action, vm.id)
        except RefusedError as error:
            now = self._inventory.read(vm.id) if error.code == Code.ACTION else vm
            if now is None or (now.state, now.lcm_state) == (vm.state, vm.lcm_state):
                raise

    def switch_off(self, vm: Vm) -> None:
        """Ask the guest to switch itself off; one that has been asked a minute ago, and still runs, is switched off."""
        with self._lock:
            first = self._asked.setdefault(vm.id, self._clock())
        waited = self._clock() - first
        if waited > _FORGOTTEN:  # that was another stop
            with self._lock:
                self._asked[vm.id] = self._clock()
        self.act(vm, "poweroff-hard" if _PATIENCE < waited <= _FORGOTTEN else "poweroff")

    def end(self, vm: Vm) -> None:
        """End a VM for good, also one whose owner may do nothing any more, and one that failed half-way."""
        try:
            self.act(vm, "terminate-hard")
        except RefusedError as error:
            session = self._sessions.administrator()
            if error.code == Code.AUTHENTICATION:
                self._client.call(session, "one.vm.action", "terminate-hard", vm.id)
            elif error.code == Code.ACTION:
                now = self._inventory.read(vm.id)
                if now is not None and now.phase in (Phase.FAILED, Phase.PENDING):
                    self._client.call(session, "one.vm.recover", vm.id, _DELETE)
            else:
                raise

    def attach(self, vm: Vm, text: str) -> None:
        """Give a VM one more NIC."""
        self._client.call(self._sessions.user(vm.owner), "one.vm.attachnic", vm.id, text)

    def detach(self, vm: Vm, number: int) -> None:
        """Take a NIC from a VM."""
        self._client.call(self._sessions.user(vm.owner), "one.vm.detachnic", vm.id, number)
