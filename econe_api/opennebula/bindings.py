"""Which VM an instance is, as the store has it; and what an interface turned out to be called in its VM."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from econe_api.compute import rows
from econe_api.store.opennebula_tables import opennebula_users, opennebula_vms
from econe_api.store.records import Kind
from econe_api.store.schema import interfaces
from econe_api.store.store import Store


@dataclass(frozen=True, slots=True)
class Binding:
    """A VM's id, when it was made (``STIME``), and whether it has run."""

    vm: int
    born: int
    started: bool


class Bindings:
    """Reads and writes the store; every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, Binding]:
        """Return the VM of every instance that has one."""
        with self._store.read(rows.worker_call()) as txn:
            found = txn.connection.execute(select(opennebula_vms)).all()
        return {row.instance: Binding(row.vm, row.born, row.started) for row in found}

    def of(self, instance: str) -> Binding | None:
        """Return the instance's VM, None when it has none."""
        with self._store.read(rows.worker_call()) as txn:
            row = txn.connection.execute(select(opennebula_vms).filter_by(instance=instance)).first()
        return None if row is None else Binding(row.vm, row.born, row.started)

    def bind(self, instance: str, vm: int, born: int) -> None:
        """Note the VM that is an instance; binding it again changes nothing."""
        with self._store.write(rows.worker_call()) as txn:
            execute = txn.connection.execute
            if execute(select(opennebula_vms.c.vm).filter_by(instance=instance)).first() is None:
                execute(insert(opennebula_vms).values(instance=instance, vm=vm, born=born, started=False))

    def note_started(self, instance: str) -> None:
        """Note that the instance's VM has run."""
        with self._store.write(rows.worker_call()) as txn:
            txn.connection.execute(update(opennebula_vms).filter_by(instance=instance).values(started=True))

    def forget(self, instance: str) -> None:
        """Note that the instance's VM is gone."""
        with self._store.write(rows.worker_call()) as txn:
            txn.connection.execute(delete(opennebula_vms).filter_by(instance=instance))

    def adopt(self, macs: dict[str, str]) -> None:
        """Give interfaces (by id) the MACs that oned gave their NICs; the data plane then knows them by these."""
        with self._store.write(rows.worker_call()) as txn:
            for interface, mac in macs.items():
                different = (interfaces.c.id == interface) & (interfaces.c.mac != mac)
                if txn.connection.execute(update(interfaces).where(different).values(mac=mac)).rowcount:
                    txn.touch(Kind.INTERFACE, interface)

    def user_of(self, account: str) -> int | None:
        """Return the id of the user that an account follows, None when it follows none."""
        with self._store.read(rows.worker_call()) as txn:
            found: int | None = txn.connection.scalar(select(opennebula_users.c.user).filter_by(account=account))
        return found
