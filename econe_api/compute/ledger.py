"""Writes of several threads, taken together: a commit waits for the disk, and all writers of a cloud take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from econe_api.compute import rows
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

Change = Callable[[Transaction], None]


@dataclass(slots=True, eq=False)
class _Entry:
    change: Change
    done: bool = False
    error: BaseException | None = None


class Ledger:
    """Whoever comes while another one writes goes into the next transaction, with all who have come by then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # guards the list
        self._turn = threading.Lock()
        self._entries: list[_Entry] = []

    def write(self, change: Change) -> None:
        """Make ``change`` in a transaction; returns when it is committed.

        Raises what any of those in the same transaction raised: none of them is in the store then.
        """
        entry = _Entry(change)
        with self._lock:
            self._entries.append(entry)
        with self._turn:
            if not entry.done:
                self._commit()
        if entry.error is not None:
            raise entry.error

    def _commit(self) -> None:
        with self._lock:
            entries, self._entries = self._entries, []
        error: BaseException | None = None
        try:
            with self._store.write(rows.worker_call()) as txn:
                for entry in entries:
                    entry.change(txn)
        except BaseException as failure:
            error = failure
        for entry in entries:
            entry.error, entry.done = error, True
