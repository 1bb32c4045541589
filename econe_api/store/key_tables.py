"""The table of key pairs: their public halves.  Private keys are handed out once and never kept."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table, Text, UniqueConstraint

from econe_api.store.schema import Timestamp, metadata

key_pairs = Table(
    "key_pairs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("type", String(16), nullable=False),  # rsa, ed25519
    Column("public_key", Text, nullable=False),  # as in authorized_keys: type, base64, comment
    Column("fingerprint", String(64), nullable=False),
    Column("created", Timestamp, nullable=False),
    UniqueConstraint("account", "name"),
)
