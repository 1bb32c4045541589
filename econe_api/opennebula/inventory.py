"""What VMs there are: read from oned page by page now and then, and one by one when there is reason to look.

A VM is gone only when oned says so of this very VM: that it is DONE, or that there is no VM of that id.  That the list
lacks it says nothing: the list may be cut short, and what shifts between two pages is missing from both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from econe_api.compute.backend import BackendDownError, BackendUnavailableError
from econe_api.opennebula import documents
from econe_api.opennebula.bindings import Binding
from econe_api.opennebula.documents import Vm
from econe_api.opennebula.rpc import Client, Code, NoAnswerError, OneError, RefusedError
from econe_api.opennebula.session import Sessions

_LOG = logging.getLogger(__name__)
_EVERYBODYS, _MINE = -2, -3
_NOT_DONE = -1
_ANY_STATE = -2
_MOST_PAGES = 10_000


class Inventory:
    """The VMs that are instances, as oned last described them; safe to use from several threads.

    A VM is read anew at once after :meth:`doubt`, all of them when ``resync`` seconds have passed.
    """

    def __init__(
        self,
        client: Client,
        sessions: Sessions,
        resync: float,
        page: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._resync = resync
        self._page = page
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._count = 0
        self._noted: dict[int, int] = {}
        self._vms: dict[int, Vm] = {}
        self._doubtful: set[int] = set()
        self._due = float("-inf")

    def read(self, vm: int) -> Vm | None:
        """Ask oned for a VM; None: it says that there is none of that id.  Raises OneError."""
        try:
            found = documents.vm(self._client.document(self._sessions.administrator(), "one.vm.info", vm, False))
        except RefusedError as error:
            if error.code != Code.NO_EXISTS:
                raise
            with self._lock:
                self._vms.pop(vm, None)
            return None
        if found.id != vm:
            raise NoAnswerError(f"oned was asked for VM {vm} and described VM {found.id}")
        with self._lock:
            self._count += 1
            self._noted[vm] = self._count
            self._vms[vm] = found
            self._doubtful.discard(vm)
        return found

    def doubt(self, vm: int | None) -> None:
        """Have a VM (None: all of them) read anew at the next look."""
        with self._lock:
            if vm is None:
                self._due = float("-inf")
            else:
                self._doubtful.add(vm)

    def look(self, bound: Mapping[str, Binding]) -> dict[str, Vm | None]:
        """Return each bound instance's VM, None: it is certain that there is none any more.

        Raises BackendDownError when oned does not answer, and BackendUnavailableError when what it says cannot be
        believed: most of the VMs missing at once look like another oned's database.
        """
        try:
            return self._look(bound)
        except OneError as error:
            raise BackendDownError(str(error)) from error

    def _look(self, bound: Mapping[str, Binding]) -> dict[str, Vm | None]:
        if self._clock() >= self._due:
            begun = self._clock()
            with self._lock:
                before = self._count
            self._take(self.pool(), before)
            with self._lock:
                self._due = begun + self._resync
        with self._lock:
            known, doubtful = dict(self._vms), set(self._doubtful)
        found: dict[str, Vm | None] = {}
        for instance, binding in bound.items():
            vm = known.get(binding.vm)
            if vm is None or binding.vm in doubtful or vm.born != binding.born:
                vm = self.read(binding.vm)
            found[instance] = vm if vm is not None and vm.born == binding.born else None
        gone = sorted(instance for instance, vm in found.items() if vm is None)
        if gone and not self._believable(len(gone), len(found), max(bound[instance].vm for instance in gone)):
            self.doubt(None)
            names = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
            raise BackendUnavailableError(
                f"oned knows nothing of {len(gone)} of {len(found)} instances, which are left alone: {names}; "
                f"is {self._client.endpoint} the right one, and its database whole?"
            )
        return found

    def _believable(self, gone: int, of: int, newest: int) -> bool:
        """Whether this oned may have had, and lost, VMs of ids up to ``newest``: it must have gone on beyond that."""
        if gone > max(1, of - gone):
            return False
        session = self._sessions.administrator()
        later = self._client.document(session, "one.vmpool.info", _EVERYBODYS, newest + 1, -1, _ANY_STATE, "")
        return len(later) > 0

    def pool(self, owner: str | None = None) -> list[Vm]:
        """Read all VMs (of the user ``owner``) that are not DONE, page by page; raises OneError."""
        found: dict[int, Vm] = {}
        for page in range(_MOST_PAGES):
            session = self._sessions.administrator() if owner is None else self._sessions.user(owner)
            whose = _EVERYBODYS if owner is None else _MINE
            window = (page * self._page, -self._page)
            method = "one.vmpool.infoextended"
            vms = documents.vms(self._client.document(session, method, whose, *window, _NOT_DONE, ""))
            found.update({vm.id: vm for vm in vms})
            if len(vms) < self._page:
                break
        return list(found.values())

    def _take(self, vms: Iterable[Vm], before: int) -> None:
        """Note what a whole reading found, but for VMs that have been read on their own since it began."""
        with self._lock:
            newer = {vm: self._vms[vm] for vm, count in self._noted.items() if count > before}
            self._noted = {vm: count for vm, count in self._noted.items() if count > before}
            self._vms = {vm.id: vm for vm in vms} | newer
