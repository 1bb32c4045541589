"""Groups of ours that stand for OpenNebula's, found or made by what they say.

OpenNebula gives every machine its own copy of a group's rules and updates one machine after the other.  So a group of
ours is never changed: machines whose copies are equal share one, and an update moves an interface from one to another,
in one transaction and for itself alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from sqlalchemy import delete, insert, select

from econe_api.store.records import Kind
from econe_api.store.schema import groups, interface_groups, rules, tags
from econe_api.store.transaction import Transaction
from econe_api.store.vnm_tables import opennebula_groups
from econe_api.vnm.document import Group

_DIGITS = 12
_LONGEST = 200


def ensure(txn: Transaction, account: str, vpc: str, group: Group) -> str:
    """Return the id of the account's group in a VPC that says what ``group`` says."""
    digest = hashlib.sha256(repr((group.name, group.rules)).encode()).hexdigest()
    table = opennebula_groups.c
    same = (table.vpc == vpc) & (table.number == group.number) & (table.digest == digest)
    known: str | None = txn.connection.scalar(
        select(table.group).join(groups, groups.c.id == table.group).where(same, groups.c.account == account)
    )
    return known or _make(txn, account, vpc, group, digest)


def _make(txn: Transaction, account: str, vpc: str, group: Group, digest: str) -> str:
    made, execute = txn.new_id("sg"), txn.connection.execute
    name = f"opennebula-{group.number}-{digest[:_DIGITS]}"
    execute(
        insert(groups).values(
            id=made,
            number=txn.next_number("group"),
            account=account,
            vpc=vpc,
            name=name,
            description=f"OpenNebula security group {group.number} {group.name[:_LONGEST]}".strip(),
        )
    )
    execute(insert(opennebula_groups).values(group=made, vpc=vpc, number=group.number, digest=digest))
    written = [
        {
            "id": txn.new_id("sgr"),
            "group": made,
            "egress": rule.egress,
            "protocol": rule.protocol,
            "from_port": rule.from_port,
            "to_port": rule.to_port,
            "cidr": rule.cidr,
        }
        for rule in group.rules
    ]
    if written:
        execute(insert(rules), written)
    txn.touch(Kind.GROUP, made)
    return made


def drop_unused(txn: Transaction, candidates: Collection[str]) -> None:
    """Delete those of ``candidates`` that were made from OpenNebula's and that nobody is in or refers to."""
    used = select(interface_groups.c.group).where(interface_groups.c.group.in_(candidates))
    named = select(rules.c.referenced_group).where(rules.c.referenced_group.in_(candidates))
    own = opennebula_groups.c.group
    unused = select(own).where(own.in_(candidates), own.not_in(used), own.not_in(named)).order_by(own)
    gone = txn.connection.scalars(unused).all()
    if not gone:
        return
    execute = txn.connection.execute
    execute(delete(tags).where(tags.c.resource.in_(gone)))
    execute(delete(rules).where(rules.c.group.in_(gone)))
    execute(delete(groups).where(groups.c.id.in_(gone)))
    execute(delete(opennebula_groups).where(own.in_(gone)))
    for group in gone:
        txn.touch(Kind.GROUP, group)
