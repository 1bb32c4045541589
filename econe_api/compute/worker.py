"""Brings instances to where their rows want them, again and again: level-triggered, so that nothing is ever missed.

One thread looks at store and backend every second, and when woken at the rows that are on their way, and hands out
tasks.  Each host has threads of its own, so that a hypervisor that does not answer delays no other.  An instance has
one task at a time; one that failed waits a while, longer each time, before it is tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from econe_api.compute import plan, rows
from econe_api.compute.backend import (
    Announcing,
    BackendDownError,
    BackendUnavailableError,
    ComputeBackend,
    Condition,
    Console,
    LaunchFailedError,
    ObservedInstance,
    Reporting,
    UnderWayError,
)
from econe_api.compute.ledger import Ledger
from econe_api.compute.plan import Kind, Task
from econe_api.store.errors import StoreError
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction
from telemetry import logs

_LOG = logging.getLogger(__name__)
_INTERVAL = 1.0
#: Between looks however often one is woken, so that many instances that come and go cost few looks.
_LEAST_INTERVAL = 0.05
#: Between looks at all there is, while many come and go; and as a multiple of how long such a look takes.
_WHOLE_INTERVAL = 0.25
_WHOLE_FACTOR = 10
_THREADS_PER_HOST = 4
_MOST_REQUESTS = 10_000
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """A task of ``kind`` failed ``times`` times in a row, last with ``text``; not to be tried before ``pause_ends``.

    ``text`` "" says that nothing is wrong with it: it is under way.
    """

    kind: Kind
    times: int
    text: str
    pause_ends: float


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    """Somebody waits for these instances."""

    ids: frozenset[str]
    finished: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Holds no truth: killed at any moment, the next one goes on from the rows and from what runs.

    ``interval`` is the time in seconds between looks when nobody wakes it.
    """

    def __init__(self, store: Store, backend: ComputeBackend, interval: float = _INTERVAL) -> None:
        self._store = store
        self._ledger = Ledger(store)
        self._backend = backend
        self._interval = interval
        self._woken = threading.Event()
        self._moved = threading.Event()  # the backend says that there is more to see than what we have done
        self._whole_due = 0.0
        self._stopping = threading.Event()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()  # guards all below
        self._waits: set[_Wait] = set()
        self._requests: dict[str, str] = {}  # instance -> the API request that last asked for it
        self._busy: set[str] = set()
        self._done_meanwhile: set[str] = set()
        self._failures: dict[str, _Failure] = {}
        self._trouble: list[str] = []
        self._observed: Mapping[str, ObservedInstance] | None = None
        self._down: str | None = None
        if isinstance(backend, Announcing):
            backend.announce(self._announced)

    @property
    def store(self) -> Store:
        """The store that the worker follows."""
        return self._store

    def run(self) -> None:
        """Work until :meth:`stop`; returns when the tasks under way are done."""
        while not self._stopping.is_set():
            self._woken.clear()
            begin, whole = time.monotonic(), self._is_whole_due()
            self._look(whole=whole)
            if whole:
                pause = max(_WHOLE_INTERVAL, _WHOLE_FACTOR * (time.monotonic() - begin))
                self._whole_due = begin + min(pause, self._interval)
            self._stopping.wait(min(_LEAST_INTERVAL, self._interval))
            self._woken.wait(self._interval)
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)

    def _announced(self) -> None:
        self._moved.set()
        self._woken.set()

    def _is_whole_due(self) -> bool:
        """Is it time to look at all instances and at the backend, whatever is on its way?"""
        now = time.monotonic()
        if now < self._whole_due and self._observed is not None and not self._moved.is_set():
            return False
        self._moved.clear()
        return True

    def stop(self) -> None:
        """Make :meth:`run` return; the instances keep running."""
        self._stopping.set()
        self._woken.set()

    def settle(self, ids: Collection[str], timeout: float, request: str = "") -> bool:
        """Look now, and wait until no row of ``ids`` is on its way to another state, at most ``timeout`` seconds.

        What is done about them from now on is logged as the API request's ``request``, if there is one.

        Returns whether that was reached.  Raises StoreUnavailableError.
        """
        deadline = time.monotonic() + timeout
        if request:
            with self._lock:
                self._requests.update(dict.fromkeys(ids, request))
                while len(self._requests) > _MOST_REQUESTS:
                    del self._requests[next(iter(self._requests))]
        with self._waiting(ids) as finished:
            self._woken.set()
            while True:
                finished.clear()
                if self._settled(ids):
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._stopping.is_set():
                    return False
                # Other processes write rows as well, so look at them now and then without being told.
                finished.wait(min(left, self._interval))

    @contextmanager
    def _waiting(self, ids: Collection[str]) -> Iterator[threading.Event]:
        """Give an event that is set whenever a task for one of ``ids`` has ended."""
        wait = _Wait(frozenset(ids))
        with self._lock:
            self._waits.add(wait)
        try:
            yield wait.finished
        finally:
            with self._lock:
                self._waits.remove(wait)

    def status(self) -> dict[str, Any]:
        """Return ``{"busy": [instance ids], "problems": [text]}``, with ``"down": text`` while no backend is there."""
        with self._lock:
            failed = [f"{name}: {failure.text}" for name, failure in sorted(self._failures.items()) if failure.text]
            hosts = self._backend.problems() if isinstance(self._backend, Reporting) else ()
            down = {} if self._down is None else {"down": self._down}
            return {"busy": sorted(self._busy), "problems": [*self._trouble, *hosts, *failed], **down}

    def observed(self, ids: Collection[str]) -> dict[str, str] | None:
        """Return how each of ``ids`` was found at the last look: "running", "broken" or "absent"; None: not known."""
        with self._lock:
            seen = self._observed
        if seen is None:
            return None
        return {name: _word(seen.get(name)) for name in ids}

    def console(self, instance_id: str) -> Console | None:
        """Return the instance's console, None: nothing is known of it."""
        return self._backend.console(instance_id)

    def _settled(self, ids: Collection[str]) -> bool:
        with self._read() as txn:
            return rows.settled(txn.connection, ids)

    def _read(self) -> AbstractContextManager[Transaction]:
        return self._store.read(rows.worker_call())

    def _look(self, *, whole: bool) -> None:
        with self._lock:
            self._done_meanwhile.clear()
            known = None if whole else self._observed
        down = None
        try:
            wanting = [] if known is None else self._on_the_way()
            if known is None or not wanting:
                known = None
                found, trouble, observed = self._find_tasks()
            else:
                found, trouble, observed = plan.tasks(wanting, known), self._last_trouble(), known
        except BackendDownError as error:
            found, trouble, observed = [], str(error), None
            down = trouble
        except (StoreError, BackendUnavailableError) as error:
            # Not knowing what is wanted, or what there is, is no reason to start or end anything.
            found, trouble, observed = [], str(error), None
        except Exception as error:
            _LOG.exception("looking for work failed")
            found, trouble, observed = [], f"{type(error).__name__}: {error}", None
        with self._lock:
            self._observed = observed
            self._down = down
            if trouble is not None and [trouble] != self._trouble:
                _LOG.warning("%s", trouble)
            self._trouble = [] if trouble is None else [trouble]
            self._failures = {
                name: kept
                for name, kept in self._failures.items()
                if trouble or known is not None or _is_for(name, found)
            }
            now = time.monotonic()
            # What was seen of an instance whose task has ended since may be older than what that task did.
            passed_by = self._busy | self._done_meanwhile
            due = [task for task in found if task.instance_id not in passed_by and self._is_due(task, now)]
            self._busy.update(task.instance_id for task in due)
        for task in due:
            self._pool(task.host).submit(self._carry_out, task)

    def _find_tasks(self) -> tuple[list[Task], str | None, Mapping[str, ObservedInstance]]:
        # The rows are read first: what is observed later can be unknown to them only if nobody asked for it.
        with self._read() as txn:
            living = rows.outlines(txn.connection)
        observed = self._backend.list()
        found = self._tasks(plan.wanting(living, observed), observed)
        wanted = {row.id for row in living}
        strange = [seen for name, seen in observed.items() if name not in wanted]
        if not strange:
            return found, None, observed
        with self._read() as txn:
            states = rows.states(txn.connection, [seen.instance_id for seen in strange])
            has_instances = rows.has_instances(txn.connection)
        removals, trouble = plan.removals(strange, states, len(observed) - len(strange), has_instances)
        return found + removals, trouble, observed

    def _tasks(self, ids: list[str], observed: Mapping[str, ObservedInstance]) -> list[Task]:
        """What there is to do for some instances.

        Their rows may be younger than what was observed; whose task has ended between the two is passed by.
        """
        if not ids:
            return []
        with self._read() as txn:
            return plan.tasks(rows.load_named(txn.connection, ids), observed)

    def _on_the_way(self) -> list[rows.InstanceRow]:
        """Rows whose state says what to do, whatever they are like now; none when there are others to look at."""
        with self._read() as txn:
            found = rows.load_open(txn.connection)
        return found if all(row.state in rows.UNSETTLED for row in found) else []

    def _last_trouble(self) -> str | None:
        with self._lock:
            return self._trouble[0] if self._trouble else None

    def _is_due(self, task: Task, now: float) -> bool:
        failure = self._failures.get(task.instance_id)
        return failure is None or failure.kind is not task.kind or failure.pause_ends <= now

    def _pool(self, host: str) -> ThreadPoolExecutor:
        if host not in self._pools:
            self._pools[host] = ThreadPoolExecutor(_THREADS_PER_HOST, thread_name_prefix=f"compute-{host}")
        return self._pools[host]

    def _carry_out(self, task: Task) -> None:
        text = None
        try:
            _DO[task.kind](self, task)
            request = self._requests.get(task.instance_id, "")
            _LOG.info("%s %s on %s: done", task.kind, task.instance_id, task.host or "its host", extra=logs.of(request))
        except UnderWayError as error:
            _LOG.debug("%s %s on %s: %s", task.kind, task.instance_id, task.host, error)
            text = ""
        except (BackendUnavailableError, LaunchFailedError, StoreError) as error:
            text = str(error)
        except Exception as error:
            _LOG.exception("%s %s failed", task.kind, task.instance_id)
            text = f"{type(error).__name__}: {error}"
        with self._lock:
            self._busy.discard(task.instance_id)
            self._done_meanwhile.add(task.instance_id)
            before = self._failures.pop(task.instance_id, None)
            if text is not None:
                times = 1 if not text or before is None or before.kind is not task.kind else before.times + 1
                pause = min(_LONGEST_PAUSE, self._interval * 2 ** min(times - 1, 10))
                self._failures[task.instance_id] = _Failure(task.kind, times, text, time.monotonic() + pause)
                if text and (before is None or before.text != text):
                    request = self._requests.get(task.instance_id, "")
                    what = (task.kind, task.instance_id, task.host, text)
                    _LOG.warning("%s %s on %s: %s", *what, extra=logs.of(request))
            for wait in self._waits:
                if task.instance_id in wait.ids:
                    wait.finished.set()
        self._woken.set()

    def _launch(self, task: Task) -> None:
        if task.row is None:
            raise ValueError(f"launch of {task.instance_id} without its row")
        try:
            self._backend.launch(task.row.spec)
        except LaunchFailedError as error:
            # An instance that has run before is not given up for what may be a fault of this machine.
            if task.row.state != rows.PENDING:
                raise
            _LOG.warning("launch %s on %s failed for good: %s", task.instance_id, task.host, error)
            failure = error
            self._ledger.write(lambda txn: rows.set_failed(txn, task.instance_id, failure.code, failure.reason))
            return
        if task.row.state == rows.PENDING:
            self._ledger.write(lambda txn: rows.set_running(txn, task.instance_id))

    def _stop(self, task: Task) -> None:
        self._backend.stop(task.instance_id, task.host)
        self._ledger.write(lambda txn: rows.set_stopped(txn, task.instance_id))

    def _reboot(self, task: Task) -> None:
        if task.row is None:
            raise ValueError(f"reboot of {task.instance_id} without its row")
        reboots = task.row.reboots
        self._backend.reboot(task.row.spec)
        self._ledger.write(lambda txn: rows.set_rebooted(txn, task.instance_id, reboots))

    def _terminate(self, task: Task) -> None:
        self._backend.terminate(task.instance_id, task.host)
        self._ledger.write(lambda txn: rows.set_terminated(txn, task.instance_id))

    def _plug(self, task: Task) -> None:
        if task.row is None:
            raise ValueError(f"interfaces of {task.instance_id} without its row")
        row = task.row
        for link in row.detaching:
            self._backend.detach(row.spec, link)
        for link in row.attaching if row.state == rows.RUNNING else ():
            self._backend.attach(row.spec, link)
        self._ledger.write(lambda txn: rows.set_plugged(txn, row))

    def _follow(self, task: Task) -> None:
        seen = task.seen
        if seen is None:
            raise ValueError(f"nothing was seen of {task.instance_id} to follow")
        name = task.instance_id
        if seen.state is Condition.ENDED:
            self._ledger.write(lambda txn: rows.set_ended(txn, name, "The virtual machine no longer exists"))
        elif seen.state is Condition.STOPPED and seen.by_guest:
            self._ledger.write(lambda txn: rows.set_shut_down_by_guest(txn, name))
        elif seen.state is Condition.STOPPED:
            self._ledger.write(lambda txn: rows.set_stopped_by_others(txn, name, "The virtual machine was stopped"))
        else:
            self._ledger.write(lambda txn: rows.set_running_by_others(txn, name, seen.host))

    def _remove(self, task: Task) -> None:
        self._backend.terminate(task.instance_id, task.host)


_DO: dict[Kind, Callable[[Worker, Task], None]] = {
    Kind.LAUNCH: Worker._launch,
    Kind.STOP: Worker._stop,
    Kind.REBOOT: Worker._reboot,
    Kind.TERMINATE: Worker._terminate,
    Kind.PLUG: Worker._plug,
    Kind.FOLLOW: Worker._follow,
    Kind.REMOVE: Worker._remove,
}


def _word(seen: ObservedInstance | None) -> str:
    """How an instance was found: "running", "broken" or "absent"; one that is changing is not broken."""
    if seen is None or seen.state in (Condition.STOPPED, Condition.ENDED):
        return "absent"
    return "broken" if seen.state is Condition.BROKEN else "running"


def _is_for(instance_id: str, found: Collection[Task]) -> bool:
    return any(task.instance_id == instance_id for task in found)
