"""Gives back the elastic IPs that were reserved in OpenNebula and are allocated no more, or never were."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import delete, select

from econe_api.compute import rows
from econe_api.opennebula import documents
from econe_api.opennebula.rpc import Client, Code, RefusedError
from econe_api.opennebula.session import Sessions
from econe_api.store.opennebula_tables import opennebula_reservations
from econe_api.store.schema import addresses
from econe_api.store.store import Store

_LOG = logging.getLogger(__name__)
PREFIX = "sluice-eip-"
"""Begins the names of the virtual networks that are reservations of ours."""
_GRACE = 60.0
"""Seconds that a reservation may be there before its transaction is committed."""
_EVERYBODYS = -2


class Reservations:
    """Settles what store and oned have of ``parent``; every method raises OneError and StoreError.

    All of oned's is read every ``interval`` seconds.
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        sessions: Sessions,
        parent: int,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._client = client
        self._sessions = sessions
        self._parent = parent
        self._interval = interval
        self._clock = clock
        self._due = float("-inf")
        self._strays: dict[int, float] = {}

    def settle(self) -> None:
        """Give back what was released since, and now and then what nobody has kept."""
        for public_ip, network in self._released().items():
            if not self._give_back(network):
                continue
            with self._store.write(rows.worker_call()) as txn:
                gone = delete(opennebula_reservations).filter_by(public_ip=public_ip, network=network)
                txn.connection.execute(gone)
            _LOG.info("%s is virtual network %d's again", public_ip, self._parent)
        if self._clock() >= self._due:
            self._sweep()
            self._due = self._clock() + self._interval

    def _released(self) -> dict[str, int]:
        """Return the reservations whose address is not allocated as it was any more."""
        kept = opennebula_reservations.c
        query = select(kept.public_ip, kept.network).outerjoin(addresses, addresses.c.public_ip == kept.public_ip)
        gone = addresses.c.allocation.is_(None) | (addresses.c.allocation != kept.allocation)
        with self._store.read(rows.worker_call()) as txn:
            return {row.public_ip: row.network for row in txn.connection.execute(query.where(gone))}

    def _sweep(self) -> None:
        """Give back reservations that no transaction has kept within the time that it may take."""
        session = self._sessions.administrator()
        found = documents.networks(self._client.document(session, "one.vnpool.info", _EVERYBODYS, -1, -1))
        with self._store.read(rows.worker_call()) as txn:
            kept = set(txn.connection.scalars(select(opennebula_reservations.c.network)))
        ours = (each for each in found if each.parent == self._parent and each.name.startswith(PREFIX))
        now = self._clock()
        self._strays = {each.id: self._strays.get(each.id, now) for each in ours if each.id not in kept}
        for network, since in list(self._strays.items()):
            if now - since > _GRACE:
                _LOG.warning("reservation %d was never used: given back", network)
                if self._give_back(network):
                    del self._strays[network]

    def _give_back(self, network: int) -> bool:
        """Delete a reservation; returns whether it is gone.  oned keeps one whose address a VM uses."""
        try:
            self._client.call(self._sessions.administrator(), "one.vn.delete", network)
        except RefusedError as error:
            if error.code != Code.NO_EXISTS:
                _LOG.warning("reservation %d cannot be given back yet: %s", network, error)
                return False
        return True
