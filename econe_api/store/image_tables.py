"""The table of images that accounts have registered; those of the configuration are in no table."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table

from econe_api.store.schema import Timestamp, metadata

PENDING, AVAILABLE, FAILED, DEREGISTERED = "pending", "available", "failed", "deregistered"

#: ``location`` is the file's name among the account's uploads.  A deregistered image is gone for everybody but the
#: compute worker, which deletes its file and then the row.
images = Table(
    "images",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("description", String(255)),
    Column("location", String(255), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),  # of the file, in bytes
    Column("progress", Integer, nullable=False, default=0),  # how much of it has been copied, in per cent
    Column("reason_code", String(64)),
    Column("reason", String(255)),
    Column("created", Timestamp, nullable=False),
)
