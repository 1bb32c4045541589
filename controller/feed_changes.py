"""Changes as they go from the feed's reader process to the controller, written and read again.

A change is ``[kind, key, fields]``: the fields of its record in the order in which the record names them, None when the
object is gone.  Both ends are of one installation, so that no names go along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from econe_api.store.records import (
    AddressRecord,
    Change,
    GroupRecord,
    HostRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    PrefixListRecord,
    Record,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)

_RECORDS: Mapping[Kind, type[Any]] = {
    Kind.VPC: VpcRecord,
    Kind.SUBNET: SubnetRecord,
    Kind.POOL: PoolRecord,
    Kind.PREFIX_LIST: PrefixListRecord,
    Kind.INTERFACE: InterfaceRecord,
    Kind.GROUP: GroupRecord,
    Kind.ADDRESS: AddressRecord,
    Kind.HOST: HostRecord,
}
#: The place of the rules, the only records within a record.
_RULES = [each.name for each in fields(GroupRecord)].index("rules")


def _values(record: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of all fields out of a record of that type."""
    return attrgetter(*(each.name for each in fields(record)))


_OF_RECORD = {kind: _values(record) for kind, record in _RECORDS.items()}
_OF_RULE = _values(RuleRecord)
_WIDTH = {kind: len(fields(record)) for kind, record in _RECORDS.items()}


def written(change: Change) -> list[Any]:
    """Return ``change`` as a frame carries it."""
    kind, record = change.kind, change.record
    if record is None:
        return [kind.value, change.key, None]
    values: Sequence[Any] = _OF_RECORD[kind](record)
    if kind is Kind.GROUP:
        values = [*values[:_RULES], [_OF_RULE(rule) for rule in values[_RULES]], *values[_RULES + 1 :]]
    return [kind.value, change.key, values]


def read_change(kind: str, key: str, values: list[Any] | None) -> Change:
    """Return what :func:`written` wrote; raises TypeError or ValueError when it is none."""
    what = Kind(kind)
    if values is None:
        return Change(what, key, None)
    if not isinstance(values, list) or len(values) != _WIDTH[what]:
        raise ValueError(f"{what} has {_WIDTH[what]} fields")
    found = [tuple(value) if type(value) is list else value for value in values]
    if what is Kind.GROUP:
        found[_RULES] = tuple([RuleRecord(*rule) for rule in found[_RULES]])
    record: Record = _RECORDS[what](*found)
    return Change(what, key, record)
