"""The tables of what has been: who had an address, and what it carried."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from econe_api.store.schema import Timestamp, metadata

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

#: One row per period in which nothing about an allocated address changed; ``until`` is open (None) for the present one.
#: No foreign keys: the past outlives what it was about.
address_history = Table(
    "address_history",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("public_ip", String(15), nullable=False),
    Column("since", Timestamp, nullable=False),
    Column("until", Timestamp),
    Column("account", String(12), nullable=False),
    Column("allocation", String(32), nullable=False),
    Column("association", String(32)),
    Column("interface", String(32)),
    Column("private_ip", String(15)),
    Column("instance", String(32)),
    Column("host", String(64)),
    Index("ix_address_history_address", "public_ip", "until"),
    Index("ix_address_history_time", "until", "since"),
)

#: What each flow of an elastic IP had counted when it was read last; ``started`` tells a new flow from the old one.
flow_counters = Table(
    "flow_counters",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("public_ip", String(15), primary_key=True),
    Column("direction", String(3), primary_key=True),
    Column("started", Timestamp, nullable=False),
    Column("packets", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

#: What an allocated address carried on one day (UTC), in Ethernet frames.
usage = Table(
    "usage",
    metadata,
    Column("day", String(10), primary_key=True),  # YYYY-MM-DD
    Column("account", String(12), primary_key=True),
    Column("allocation", String(32), primary_key=True),
    Column("public_ip", String(15), nullable=False),
    Column("packets_in", BigInteger, nullable=False),
    Column("packets_out", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
)
