"""EnableAddressTransfer, AcceptAddressTransfer, DisableAddressTransfer and DescribeAddressTransfers.

"Transfer an Elastic IP address between AWS accounts" in the EC2 user guide: two steps; an offer ends after seven days,
an accepted one is shown to its source for 14 days; tags stay behind.  An address that is associated or has a reverse
name can be offered but not accepted.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update

from econe_api.actions import address_attributes, address_rows, pagination, tag_rows
from econe_api.actions.parameters import ipv4, refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.address_tables import address_transfers
from econe_api.store.schema import addresses
from econe_api.store.transaction import Transaction

_OFFERED = timedelta(days=7)
_SHOWN = timedelta(days=14)
_ACCOUNT = re.compile(r"[0-9]{12}")
_transfer = address_transfers.c


def enable(call: Call, txn: Transaction) -> dict[str, Any]:
    """Offer an address to another account for seven days; one offer at a time."""
    params = call.params
    require(params, "AllocationId", "TransferAccountId")
    row = address_rows.by_allocation(txn, params["AllocationId"])
    target = params["TransferAccountId"]
    if not _ACCOUNT.fullmatch(target) or target == txn.account:
        raise Ec2Error("InvalidParameterValue", f"Value ({target}) for parameter transferAccountId is invalid.")
    present = _offer(txn, _transfer.public_ip == row.public_ip)
    if present is not None:
        if present.target != target:
            raise Ec2Error(
                "InvalidTransfer.AddressTransferPending",
                f"The address {row.public_ip} is being offered to another account. Disable that transfer first.",
            )
        return {"AddressTransfer": _shape(present)}
    withdraw(txn, row.public_ip)  # an earlier offer has run out
    txn.connection.execute(
        insert(address_transfers).values(
            number=txn.next_number("address-transfer"),
            public_ip=row.public_ip,
            allocation=row.allocation,
            source=txn.account,
            target=target,
            expires=txn.now + _OFFERED,
        )
    )
    return {"AddressTransfer": _shape(_must(_offer(txn, _transfer.public_ip == row.public_ip), row.allocation))}


def accept(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take an address that another account has offered: it has a new allocation id, and the tags given here."""
    params = call.params
    require(params, "Address")
    refuse_unsupported(params, frozenset({"Address", "TagSpecifications"}))
    tags = tag_rows.specified(params, "elastic-ip").get("elastic-ip", {})
    public_ip = ipv4(params["Address"], "address")
    offer = _offer(txn, _transfer.public_ip == public_ip, _transfer.target == txn.account)
    if offer is None:
        raise Ec2Error("InvalidAddress.NotFound", f"Address '{public_ip}' not found.")
    row = txn.connection.execute(select(addresses).where(addresses.c.public_ip == public_ip)).one()
    if row.association is not None:
        raise Ec2Error("InvalidTransfer.AddressAssociated", f"The address {public_ip} is associated with a resource.")
    if address_attributes.has_name(txn, public_ip):
        raise Ec2Error("InvalidTransfer.AddressCustomPtrSet", f"The address {public_ip} has a reverse DNS record.")
    address_rows.check_quota(txn)
    allocation = txn.new_id("eipalloc")
    tag_rows.forget(txn, [row.allocation], offer.source)
    txn.connection.execute(
        update(addresses).where(addresses.c.public_ip == public_ip).values(allocation=allocation, account=txn.account)
    )
    txn.note_address(public_ip)
    tag_rows.write(txn, "elastic-ip", [allocation], tags)
    txn.connection.execute(update(address_transfers).where(_transfer.number == offer.number).values(accepted=txn.now))
    accepted = txn.connection.execute(select(address_transfers).where(_transfer.number == offer.number)).one()
    return {"AddressTransfer": _shape(accepted) | {"AllocationId": allocation}}


def disable(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take an offer back that has not been accepted."""
    require(call.params, "AllocationId")
    row = address_rows.by_allocation(txn, call.params["AllocationId"])
    offer = _must(_offer(txn, _transfer.public_ip == row.public_ip), row.allocation)
    txn.connection.execute(delete(address_transfers).where(_transfer.number == offer.number))
    return {"AddressTransfer": _shape(offer) | {"AddressTransferStatus": "disabled"}}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's offers that are open, and those accepted in the last 14 days."""
    params = call.params
    pagination.check(params, "AllocationIds")
    wanted = list(dict.fromkeys(params.get("AllocationIds") or ()))
    recent = or_(
        and_(_transfer.accepted.is_(None), _transfer.expires > txn.now),
        _transfer.accepted > txn.now - _SHOWN,
    )
    chosen = [_transfer.allocation.in_(wanted)] if wanted else []
    query = select(address_transfers).where(_transfer.source == txn.account, recent, *chosen)
    rows = list(txn.connection.execute(query))
    missing = [key for key in wanted if key not in {row.allocation for row in rows}]
    address_rows.by_allocations(txn, missing)
    shown, token = pagination.page(rows, lambda row: (row.number,), params, call.action)
    return {"AddressTransfers": [_shape(row) for row in shown]} | ({"NextToken": token} if token else {})


def withdraw(txn: Transaction, public_ip: str) -> None:
    """Forget what is offered of an address that is released."""
    open_offers = and_(_transfer.public_ip == public_ip, _transfer.accepted.is_(None))
    txn.connection.execute(delete(address_transfers).where(open_offers))


def _offer(txn: Transaction, *clauses: ColumnElement[bool]) -> Row[Any] | None:
    open_now = (_transfer.accepted.is_(None), _transfer.expires > txn.now)
    query = select(address_transfers).where(*open_now, *clauses).order_by(_transfer.number.desc())
    return txn.connection.execute(query).first()


def _must(offer: Row[Any] | None, allocation: str) -> Row[Any]:
    if offer is None:
        raise Ec2Error("InvalidTransfer.NotFound", f"There is no pending transfer of the allocation ID '{allocation}'")
    return offer


def _shape(row: Row[Any]) -> dict[str, Any]:
    shape = {
        "PublicIp": row.public_ip,
        "AllocationId": row.allocation,
        "TransferAccountId": row.target,
        "TransferOfferExpirationTimestamp": row.expires,
        "AddressTransferStatus": "pending",
    }
    if row.accepted is None:
        return shape
    return shape | {"TransferOfferAcceptedTimestamp": row.accepted, "AddressTransferStatus": "accepted"}
