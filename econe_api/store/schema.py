"""The tables, in SQLAlchemy Core, for SQLite and PostgreSQL alike.

Ids that clients see (``sg-0123456789abcdef0``) are text primary keys.  ``number`` columns name objects in the data
plane (32 bits); they are assigned once from the ``counters`` table and never used again, but for those of VPCs
(:mod:`econe_api.store.vpc_numbers`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class Timestamp(TypeDecorator[datetime]):
    """An aware datetime in UTC on both databases; SQLite by itself would forget the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; a naive datetime is a bug of the caller (ValueError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

#: One row (name = "revision") whose value is the revision; further rows count ``number`` columns.
counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

#: One row per object and revision in which it changed: the change feed's outbox.
changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("object", String(64), primary_key=True),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("default_vpc", String(32)),
    Column("created", Timestamp, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),  # its keys are refused, its instances run on
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False),  # encrypted at rest
    Column("active", Boolean, nullable=False),
    Column("created", Timestamp, nullable=False),
    Column("role", String(16), nullable=False, default="admin"),  # econe_api.call.Role
    Column("user", String(64)),  # None: the account's own
)

#: Per-account overrides of the default quotas (econe_api.store.quotas).
quotas = Table(
    "quotas",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Integer, nullable=False),
)

#: Every call, numbered without gaps, each row sealed together with the one before it (econe_api.store.audit_log).
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Timestamp, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("account", String(12), nullable=False),
    Column("access_key", String(128), nullable=False),
    Column("source_ip", String(64), nullable=False),
    Column("action", String(128), nullable=False),
    Column("revision", BigInteger),  # None: the call changed nothing
    Column("code", String(128), nullable=False),  # "": success
    Column("signature", String(32), index=True),  # what a call that may change something was signed with, hashed
    Column("invocation", String(32)),  # the SDK's own name for the call, hashed
    Column("mac", String(64), nullable=False),
)

#: One row: the newest entry that has been pruned, sealed, so that what is left still has a beginning.
audit_floor = Table(
    "audit_floor",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("mac", String(64), nullable=False),
    Column("seal", String(64), nullable=False),
)

vpcs = Table(
    "vpcs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("cidr", String(18), nullable=False),
    Column("vlan", Integer, unique=True),  # None: the fabric has no VLANs
    Column("is_default", Boolean, nullable=False),
    Column("ipv6_cidr", String(43)),  # None: no IPv6
    Column("dns_support", Boolean, nullable=False, default=True),
    Column("dns_hostnames", Boolean, nullable=False, default=False),
    Column("usage_metrics", Boolean, nullable=False, default=False),
)

subnets = Table(
    "subnets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("vpc", ForeignKey("vpcs.id"), nullable=False, index=True),
    Column("cidr", String(18), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("ipv6_cidr", String(43)),
    Column("assign_ipv6", Boolean, nullable=False, default=False),
)

pools = Table(
    "pools",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("cidr", String(18), nullable=False),  # the public network
    Column("gateway", String(15), nullable=False),
    Column("gateway_mac", String(17), nullable=False),
)

#: Every address that a pool may hand out; ``allocation`` (eipalloc-) and ``account`` are set while it is allocated.
addresses = Table(
    "addresses",
    metadata,
    Column("public_ip", String(15), primary_key=True),
    Column("sort", Integer, nullable=False),  # position in its pool
    Column("pool", ForeignKey("pools.name"), nullable=False),
    Column("allocation", String(32)),  # unique, see below
    Column("account", ForeignKey("accounts.id"), index=True),
    Column("association", String(32), unique=True),
    Column("interface", ForeignKey("interfaces.id"), index=True),
    Column("private_ip", String(15)),
    UniqueConstraint("interface", "private_ip"),
)
#: The free addresses alone, in the order in which they are handed out, and the allocated ones alone: the next free one
#: is found without a search, which an index of all allocations would make SQLite do.
_free = addresses.c.allocation.is_(None)
_allocated = addresses.c.allocation.is_not(None)
Index("ix_addresses_free", addresses.c.pool, addresses.c.sort, sqlite_where=_free, postgresql_where=_free)
Index(
    "uq_addresses_allocation",
    addresses.c.allocation,
    unique=True,
    sqlite_where=_allocated,
    postgresql_where=_allocated,
)

groups = Table(
    "groups",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("vpc", ForeignKey("vpcs.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", String(255), nullable=False),
    UniqueConstraint("vpc", "name"),
)

rules = Table(
    "rules",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("group", ForeignKey("groups.id"), nullable=False, index=True),
    Column("egress", Boolean, nullable=False),
    Column("protocol", Integer, nullable=False),  # IANA number, -1 = any
    Column("from_port", Integer),
    Column("to_port", Integer),
    Column("cidr", String(43)),
    Column("referenced_group", ForeignKey("groups.id"), index=True),
    Column("prefix_list", String(32), index=True),  # one of an account, or one that the cloud itself provides
    Column("description", String(255)),
)

instances = Table(
    "instances",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("reservation", String(32), nullable=False, index=True),
    Column("launch_index", Integer, nullable=False),
    Column("client_token", String(64), index=True),
    Column("image", String(32), nullable=False),
    Column("type", String(64), nullable=False),
    Column("key_name", String(255)),
    Column("user_data", Text),
    Column("host", String(64), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # pending, running, stopping, stopped, shutting-down, terminated
    Column("reason_code", String(64)),
    Column("reason", String(255)),
    Column("launched", Timestamp, nullable=False),  # or last started
    Column("stopped", Timestamp),  # when it last came to a stop; None: never
    Column("terminated", Timestamp),
    Column("reboots_asked", Integer, nullable=False, default=0),
    Column("reboots_done", Integer, nullable=False, default=0),
    Column("monitoring", Boolean, nullable=False, default=False),
    Column("shutdown_behavior", String(16), nullable=False, default="stop"),  # or terminate
    Column("disable_api_termination", Boolean, nullable=False, default=False),
    Column("disable_api_stop", Boolean, nullable=False, default=False),
)

#: ``instance``, ``device_index``, ``attachment`` (eni-attach-), ``attachment_state`` and ``attached`` are set while the
#: interface is attached; one that is ``detaching`` is nobody's any more for the data plane.
interfaces = Table(
    "interfaces",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("instance", ForeignKey("instances.id"), index=True),
    Column("device_index", Integer),
    Column("attachment", String(32), unique=True),
    Column("attachment_state", String(16)),  # attaching, attached, detaching
    Column("attached", Timestamp),
    Column("delete_on_termination", Boolean, nullable=False, default=True),
    Column("description", String(255), nullable=False, default=""),
    Column("vpc", ForeignKey("vpcs.id"), nullable=False),
    Column("subnet", ForeignKey("subnets.id"), nullable=False, index=True),
    Column("mac", String(17), nullable=False, unique=True),
    Column("private_ip", String(15), nullable=False),
    Column("created", Timestamp, nullable=False),
    Column("client_token", String(64)),  # of CreateNetworkInterface, with the hash of what was asked for
    Column("fingerprint", String(64)),
    UniqueConstraint("vpc", "private_ip"),
    UniqueConstraint("instance", "device_index"),
    UniqueConstraint("account", "client_token"),
)

#: Further private addresses of interfaces, ordered by ``sort``; they go with their interface.  An address is in this
#: table or in ``interfaces.private_ip``, never in both.
secondary_addresses = Table(
    "secondary_addresses",
    metadata,
    Column("vpc", ForeignKey("vpcs.id"), primary_key=True),
    Column("address", String(15), primary_key=True),
    Column("interface", ForeignKey("interfaces.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("sort", Integer, nullable=False),
)

#: IPv6 addresses of interfaces, ordered by ``sort``; they go with their interface.
ipv6_addresses = Table(
    "ipv6_addresses",
    metadata,
    Column("vpc", ForeignKey("vpcs.id"), primary_key=True),
    Column("address", String(39), primary_key=True),
    Column("interface", ForeignKey("interfaces.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("sort", Integer, nullable=False),
)

interface_groups = Table(
    "interface_groups",
    metadata,
    Column("interface", ForeignKey("interfaces.id"), primary_key=True),
    Column("group", ForeignKey("groups.id"), primary_key=True, index=True),
)

#: The ClientToken of a launch: what was asked for (a hash) and which reservation it made.
client_tokens = Table(
    "client_tokens",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("result", String(32), nullable=False),
    Column("created", Timestamp, nullable=False, index=True),
)

#: Tags of whatever can have some; ``kind`` is EC2's resource type.  A resource that goes takes its tags along.
tags = Table(  # an image is everybody's, and everybody has tags of their own on it
    "tags",
    metadata,
    Column("resource", String(32), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("value", String(256), nullable=False),
    Column("kind", String(32), nullable=False),
    Index("ix_tags_account", "account", "kind"),
)
