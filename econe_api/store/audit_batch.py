"""Entries of the audit log that have no transaction of their own: calls that only read, and refusals.

They wait in memory for half a second at most and go to the log together, so that a read costs no durable write.  A
process that is killed takes what waits with it; one that ends in order writes it first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from econe_api.store.audit_log import Entry
from econe_api.store.errors import StoreError

_log = logging.getLogger(__name__)
INTERVAL = 0.5
"""Seconds that an entry waits at most."""
_MOST = 2000
"""Entries that wait at most."""
OVERFLOW = "Unrecorded"
"""Stands in the log for anonymous calls that came faster than they could be written down; the code is their number."""


class AuditBatch:
    """Collects entries from any thread and hands them to ``append``, which may raise :class:`StoreError`.

    When the log does not keep up, a caller that has been authenticated waits for it, and anonymous ones are counted.
    """

    def __init__(self, append: Callable[[Sequence[Entry]], None], interval: float = INTERVAL) -> None:
        self._append = append
        self._interval = interval
        self._lock = threading.Lock()  # guards the three below
        self._waiting: list[Entry] = []
        self._lost = 0
        self._last_lost: Entry | None = None
        self._writing = threading.Lock()  # keeps batches in order
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._waits = False

    def add(self, entry: Entry) -> None:
        """Take an entry."""
        with self._lock:
            room = len(self._waiting) < _MOST
            if room:
                self._waiting.append(entry)
            elif not entry.account:
                self._lost, self._last_lost = self._lost + 1, entry
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
        if not room and entry.account:
            self.flush()
            with self._lock:
                self._waiting.append(entry)

    def flush(self) -> None:
        """Write what waits now; it goes on waiting when the store does not answer."""
        with self._writing:
            with self._lock:
                batch, lost, last = self._waiting, self._lost, self._last_lost
                self._waiting, self._lost, self._last_lost = [], 0, None
            if last is not None:
                batch = [*batch, replace(last, action=OVERFLOW, code=str(lost), access_key="", signature=None)]
            if not batch:
                return
            try:
                self._append(batch)
                self._waits = False
            except StoreError as error:
                if not self._waits:
                    _log.warning("the audit log waits: %s", error)
                self._waits = True
                with self._lock:
                    self._waiting = batch[:_MOST] + self._waiting
            except Exception:
                # The calls have been answered, and one entry that cannot be written must not keep all later ones out.
                _log.exception("%d entries of the audit log could not be written", len(batch))

    def close(self) -> None:
        """Write what waits and take no more by itself."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self.flush()
