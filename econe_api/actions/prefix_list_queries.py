"""DescribeManagedPrefixLists, DescribePrefixLists, GetManagedPrefixListEntries, GetManagedPrefixListAssociations."""

from __future__ import annotations

from typing import Any

from econe_api.actions import identifiers, pagination, prefix_list_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.parameters import require
from econe_api.actions.prefix_list_rows import PrefixList
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

_NAMES: dict[str, Field[PrefixList]] = {
    "prefix-list-id": Field(lambda one: (one.id,)),
    "prefix-list-name": Field(lambda one: (one.name,)),
}
_FIELDS = _NAMES | {"owner-id": Field(lambda one: (one.owner,))}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's lists and those that the cloud provides."""
    params = call.params
    pagination.check(params, bounds=(1, 100))
    filters = Filters(params.get("Filters"), _FIELDS, tagged=True)
    if params.get("PrefixListIds"):
        found = list(prefix_list_rows.named(txn, params["PrefixListIds"]).values())
    else:
        found = [*prefix_list_rows.load(txn), *prefix_list_rows.provided(txn.config.region)]
    found = [one for one in found if filters.matches(one, one.tags)]
    shown, token = pagination.page(found, lambda one: (one.id,), params, call.action)
    answer = [prefix_list_rows.shape(one, txn.config.region) for one in shown]
    return {"PrefixLists": answer} | ({"NextToken": token} if token else {})


def describe_provided(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the lists that the cloud provides, one per service that EC2 has; there are no such services: no CIDRs."""
    params = call.params
    pagination.check(params)
    filters = Filters(params.get("Filters"), _NAMES)
    found = prefix_list_rows.provided(txn.config.region)
    wanted = identifiers.check("pl", params.get("PrefixListIds") or ())
    for key in wanted:
        if all(one.id != key for one in found):
            raise Ec2Error("InvalidPrefixListId.NotFound", f"The prefix list ID '{key}' does not exist")
    found = [one for one in found if (not wanted or one.id in wanted) and filters.matches(one)]
    shown, token = pagination.page(found, lambda one: (one.id,), params, call.action)
    answer = [{"PrefixListId": one.id, "PrefixListName": one.name, "Cidrs": []} for one in shown]
    return {"PrefixLists": answer} | ({"NextToken": token} if token else {})


def entries(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the entries of the present version, or of an earlier one."""
    params = call.params
    require(params, "PrefixListId")
    pagination.check(params, bounds=(1, 100))
    one = prefix_list_rows.named(txn, [params["PrefixListId"]])[params["PrefixListId"]]
    version = params.get("TargetVersion")
    if version is not None and not 1 <= version <= one.version:
        raise Ec2Error("InvalidParameterValue", "The specified value for version is not valid.")
    present = prefix_list_rows.entries(txn, one.id, one.version if version is None else version)
    shown, token = pagination.page(list(present), lambda cidr: (cidr,), params, f"{call.action} {one.id}")
    answer = [{"Cidr": cidr} | ({"Description": text} if (text := present[cidr]) else {}) for cidr in shown]
    return {"Entries": answer} | ({"NextToken": token} if token else {})


def associations(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's groups whose rules refer to a list."""
    params = call.params
    require(params, "PrefixListId")
    pagination.check(params, bounds=(5, 255))
    one = prefix_list_rows.own(txn, params["PrefixListId"])
    found = prefix_list_rows.referring(txn, [one.id])
    shown, token = pagination.page(found, lambda key: (key,), params, f"{call.action} {one.id}")
    answer = [{"ResourceId": key, "ResourceOwner": txn.account} for key in shown]
    return {"PrefixListAssociations": answer} | ({"NextToken": token} if token else {})
