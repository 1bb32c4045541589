"""The numbers that VPCs have in the data plane, handed out in turn and given back with the VPC.

A number that is free again comes again last, when all the others have had their turn.  A hypervisor that could not be
told of a VPC's end keeps the old meaning of its tag until it is; it cannot mix old and new, because it delivers to and
learns of the MACs of its own VPC only, and no two interfaces have one MAC.
"""

from __future__ import annotations

from sqlalchemy import Column, insert, select, update

from econe_api.store.errors import StoreError
from econe_api.store.schema import counters, vpcs
from econe_api.store.transaction import Transaction

FIRST_VLAN = 101
LAST_VLAN = 4094
LAST_NUMBER = (1 << 24) - 1
"""A tunnel's network identifier has 24 bits (RFC 7348, section 5)."""


class FabricFullError(StoreError):
    """There is no number left for one more VPC."""


def next_number(txn: Transaction) -> int:
    """The next VPC's number: its metadata in the pipeline and its VNI.

    Raises:
        FabricFullError: 2^24 - 1 VPCs are there.

    """
    return _in_turn(txn, "vpc", vpcs.c.number, 1, LAST_NUMBER, "VPC numbers")


def next_vlan(txn: Transaction) -> int | None:
    """The next VPC's tag on a fabric of VLANs; None where VPCs are told apart by something else.

    Raises:
        FabricFullError: all tags are in use.

    """
    if txn.config.fabric != "vlan":
        return None
    return _in_turn(txn, "vlan", vpcs.c.vlan, FIRST_VLAN, LAST_VLAN, "VLANs")


def _in_turn(txn: Transaction, counter: str, column: Column[int], first: int, last: int, what: str) -> int:
    """The first number after the one given last that nobody has; then it is the one given last."""
    connection = txn.connection
    given = connection.scalar(select(counters.c.value).where(counters.c.name == counter))
    number = first if given is None or not first <= given < last else given + 1
    if connection.scalar(select(column).where(column == number)) is not None:
        taken = set(connection.scalars(select(column)))
        free = (n for span in (range(number, last + 1), range(first, number)) for n in span if n not in taken)
        number = next(free, 0)
        if not number:
            raise FabricFullError(
                f"all {last - first + 1} {what} of the fabric are taken; delete VPCs or start another cloud"
            )
    if given is None:
        connection.execute(insert(counters).values(name=counter, value=number))
    else:
        connection.execute(update(counters).where(counters.c.name == counter).values(value=number))
    return number
