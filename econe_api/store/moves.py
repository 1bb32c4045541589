"""Where instances are, when something else than Sluice has moved them."""

from __future__ import annotations

from sqlalchemy import select, update

from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.records import Kind
from econe_api.store.schema import instances, interfaces
from econe_api.store.store import Store

_THERE = ("pending", "running")


def move_instance(store: Store, instance_id: str, host: str) -> bool:
    """Note that an instance is on ``host`` now; returns whether the store had another one.

    While an instance is plugged in at two hosts, as in a live migration, its traffic goes to the one noted here.
    Raises :class:`StoreError` when there is no such instance or no such hypervisor.
    """
    if host not in {hypervisor.name for hypervisor in store.config.hypervisors}:
        raise StoreError(f"there is no hypervisor {host!r} in the configuration; name one that is")
    with store.write(administration("MoveInstance")) as txn:
        row = txn.connection.execute(select(instances.c.host, instances.c.state).filter_by(id=instance_id)).first()
        if row is None or row.state not in _THERE:
            raise StoreError(f"there is no instance {instance_id!r} that runs; see DescribeInstances")
        if row.host == host:
            return False
        txn.connection.execute(update(instances).where(instances.c.id == instance_id).values(host=host))
        for interface in txn.connection.scalars(select(interfaces.c.id).where(interfaces.c.instance == instance_id)):
            txn.touch(Kind.INTERFACE, interface)
    return True
