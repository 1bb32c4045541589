"""Managed prefix lists between their rows and the shapes of the EC2 API."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from econe_api.actions import identifiers, tag_rows
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.prefix_list_tables import prefix_list_entries, prefix_lists
from econe_api.store.schema import rules
from econe_api.store.transaction import Transaction

KIND = "prefix-list"
#: The owner of the lists that a cloud provides by itself, as EC2 names it.
PROVIDER = "AWS"
_SERVICES = ("dynamodb", "s3")


@dataclass(frozen=True, slots=True)
class PrefixList:
    """A prefix list.  One that the cloud provides has neither version nor size; ``max_entries`` 1 is what it counts."""

    id: str
    name: str
    owner: str
    family: str
    state: str
    max_entries: int
    version: int
    tags: Tags

    @property
    def provided(self) -> bool:
        """Is it the cloud's own?"""
        return self.owner == PROVIDER


def provided(region: str) -> list[PrefixList]:
    """The lists that EC2 provides in every region, by id.  There are no such services here: they have no entries."""
    names = [f"com.amazonaws.{region}.{service}" for service in _SERVICES]
    ids = [f"pl-{blake2b(name.encode(), digest_size=4).hexdigest()}" for name in names]
    found = [
        PrefixList(key, name, PROVIDER, "IPv4", "create-complete", 1, 0, {})
        for key, name in zip(ids, names, strict=True)
    ]
    return sorted(found, key=lambda one: one.id)


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[PrefixList]:
    """The caller's own lists that the clauses choose, by id (two statements)."""
    query = select(prefix_lists).where(prefix_lists.c.account == txn.account, *clauses).order_by(prefix_lists.c.id)
    rows = list(txn.connection.execute(query))
    tags = tag_rows.load(txn, KIND, [row.id for row in rows])
    return [
        PrefixList(
            row.id, row.name, row.account, row.family, row.state, row.max_entries, row.version, dict(tags[row.id])
        )
        for row in rows
    ]


def named(txn: Transaction, ids: Sequence[str]) -> dict[str, PrefixList]:
    """The lists of these ids by id, the caller's and those that the cloud provides.

    Raises:
        Ec2Error: InvalidPrefixListId.Malformed, InvalidPrefixListID.NotFound.

    """
    wanted = identifiers.check("pl", ids)
    found = {one.id: one for one in (*load(txn, prefix_lists.c.id.in_(wanted)), *provided(txn.config.region))}
    for key in wanted:
        if key not in found:
            raise not_found(key)
    return {key: found[key] for key in wanted}


def own(txn: Transaction, key: str) -> PrefixList:
    """One list that the caller may change.

    Raises:
        Ec2Error: as :func:`named`; OperationNotPermitted (one that the cloud provides).

    """
    found = named(txn, [key])[key]
    if found.provided:
        raise Ec2Error("OperationNotPermitted", f"The prefix list '{key}' is managed by the cloud.")
    return found


def not_found(key: str) -> Ec2Error:
    """The error for a list that is not there, or not the caller's."""
    return Ec2Error("InvalidPrefixListID.NotFound", f"The prefix list ID '{key}' does not exist")


def entries(txn: Transaction, key: str, version: int) -> dict[str, str | None]:
    """The entries of a version of a list: descriptions by CIDR, ordered by CIDR (one statement)."""
    entry = prefix_list_entries.c
    there = and_(entry.since <= version, or_(entry.until.is_(None), entry.until > version))
    query = select(entry.cidr, entry.description).where(entry.prefix_list == key, there).order_by(entry.cidr)
    return {row.cidr: row.description for row in txn.connection.execute(query)}


def referring(txn: Transaction, keys: Collection[str]) -> list[str]:
    """The ids of the caller's groups whose rules name one of the lists."""
    own_rules = select(rules.c.group).where(rules.c.prefix_list.in_(keys)).distinct().order_by(rules.c.group)
    return list(txn.connection.scalars(own_rules))


def shape(one: PrefixList, region: str) -> dict[str, Any]:
    """ManagedPrefixList of a list."""
    owner = "aws" if one.provided else one.owner
    found: dict[str, Any] = {
        "PrefixListId": one.id,
        "PrefixListName": one.name,
        "PrefixListArn": f"arn:aws:ec2:{region}:{owner}:prefix-list/{one.id}",
        "AddressFamily": one.family,
        "State": one.state,
        "OwnerId": one.owner,
        "Tags": tag_rows.shape(one.tags),
    }
    return found if one.provided else found | {"MaxEntries": one.max_entries, "Version": one.version}
