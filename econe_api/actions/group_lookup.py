"""From the groups that a request names to their rows.

Names mean groups of the default VPC.  A group id where a name belongs is taken as an id: clients of EC2-Classic times
do that, and no group can have a name that starts with ``sg-``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, or_, select

from econe_api.actions import identifiers
from econe_api.call import Params
from econe_api.errors import Ec2Error
from econe_api.store.schema import groups, vpcs
from econe_api.store.transaction import Transaction

# Built once: to build a statement takes longer than to execute it.
_OWN = (
    select(groups, vpcs.c.is_default.label("in_default_vpc"))
    .join(vpcs, vpcs.c.id == groups.c.vpc)
    .where(groups.c.account == bindparam("account"))
)
_IDS = groups.c.id.in_(bindparam("ids", expanding=True))
_BY_ID = _OWN.where(groups.c.id == bindparam("id"))
_BY_IDS = _OWN.where(_IDS)
_BY_IDS_OR_NAMES = _OWN.where(or_(_IDS, groups.c.name.in_(bindparam("names", expanding=True))))


def resolve(txn: Transaction, ids: Sequence[str], names: Sequence[str]) -> list[Row[Any]]:
    """The rows of the groups named, each once, in the order named, ids first (one statement).

    Raises:
        Ec2Error: InvalidGroupId.Malformed, InvalidGroup.NotFound, InvalidParameterValue (a name outside the default
            VPC).

    """
    ids = identifiers.check("sg", [*ids, *(name for name in names if name.startswith("sg-"))])
    names = [name for name in names if not name.startswith("sg-")]
    wanted: dict[str, Any] = {"account": txn.account}
    if names:
        query, wanted["ids"], wanted["names"] = _BY_IDS_OR_NAMES, ids, names
    elif len(ids) == 1:
        query, wanted["id"] = _BY_ID, ids[0]
    else:
        query, wanted["ids"] = _BY_IDS, ids
    rows = list(txn.connection.execute(query, wanted))
    by_id = {row.id: row for row in rows}
    by_name = {row.name: row for row in rows if row.in_default_vpc}
    found = [by_id[group] if group in by_id else _absent(group) for group in ids]
    for name in names:
        if name not in by_name and any(row.name == name for row in rows):
            raise Ec2Error(
                "InvalidParameterValue",
                f"Invalid value '{name}' for groupName. You may not reference Amazon VPC security groups by name. "
                "Please use the corresponding id for this operation.",
            )
        found.append(by_name[name] if name in by_name else _absent(name))
    return list({row.id: row for row in found}.values())


def target(txn: Transaction, params: Params) -> Row[Any]:
    """The one group that GroupId or GroupName means.

    Raises:
        Ec2Error: as :func:`resolve`; MissingParameter, InvalidParameterCombination.

    """
    group, name = params.get("GroupId"), params.get("GroupName")
    if group and name:
        # Both are sent by clients that copy a description back: harmless as long as they agree.
        row = resolve(txn, [group], [])[0]
        if name not in (row.name, row.id):
            raise Ec2Error(
                "InvalidParameterCombination", "The parameters groupName and groupId name different security groups"
            )
        return row
    if not group and not name:
        raise Ec2Error("MissingParameter", "The request must contain the parameter groupName or groupId")
    return resolve(txn, [group] if group else [], [name] if name else [])[0]


def not_found(group: str) -> Ec2Error:
    """The error for a group that is not there, or not the caller's."""
    return Ec2Error("InvalidGroup.NotFound", f"The security group '{group}' does not exist")


def _absent(group: str) -> Row[Any]:
    raise not_found(group)
