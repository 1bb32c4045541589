"""DescribeAddressesAttribute, ModifyAddressAttribute and ResetAddressAttribute: the reverse name of an elastic IP.

"Create a reverse DNS record for email on Amazon EC2" in the EC2 user guide.  The name is kept and shown; Sluice runs no
name server, so whoever runs the reverse zone takes it from here.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Row, delete, insert, select

from econe_api.actions import address_rows, pagination
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.address_tables import reverse_names
from econe_api.store.transaction import Transaction

_DOMAIN_NAME = "domain-name"
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})+\.?")
_LONGEST = 253


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the reverse names of the caller's addresses: of those named, else of all that have one."""
    params = call.params
    pagination.check(params, bounds=(1, 1000))
    _check_attribute(params.get("Attribute") or _DOMAIN_NAME)
    wanted = list(dict.fromkeys(params.get("AllocationIds") or ()))
    rows = address_rows.by_allocations(txn, wanted) if wanted else address_rows.load(txn)
    names = _names(txn, [row.public_ip for row in rows])
    found = [row for row in rows if wanted or row.public_ip in names]
    shown, token = pagination.page(found, lambda row: (row.pool, row.sort), params, call.action)
    answer = [_shape(row, names.get(row.public_ip)) for row in shown]
    return {"Addresses": answer} | ({"NextToken": token} if token else {})


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an address a reverse name; it holds at once."""
    params = call.params
    require(params, "AllocationId", "DomainName")
    row = address_rows.by_allocation(txn, params["AllocationId"])
    name = params["DomainName"]
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise Ec2Error("InvalidParameterValue", f"Value ({name[:_LONGEST]}) for parameter domainName is invalid.")
    name = f"{name.removesuffix('.')}."
    forget(txn, row.public_ip)
    txn.connection.execute(insert(reverse_names).values(public_ip=row.public_ip, name=name))
    return {"Address": _shape(row, name)}


def reset(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take the reverse name of an address away."""
    params = call.params
    require(params, "AllocationId", "Attribute")
    _check_attribute(params["Attribute"])
    row = address_rows.by_allocation(txn, params["AllocationId"])
    forget(txn, row.public_ip)
    return {"Address": _shape(row, None)}


def forget(txn: Transaction, public_ip: str) -> None:
    """Drop the reverse name of an address, if it has one."""
    txn.connection.execute(delete(reverse_names).where(reverse_names.c.public_ip == public_ip))


def has_name(txn: Transaction, public_ip: str) -> bool:
    """Has the address a reverse name?"""
    return bool(_names(txn, [public_ip]))


def _names(txn: Transaction, addresses: list[str]) -> dict[str, str]:
    query = select(reverse_names).where(reverse_names.c.public_ip.in_(addresses))
    return {row.public_ip: row.name for row in txn.connection.execute(query)}


def _check_attribute(attribute: str) -> None:
    if attribute != _DOMAIN_NAME:
        raise Ec2Error("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid.")


def _shape(row: Row[Any], name: str | None) -> dict[str, Any]:
    shape = {"PublicIp": row.public_ip, "AllocationId": row.allocation}
    return shape if name is None else shape | {"PtrRecord": name}
