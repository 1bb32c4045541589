"""What has been taken over from OpenNebula (:mod:`econe_api.vnm`).

No foreign keys: an interface or a group goes the way that its owner takes it away, and a row here that names one that
has gone means nothing.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint

from econe_api.store.schema import metadata

IMAGE = "ami-opennebula"
"""What the instances that stand for OpenNebula's machines show as their image."""

#: The interfaces of machines that OpenNebula runs: which NIC, of which machine, on which virtual network of its own.
opennebula_nics = Table(
    "opennebula_nics",
    metadata,
    Column("interface", String(32), primary_key=True),
    Column("instance", String(32), nullable=False, index=True),
    Column("machine", Integer, nullable=False),
    Column("nic", Integer, nullable=False),
    Column("network", Integer, nullable=False),
    UniqueConstraint("machine", "nic"),
)

#: Groups made from OpenNebula's, in one VPC each; ``digest`` of the rules is part of what they are, they never change.
opennebula_groups = Table(
    "opennebula_groups",
    metadata,
    Column("group", String(32), primary_key=True),
    Column("vpc", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("vpc", "number", "digest"),
)
