"""CreateManagedPrefixList, ModifyManagedPrefixList, RestoreManagedPrefixListVersion, DeleteManagedPrefixList.

Sources: these pages of the EC2 API reference, and "Group CIDR blocks using managed prefix lists" in the VPC user guide.
Everything is done when the call answers: no list is ever in one of EC2's ``...-in-progress`` states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from econe_api.actions import permissions, prefix_list_rows, rule_limits, tag_rows
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.actions.prefix_list_rows import KIND, PrefixList
from econe_api.call import Call, Params
from econe_api.errors import Ec2Error
from econe_api.store.prefix_list_tables import prefix_list_entries, prefix_list_tokens, prefix_lists
from econe_api.store.quotas import PREFIX_LISTS
from econe_api.store.records import Kind
from econe_api.store.transaction import Transaction

_FAMILIES = {"IPv4": 4, "IPv6": 6}
_LARGEST = 1_000
_LONGEST = 255
_TOKEN_LIFE = timedelta(hours=24)
_RESERVED = "com.amazonaws"


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a prefix list, with its first entries as version 1; the same ClientToken makes it once."""
    params = call.params
    require(params, "PrefixListName", "MaxEntries", "AddressFamily")
    known = {"PrefixListName", "Entries", "MaxEntries", "AddressFamily", "TagSpecifications", "ClientToken"}
    refuse_unsupported(params, frozenset(known))
    family, size = params["AddressFamily"], params["MaxEntries"]
    if family not in _FAMILIES:
        raise Ec2Error("InvalidParameterValue", f"Value ({family}) for parameter addressFamily is invalid.")
    _check_name(params["PrefixListName"])
    _check_size(size)
    wanted = _parse(params.get("Entries"), family)
    if len(wanted) > size:
        raise _too_many()
    tags = tag_rows.specified(params, KIND).get(KIND, {})
    earlier = _earlier(txn, params)
    if earlier is not None:
        return _answer(txn, earlier)
    count = txn.connection.scalar(
        select(func.count()).select_from(prefix_lists).where(prefix_lists.c.account == txn.account)
    )
    if (count or 0) >= txn.quota(PREFIX_LISTS):
        raise Ec2Error("PrefixListLimitExceeded", "The maximum number of prefix lists has been reached.")
    key = txn.new_id("pl")
    txn.connection.execute(
        insert(prefix_lists).values(
            id=key,
            number=txn.next_number(KIND),
            account=txn.account,
            name=params["PrefixListName"],
            family=family,
            max_entries=size,
            version=1,
            state="create-complete",
        )
    )
    _insert(txn, key, wanted, 1)
    tag_rows.write(txn, KIND, [key], tags)
    if given(params, "ClientToken"):
        row = {"account": txn.account, "token": params["ClientToken"], "fingerprint": _fingerprint(params)}
        txn.connection.execute(insert(prefix_list_tokens).values(prefix_list=key, created=txn.now, **row))
    txn.touch(Kind.PREFIX_LIST, key)
    return _answer(txn, key)


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Add and remove entries, which makes a new version; or rename a list; or change its size."""
    params = call.params
    require(params, "PrefixListId")
    known = {"PrefixListId", "CurrentVersion", "PrefixListName", "AddEntries", "RemoveEntries", "MaxEntries"}
    refuse_unsupported(params, frozenset(known))
    present = prefix_list_rows.own(txn, params["PrefixListId"])
    _check_version(present, params.get("CurrentVersion"))
    changes = given(params, "AddEntries") or given(params, "RemoveEntries")
    values: dict[str, Any] = {"state": "modify-complete"}
    if changes and given(params, "MaxEntries"):
        raise Ec2Error(
            "InvalidParameterCombination",
            "You cannot modify the entries of a prefix list and modify the size of a prefix list at the same time.",
        )
    if changes:
        require(params, "CurrentVersion")
        _change(txn, present, _parse(params.get("AddEntries"), present.family), _removed(params, present.family))
        values["version"] = present.version + 1
    elif given(params, "MaxEntries"):
        _resize(txn, present, params["MaxEntries"])
        values["max_entries"] = params["MaxEntries"]
    elif not given(params, "PrefixListName"):
        raise Ec2Error("InvalidRequest", "The request received was invalid.")
    if given(params, "PrefixListName"):
        _check_name(params["PrefixListName"])
        values["name"] = params["PrefixListName"]
    txn.connection.execute(update(prefix_lists).where(prefix_lists.c.id == present.id).values(**values))
    return _answer(txn, present.id)


def restore(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a new version of the entries that a list had in an earlier one."""
    params = call.params
    require(params, "PrefixListId", "PreviousVersion", "CurrentVersion")
    present = prefix_list_rows.own(txn, params["PrefixListId"])
    _check_version(present, params["CurrentVersion"])
    if not 1 <= params["PreviousVersion"] < present.version:
        raise Ec2Error("InvalidParameterValue", "The specified value for the previous version is not valid.")
    now = prefix_list_rows.entries(txn, present.id, present.version)
    wanted = prefix_list_rows.entries(txn, present.id, params["PreviousVersion"])
    if len(wanted) > present.max_entries:
        raise _too_many()
    version = present.version + 1
    _close(txn, present.id, [cidr for cidr in now if cidr not in wanted or wanted[cidr] != now[cidr]], version)
    fresh = {cidr: text for cidr, text in wanted.items() if cidr not in now or now[cidr] != text}
    _insert(txn, present.id, fresh, version)
    values = {"version": version, "state": "restore-complete"}
    txn.connection.execute(update(prefix_lists).where(prefix_lists.c.id == present.id).values(**values))
    txn.touch(Kind.PREFIX_LIST, present.id)
    return _answer(txn, present.id)


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a list that no rule refers to, with all its versions."""
    require(call.params, "PrefixListId")
    present = prefix_list_rows.own(txn, call.params["PrefixListId"])
    if prefix_list_rows.referring(txn, [present.id]):
        raise Ec2Error("DependencyViolation", f"resource {present.id} has a dependent object")
    for table in (prefix_list_entries, prefix_list_tokens):
        txn.connection.execute(delete(table).where(table.c.prefix_list == present.id))
    txn.connection.execute(delete(prefix_lists).where(prefix_lists.c.id == present.id))
    tag_rows.forget(txn, [present.id])
    txn.touch(Kind.PREFIX_LIST, present.id)
    return {"PrefixList": prefix_list_rows.shape(present, txn.config.region) | {"State": "delete-complete"}}


def _answer(txn: Transaction, key: str) -> dict[str, Any]:
    return {"PrefixList": prefix_list_rows.shape(prefix_list_rows.own(txn, key), txn.config.region)}


def _check_name(name: str) -> None:
    if len(name) > _LONGEST or name.startswith(_RESERVED):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({name[:_LONGEST]}) for parameter prefixListName is invalid. A name has up to {_LONGEST} "
            f"characters and does not start with {_RESERVED}.",
        )


def _check_size(size: int) -> None:
    if not 1 <= size <= _LARGEST:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({size}) for parameter maxEntries is invalid. It must be between 1 and {_LARGEST}.",
        )


def _check_version(present: PrefixList, version: int | None) -> None:
    if version is not None and version != present.version:
        raise Ec2Error("PrefixListVersionMismatch", "The prefix list has the incorrect version number.")


def _too_many() -> Ec2Error:
    return Ec2Error(
        "PrefixListMaxEntriesExceeded", "The maximum number of entries for this prefix list has been reached."
    )


def _parse(asked: Sequence[Mapping[str, Any]] | None, family: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for item in asked or ():
        cidr = permissions.prefix(item.get("Cidr"), _FAMILIES[family])
        if cidr in found:
            raise Ec2Error("InvalidParameterValue", f"Duplicate entry with the CIDR ({cidr}).")
        if len(item.get("Description") or "") > _LONGEST:
            raise Ec2Error("InvalidParameterValue", f"A description has up to {_LONGEST} characters.")
        found[cidr] = item.get("Description") or None
    return found


def _removed(params: Params, family: str) -> list[str]:
    return list(_parse(params.get("RemoveEntries"), family))


def _change(txn: Transaction, present: PrefixList, added: Mapping[str, str | None], removed: Sequence[str]) -> None:
    """Write version + 1.  An entry that is there already gets its new description."""
    for cidr in removed:
        if cidr in added:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Request cannot contain Cidr {cidr} in both AddPrefixListEntries and RemovePrefixListEntries",
            )
    now = prefix_list_rows.entries(txn, present.id, present.version)
    for cidr in removed:
        if cidr not in now:
            raise Ec2Error("InvalidPrefixListModification", f"An entry with the CIDR ({cidr}) does not exist.")
    for cidr, text in added.items():
        if cidr in now and now[cidr] == text:
            raise Ec2Error(
                "InvalidPrefixListModification",
                f"An entry with the CIDR ({cidr}) and description ({text or ''}) already exists.",
            )
    if len(now.keys() - set(removed) | added.keys()) > present.max_entries:
        raise _too_many()
    version = present.version + 1
    _close(txn, present.id, [*removed, *(cidr for cidr in added if cidr in now)], version)
    _insert(txn, present.id, added, version)
    txn.touch(Kind.PREFIX_LIST, present.id)


def _close(txn: Transaction, key: str, cidrs: Sequence[str], version: int) -> None:
    entry = prefix_list_entries.c
    still = update(prefix_list_entries).where(entry.prefix_list == key, entry.until.is_(None), entry.cidr.in_(cidrs))
    txn.connection.execute(still.values(until=version))


def _insert(txn: Transaction, key: str, wanted: Mapping[str, str | None], version: int) -> None:
    rows = [{"prefix_list": key, "cidr": cidr, "since": version, "description": text} for cidr, text in wanted.items()]
    if rows:
        txn.connection.execute(insert(prefix_list_entries), rows)


def _resize(txn: Transaction, present: PrefixList, size: int) -> None:
    _check_size(size)
    count = len(prefix_list_rows.entries(txn, present.id, present.version))
    if size < count:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({size}) for parameter maxEntries is invalid. The list has {count} entries.",
        )
    rule_limits.check_resize(txn, prefix_list_rows.referring(txn, [present.id]), {present.id: size})


def _fingerprint(params: Params) -> str:
    asked = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _earlier(txn: Transaction, params: Params) -> str | None:
    """The list that the same request has made before."""
    if not given(params, "ClientToken"):
        return None
    token = prefix_list_tokens.c
    txn.connection.execute(delete(prefix_list_tokens).where(token.created < txn.now - _TOKEN_LIFE))
    mine = select(prefix_list_tokens).where(token.account == txn.account, token.token == params["ClientToken"])
    row = txn.connection.execute(mine).first()
    if row is None:
        return None
    if row.fingerprint != _fingerprint(params):
        raise Ec2Error(
            "IdempotentParameterMismatch",
            "The client token you have provided is associated with a resource that has different parameters.",
        )
    return str(row.prefix_list)
