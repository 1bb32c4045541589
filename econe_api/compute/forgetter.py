"""Forgets instances that ended long ago, so that a database does not grow with every instance there has ever been.

Part of the compute worker.  The audit log and the history of addresses have their own copies of what they say.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select

from econe_api.compute.rounds import Rounds
from econe_api.compute.rows import TERMINATED, worker_call
from econe_api.store.opennebula_tables import opennebula_vms
from econe_api.store.schema import instances, interfaces, tags
from econe_api.store.store import Store
from econe_api.store.vnm_tables import opennebula_nics

_LOG = logging.getLogger(__name__)
KEPT = timedelta(hours=49)
"""How long an instance is kept after its end: for an hour it is shown, and as long as a client token is good (48 hours)
the launch that made it may be asked for again, which is answered with it."""
BATCH = 100
"""Instances in one transaction: all writers of a cloud take turns."""
#: Seconds between two looks, and between two batches.
_INTERVAL = 60.0
_PAUSE = 0.1


class Forgetter(Rounds):
    """Use :meth:`start` and :meth:`stop`; a batch under way is ended first."""

    def __init__(self, store: Store, interval: float = _INTERVAL) -> None:
        super().__init__("ended instances", interval)
        self._store = store

    def turn(self) -> int:
        """Forget all that is due now, a batch at a time; return how many instances.  Raises StoreError."""
        forgotten = 0
        while count := self._batch():
            forgotten += count
            if count < BATCH or self._stopping.wait(_PAUSE):
                break
        if forgotten:
            _LOG.info("%d ended instances forgotten", forgotten)
        return forgotten

    def _batch(self) -> int:
        with self._store.read(worker_call()) as txn:  # a write is noted in the audit log, whether it changes or not
            due = txn.connection.scalars(_due(txn.now)).all()
        if not due:
            return 0
        with self._store.write(worker_call()) as txn:
            going = txn.connection.scalars(_due(txn.now).where(instances.c.id.in_(due))).all()
            txn.connection.execute(delete(tags).where(tags.c.resource.in_(going)))
            txn.connection.execute(delete(instances).where(instances.c.id.in_(going)))
        return len(going)


def _due(now: datetime) -> Select[tuple[str]]:
    """Choose ids of instances that ended long enough ago, the oldest first, and that nothing holds any more."""
    holders = (interfaces.c.instance, opennebula_nics.c.instance, opennebula_vms.c.instance)
    free = [~select(column).where(column == instances.c.id).exists() for column in holders]
    ended = (instances.c.state == TERMINATED) & (instances.c.terminated <= now - KEPT)
    return select(instances.c.id).where(ended, *free).order_by(instances.c.terminated, instances.c.id).limit(BATCH)
