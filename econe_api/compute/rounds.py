"""Work of the compute worker that comes round again and again, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from econe_api.store.errors import StoreError

_LOG = logging.getLogger(__name__)


class Rounds(ABC):
    """Has :meth:`turn` done every ``interval`` seconds between :meth:`start` and :meth:`stop`, whatever it raises."""

    def __init__(self, name: str, interval: float) -> None:
        self._name = name
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> object:
        """Do all that is due now.  Raises StoreError."""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop working; returns when the turn under way has ended, which looks at ``_stopping`` to make that soon."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.turn()
            except StoreError as error:
                _LOG.warning("%s: %s", self._name, error)
            except Exception:
                _LOG.exception("%s: this turn failed", self._name)
