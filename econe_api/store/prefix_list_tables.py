"""Tables of managed prefix lists: the lists, and their entries in all versions."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table

from econe_api.store.schema import Timestamp, metadata

prefix_lists = Table(
    "prefix_lists",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("family", String(4), nullable=False),  # IPv4, IPv6
    Column("max_entries", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(32), nullable=False),
)

#: One row per entry and stretch of versions: it is there from version ``since`` to before ``until``, None = still.
prefix_list_entries = Table(
    "prefix_list_entries",
    metadata,
    Column("prefix_list", ForeignKey("prefix_lists.id"), primary_key=True),
    Column("cidr", String(43), primary_key=True),
    Column("since", Integer, primary_key=True),
    Column("until", Integer),
    Column("description", String(255)),
)

#: The ClientToken of a CreateManagedPrefixList: a hash of what was asked for, and the list that it made.
prefix_list_tokens = Table(
    "prefix_list_tokens",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("token", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("prefix_list", String(32), nullable=False),
    Column("created", Timestamp, nullable=False, index=True),
)
