"""The tables of instances that OpenNebula runs.

No foreign keys: a row that names what has gone means nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table

from econe_api.store.schema import metadata

#: Which VM an instance is: its id and, since ids begin anew with each oned, when it was made (``STIME``).  ``started``:
#: it has run, so that what is on its disks is somebody's.  A row goes when the VM is known to be gone.
opennebula_vms = Table(
    "opennebula_vms",
    metadata,
    Column("instance", String(32), primary_key=True),
    Column("vm", Integer, nullable=False, unique=True),
    Column("born", BigInteger, nullable=False),
    Column("started", Boolean, nullable=False, default=False),
)

#: Accounts that follow a user of OpenNebula's, by its id there; ``enabled`` is what the user was last.
opennebula_users = Table(
    "opennebula_users",
    metadata,
    Column("account", String(12), primary_key=True),
    Column("user", Integer, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
)

#: Elastic IPs that were reserved from a virtual network: the reservation's own network, and the allocation it is for.
opennebula_reservations = Table(
    "opennebula_reservations",
    metadata,
    Column("public_ip", String(15), primary_key=True),
    Column("network", Integer, nullable=False, unique=True),
    Column("allocation", String(32), nullable=False),
)
