"""Instances that OpenNebula runs by itself (:mod:`econe_api.vnm`): the API shows them, and gives them elastic IPs.

Their life, their interfaces and their groups are what OpenNebula says, so that changing those here is refused.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction
from econe_api.store.vnm_tables import opennebula_nics


def refuse(txn: Transaction, instances: Collection[str | None]) -> None:
    """Refuse to change instances that OpenNebula runs.

    Raises:
        Ec2Error: UnsupportedOperation.

    """
    held = opennebula_nics.c.instance
    found = txn.connection.scalar(select(held).where(held.in_(instances)).order_by(held).limit(1))
    if found is not None:
        raise Ec2Error("UnsupportedOperation", f"The instance '{found}' is run by OpenNebula; change it there.")
