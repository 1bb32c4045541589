"""How network interfaces leave their instances: they become available, or they go for good.

An interface that is told to leave is ``detaching`` until the compute backend has taken its port away.  It is out of the
data plane from that moment on, so that whoever gets it next shares it with nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import delete, select, update

from econe_api.store.records import Kind
from econe_api.store.schema import addresses, interface_groups, interfaces, tags
from econe_api.store.transaction import Transaction

ATTACHING, ATTACHED, DETACHING = "attaching", "attached", "detaching"


def begin_detaching(txn: Transaction, ids: Collection[str]) -> None:
    """Take interfaces out of the data plane; their instances keep them until the backend has let go."""
    _set_state(txn, ids, DETACHING)


def make_available(txn: Transaction, ids: Collection[str]) -> None:
    """Note that interfaces are plugged in nowhere any more; elastic IPs, groups and addresses stay theirs."""
    if not ids:
        return
    for interface in ids:
        txn.touch(Kind.INTERFACE, interface)
    txn.connection.execute(
        update(interfaces)
        .where(interfaces.c.id.in_(ids))
        .values(instance=None, device_index=None, attachment=None, attachment_state=None, attached=None)
    )


def remove(txn: Transaction, ids: Collection[str]) -> None:
    """Delete interfaces with their addresses, memberships and tags; their elastic IPs stay the account's."""
    if not ids:
        return
    execute = txn.connection.execute
    held = addresses.c.interface.in_(ids)
    for public_ip in txn.connection.scalars(select(addresses.c.public_ip).where(held)).all():
        txn.touch(Kind.ADDRESS, public_ip)
    for interface in ids:
        txn.touch(Kind.INTERFACE, interface)
    execute(update(addresses).where(held).values(association=None, interface=None, private_ip=None))
    execute(delete(tags).where(tags.c.resource.in_(ids)))
    execute(delete(interface_groups).where(interface_groups.c.interface.in_(ids)))
    execute(delete(interfaces).where(interfaces.c.id.in_(ids)))


def end_instances(txn: Transaction, instances: Collection[str]) -> None:
    """Instances come to their end: interfaces go with them, except those that outlive them, which begin to detach."""
    going: list[str] = []
    staying: list[str] = []
    query = select(interfaces.c.id, interfaces.c.delete_on_termination)
    for row in txn.connection.execute(query.where(interfaces.c.instance.in_(instances)).order_by(interfaces.c.id)):
        (going if row.delete_on_termination else staying).append(row.id)
    remove(txn, going)
    begin_detaching(txn, staying)


def let_go(txn: Transaction, instance: str) -> None:
    """Nothing of an instance is left: interfaces that outlive it are available."""
    make_available(txn, txn.connection.scalars(select(interfaces.c.id).where(interfaces.c.instance == instance)).all())


def set_attached(txn: Transaction, ids: Collection[str]) -> None:
    """Note that interfaces are plugged in; one that was told to leave meanwhile stays as it is."""
    still = interfaces.c.attachment_state == ATTACHING
    txn.connection.execute(update(interfaces).where(interfaces.c.id.in_(ids), still).values(attachment_state=ATTACHED))


def _set_state(txn: Transaction, ids: Iterable[str], state: str) -> None:
    chosen = list(ids)
    if not chosen:
        return
    for interface in chosen:
        txn.touch(Kind.INTERFACE, interface)
    txn.connection.execute(update(interfaces).where(interfaces.c.id.in_(chosen)).values(attachment_state=state))
