"""CreateTags, DeleteTags and DescribeTags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, and_, bindparam, delete, or_, select

from econe_api.actions import dhcp_options, image_rows, images, network_acls, pagination, tag_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.instance_rows import visible
from econe_api.actions.parameters import require
from econe_api.actions.vpc_shapes import dhcp_options_id
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.key_tables import key_pairs
from econe_api.store.network_tables import internet_gateways, route_tables
from econe_api.store.prefix_list_tables import prefix_lists
from econe_api.store.schema import addresses, groups, instances, interfaces, rules, subnets, tags, vpcs
from econe_api.store.transaction import Transaction

_Own = Callable[[Transaction], Select[Any]]

# Statements that are built once take the caller's account and the ids in question when they are executed.
_ACCOUNT: BindParameter[str] = bindparam("account")
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_OF_KEYS = delete(tags).where(
    tags.c.account == _ACCOUNT, tags.c.resource.in_(_IDS), tags.c.key.in_(bindparam("keys", expanding=True))
)


def _always(query: Select[Any]) -> _Own:
    return lambda _txn: query


def _of(column: ColumnElement[Any], account: ColumnElement[Any]) -> _Own:
    return _always(select(column).where(account == _ACCOUNT, column.in_(_IDS)))


def _within(column: ColumnElement[Any], holder: ColumnElement[Any], own: Select[Any]) -> _Own:
    return _always(select(column).where(column.in_(_IDS), holder.in_(own)))


_OWN_VPCS = select(vpcs.c.id).where(vpcs.c.account == _ACCOUNT)
_OWN_GROUPS = select(groups.c.id).where(groups.c.account == _ACCOUNT)


#: By the prefix of the id: resource type, the code of an id that is not there, how the caller's own are found.
_KINDS: dict[str, tuple[str, str, _Own]] = {
    "eipalloc": (
        "elastic-ip",
        "InvalidAllocationID.NotFound",
        _of(addresses.c.allocation, addresses.c.account),
    ),
    "eni": (
        "network-interface",
        "InvalidNetworkInterfaceID.NotFound",
        _of(interfaces.c.id, interfaces.c.account),
    ),
    "igw": (
        "internet-gateway",
        "InvalidInternetGatewayID.NotFound",
        _of(internet_gateways.c.id, internet_gateways.c.account),
    ),
    "rtb": ("route-table", "InvalidRouteTableID.NotFound", _within(route_tables.c.id, route_tables.c.vpc, _OWN_VPCS)),
    "subnet": ("subnet", "InvalidSubnetID.NotFound", _within(subnets.c.id, subnets.c.vpc, _OWN_VPCS)),
    "vpc": ("vpc", "InvalidVpcID.NotFound", _of(vpcs.c.id, vpcs.c.account)),
    "i": (
        "instance",
        "InvalidInstanceID.NotFound",
        lambda txn: select(instances.c.id).where(visible(txn), instances.c.id.in_(_IDS)),
    ),
    "pl": ("prefix-list", "InvalidPrefixListID.NotFound", _of(prefix_lists.c.id, prefix_lists.c.account)),
    "key": ("key-pair", "InvalidKeyPair.NotFound", _of(key_pairs.c.id, key_pairs.c.account)),
    "sg": ("security-group", "InvalidGroup.NotFound", _of(groups.c.id, groups.c.account)),
    "sgr": (
        "security-group-rule",
        "InvalidSecurityGroupRuleId.NotFound",
        _within(rules.c.id, rules.c.group, _OWN_GROUPS),
    ),
}

#: The same for resources that are in no table, because they follow from others or from the configuration.
_FOLLOWING: dict[str, tuple[str, str, Callable[[Transaction], Collection[str]]]] = {
    "acl": (network_acls.KIND, "InvalidNetworkAclID.NotFound", network_acls.ids),
    "ami": (images.KIND, "InvalidAMIID.NotFound", image_rows.load),
    "dopt": (dhcp_options.KIND, "InvalidDhcpOptionsID.NotFound", lambda txn: [dhcp_options_id(txn.account)]),
}

_FIELDS: dict[str, Field[Row[Any]]] = {
    "key": Field(lambda row: (row.key,), tags.c.key),
    "resource-id": Field(lambda row: (row.resource,), tags.c.resource),
    "resource-type": Field(lambda row: (row.kind,), tags.c.kind),
    "value": Field(lambda row: (row.value,), tags.c.value),
}


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give tags to resources; a key that is there already gets the new value."""
    require(call.params, "Resources", "Tags")
    wanted = tag_rows.parse(call.params["Tags"])
    for kind, ids in _resources(call, txn).items():
        present = tag_rows.load(txn, kind, ids)
        if any(len(present[resource].keys() | wanted.keys()) > tag_rows.LIMIT for resource in ids):
            raise tag_rows.limit_exceeded()
        if any(present[resource].keys() & wanted.keys() for resource in ids):
            txn.connection.execute(_OF_KEYS, {"account": txn.account, "ids": ids, "keys": list(wanted)})
        tag_rows.write(txn, kind, ids, wanted)
    return {}


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take tags from resources: those named (with a value: if they have it), all when none is named."""
    require(call.params, "Resources")
    ids = [resource for group in _resources(call, txn).values() for resource in group]
    clauses: list[ColumnElement[bool]] = []
    for tag in call.params.get("Tags") or ():
        require(tag, "Key")
        value = tag.get("Value")
        clauses.append(tags.c.key == tag["Key"] if value is None else _exactly(tag["Key"], value))
    chosen = [or_(*clauses)] if clauses else []
    txn.connection.execute(delete(tags).where(_mine(txn, ids), *chosen))
    return {}


def _mine(txn: Transaction, ids: Sequence[str]) -> ColumnElement[bool]:
    return and_(tags.c.account == txn.account, tags.c.resource.in_(ids))


def _exactly(key: str, value: str) -> ColumnElement[bool]:
    return and_(tags.c.key == key, tags.c.value == value)


def _resources(call: Call, txn: Transaction) -> dict[str, list[str]]:
    """The ids named, by resource type; each is the caller's (one statement per type)."""
    by_prefix: dict[str, list[str]] = defaultdict(list)
    for resource in dict.fromkeys(call.params["Resources"]):
        prefix = resource.partition("-")[0]
        if prefix not in _KINDS and prefix not in _FOLLOWING:
            raise Ec2Error("InvalidID", f"The ID '{resource}' is not valid")
        by_prefix[prefix].append(resource)
    found = {}
    for prefix, ids in by_prefix.items():
        if prefix in _FOLLOWING:
            kind, code, following = _FOLLOWING[prefix]
            present = set(following(txn))
        else:
            kind, code, own = _KINDS[prefix]
            present = set(txn.connection.scalars(own(txn), {"account": txn.account, "ids": ids}))
        for resource in ids:
            if resource not in present:
                raise Ec2Error(code, f"The ID '{resource}' does not exist")
        found[kind] = ids
    return found


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's tags."""
    params = call.params
    pagination.check(params)
    asked = list(params.get("Filters") or ())
    named = [item for item in asked if str(item.get("Name")).startswith("tag:")]
    filters: Filters[Row[Any]] = Filters(
        [item for item in asked if item not in named],
        _FIELDS,
    )
    by_tag: Filters[Row[Any]] = Filters(named, {}, tagged=True)
    rows = txn.connection.execute(select(tags).where(tags.c.account == txn.account, *filters.clauses()))
    found = [row for row in rows if filters.matches(row) and by_tag.matches(row, {row.key: row.value})]
    shown, token = pagination.page(found, lambda row: (row.kind, row.resource, row.key), params, call.action)
    answer = [
        {"ResourceId": row.resource, "ResourceType": row.kind, "Key": row.key, "Value": row.value} for row in shown
    ]
    return {"Tags": answer} | ({"NextToken": token} if token else {})
