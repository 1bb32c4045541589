"""Tags between requests, rows and answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from econe_api.call import Params
from econe_api.errors import Ec2Error
from econe_api.store.schema import tags
from econe_api.store.transaction import Transaction

#: "Tag your Amazon EC2 resources" in the EC2 user guide.
LIMIT = 50
_LONGEST_KEY = 127
_LONGEST_VALUE = 256
_MANY = 1_000
#: EC2's actions that make these refuse tag specifications with a code of their own.
_NETWORKS = frozenset({"internet-gateway", "route-table", "subnet", "vpc"})

Tags = Mapping[str, str]


# Built once, because most calls ask.
_ALL = (
    select(tags.c.resource, tags.c.key, tags.c.value)
    .where(tags.c.account == bindparam("account"), tags.c.kind == bindparam("kind"))
    .order_by(tags.c.key)
)
_NAMED = _ALL.where(tags.c.resource.in_(bindparam("ids", expanding=True)))
_WRITE = insert(tags)
_FORGET = delete(tags).where(
    tags.c.account == bindparam("owner"), tags.c.resource.in_(bindparam("ids", expanding=True))
)


def load(txn: Transaction, kind: str, ids: Collection[str]) -> defaultdict[str, dict[str, str]]:
    """The tags of resources of one kind, by id (one statement); an id without tags has an empty dict."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    if not ids:
        return found
    named: dict[str, Any] = {"account": txn.account, "kind": kind}
    query = _ALL
    if len(ids) <= _MANY:  # more are not worth naming: the account's own of that kind are all there is
        query, named["ids"] = _NAMED, list(ids)
    for resource, key, value in txn.connection.execute(query, named):
        found[resource][key] = value
    return found


def shape(found: Tags) -> list[dict[str, str]]:
    """TagList of tags, by key."""
    return [{"Key": key, "Value": found[key]} for key in sorted(found)]


def parse(asked: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tags of a TagList.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue, TagLimitExceeded.

    """
    found: dict[str, str] = {}
    for tag in asked:
        key, value = tag.get("Key"), tag.get("Value") or ""
        if not key:
            raise Ec2Error("MissingParameter", "The request must contain the parameter tagKey")
        if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Tag keys have up to {_LONGEST_KEY} characters, values up to {_LONGEST_VALUE}: '{key[:_LONGEST_KEY]}'",
            )
        if key.lower().startswith("aws:"):
            raise Ec2Error("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        if key in found:
            raise Ec2Error("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        found[key] = value
    if len(found) > LIMIT:
        raise limit_exceeded()
    return found


def limit_exceeded() -> Ec2Error:
    """The refusal of one tag too many."""
    return Ec2Error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")


def specified(params: Params, *kinds: str) -> dict[str, dict[str, str]]:
    """The tags that TagSpecifications give to new resources, by kind; ``kinds`` are those that the action makes.

    Raises:
        Ec2Error: as :func:`parse`; InvalidParameterValue, for networks InvalidParameter.

    """
    code = "InvalidParameter" if _NETWORKS.intersection(kinds) else "InvalidParameterValue"
    asked: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for specification in params.get("TagSpecifications") or ():
        kind = specification.get("ResourceType")
        if not kind:
            raise Ec2Error(code, "Tag specification resource type must have a value")
        if kind not in kinds:
            raise Ec2Error(code, f"'{kind}' is not a valid taggable resource type for this operation.")
        if not specification.get("Tags"):
            raise Ec2Error(code, "Tag specification must have at least one tag")
        asked[kind] += specification["Tags"]
    return {kind: parse(items) for kind, items in asked.items()}


def write(txn: Transaction, kind: str, ids: Iterable[str], wanted: Tags) -> None:
    """Give tags to new resources of one kind."""
    rows = [
        {"resource": resource, "key": key, "value": value, "kind": kind, "account": txn.account}
        for resource in ids
        for key, value in wanted.items()
    ]
    if rows:
        txn.connection.execute(_WRITE, rows)


def forget(txn: Transaction, ids: Collection[str], account: str | None = None) -> None:
    """Drop the tags of resources that go; ``account`` owns them, None = the caller."""
    txn.connection.execute(_FORGET, {"owner": account or txn.account, "ids": list(ids)})
