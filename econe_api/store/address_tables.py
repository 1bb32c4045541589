"""Tables beside the elastic IPs themselves: their reverse names, and their way from one account to another."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table

from econe_api.store.schema import Timestamp, metadata

#: The reverse (PTR) name of an allocated address, with its last dot.
reverse_names = Table(
    "reverse_names",
    metadata,
    Column("public_ip", ForeignKey("addresses.public_ip"), primary_key=True),
    Column("name", String(255), nullable=False),
)

#: Offers to give an address to another account; ``accepted`` None = not yet.  An offer counts until ``expires``.
address_transfers = Table(
    "address_transfers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("public_ip", ForeignKey("addresses.public_ip"), nullable=False, index=True),
    Column("allocation", String(32), nullable=False),  # as the source account knew it
    Column("source", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("target", String(12), nullable=False),
    Column("expires", Timestamp, nullable=False),
    Column("accepted", Timestamp),
)
