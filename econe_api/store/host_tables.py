"""The tables of hypervisors that have joined: what they are, their certificates and the tokens they join with."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, String, Table

from econe_api.store.schema import Timestamp, metadata

#: A host that was never invited, drained or removed has no row; what the configuration says of it holds.
hosts = Table(
    "hosts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # known, invited, joined, removed
    Column("draining", Boolean, nullable=False, default=False),
    Column("changed", Timestamp, nullable=False),
)

host_certificates = Table(
    "host_certificates",
    metadata,
    Column("serial", String(40), primary_key=True),  # hexadecimal
    Column("host", String(64), nullable=False),
    Column("issued", Timestamp, nullable=False),
    Column("expires", Timestamp, nullable=False),
    Column("revoked", Timestamp),
    Index("ix_host_certificates_host", "host"),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the secret; the secret is kept nowhere
    Column("host", String(64), nullable=False),
    Column("expires", Timestamp, nullable=False),
    Column("used", Timestamp),
    Index("ix_join_tokens_host", "host"),
)
