"""AllocateAddress, ReleaseAddress and DescribeAddresses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, or_, select, update

from econe_api.actions import address_attributes, address_pools, address_rows, address_transfers, tag_rows
from econe_api.actions.filters import Filters
from econe_api.actions.parameters import exactly_one, ipv4, refuse_unsupported
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import addresses, pools
from econe_api.store.transaction import Transaction

_ALLOCATE = frozenset({"Domain", "Address", "PublicIpv4Pool", "NetworkBorderGroup", "TagSpecifications"})
# Built once, because an allocation asks nothing else.
_NEXT = select(addresses).where(addresses.c.allocation.is_(None)).order_by(addresses.c.pool, addresses.c.sort).limit(1)
_NEXT_OF_POOL = _NEXT.where(addresses.c.pool == bindparam("wanted_pool"))
_GIVE = (
    update(addresses)
    .where(addresses.c.public_ip == bindparam("address"))
    .values(allocation=bindparam("its_allocation"), account=bindparam("its_owner"))
)


def allocate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give the caller the first free address (of a pool, if one is named), or the one asked for; five per account.

    The pool ``amazon`` means any.
    """
    params = call.params
    _check_allocate(call, txn)
    tags = tag_rows.specified(params, "elastic-ip").get("elastic-ip", {})
    address_rows.check_quota(txn)
    row = _free(txn, params.get("Address"), params.get("PublicIpv4Pool"))
    allocation = txn.new_id("eipalloc")
    txn.connection.execute(_GIVE, {"address": row.public_ip, "its_allocation": allocation, "its_owner": txn.account})
    txn.note_address(row.public_ip)
    tag_rows.write(txn, "elastic-ip", [allocation], tags)
    return {
        "PublicIp": row.public_ip,
        "AllocationId": allocation,
        "Domain": "vpc",
        "PublicIpv4Pool": row.pool,
        "NetworkBorderGroup": txn.config.region,
    }


def _check_allocate(call: Call, txn: Transaction) -> None:
    params = call.params
    refuse_unsupported(params, _ALLOCATE)
    if params.get("Domain") not in (None, "", "vpc"):
        raise Ec2Error("InvalidParameterValue", f"Value ({params['Domain']}) for parameter domain is invalid.")
    _check_border_group(call, txn)
    pool = params.get("PublicIpv4Pool")
    if pool not in (None, "", address_pools.ANY) and not txn.connection.scalar(
        select(pools.c.name).where(pools.c.name == pool)
    ):
        raise address_pools.not_found(pool)


def _check_border_group(call: Call, txn: Transaction) -> None:
    group = call.params.get("NetworkBorderGroup")
    if group not in (None, "", txn.config.region):
        raise Ec2Error("InvalidParameterValue", f"Value ({group}) for parameter networkBorderGroup is invalid.")


def _free(txn: Transaction, wanted: str | None, pool: str | None) -> Row[Any]:
    of_pool = bool(pool) and pool != address_pools.ANY
    if wanted:
        query = select(addresses).where(addresses.c.pool == pool) if of_pool else select(addresses)
        text = ipv4(wanted, "address")
        row = txn.connection.execute(query.where(addresses.c.public_ip == text)).first()
        # An address of another account's and one outside the pools are told apart by nothing.
        if row is None or row.account not in (None, txn.account):
            raise Ec2Error("InvalidAddress.NotFound", f"Address '{text}' not found.")
        if row.account is not None:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {text} is in use.")
        return row
    row = txn.connection.execute(_NEXT_OF_POOL if of_pool else _NEXT, {"wanted_pool": pool} if of_pool else {}).first()
    if row is None:
        raise Ec2Error(
            "InsufficientAddressCapacity", "Not enough available addresses to satisfy your minimum request.", 500
        )
    return row


def release(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an address back; in the default VPC it is disassociated on the way, in another it must not be in use.

    An address with a reverse name stays until that is reset.  PublicIp alone will do as well, unless
    ``api.release_by_public_ip`` is false.
    """
    params = call.params
    exactly_one(params, ("AllocationId", "allocation id"), ("PublicIp", "public IP"))
    if params.get("NetworkBorderGroup") not in (None, "", txn.config.region):
        raise Ec2Error("InvalidAddress.NotFound", f"There is no such address in '{params['NetworkBorderGroup']}'.")
    if params.get("AllocationId"):
        row = address_rows.by_allocation(txn, params["AllocationId"])
    elif not txn.config.api.release_by_public_ip:
        raise Ec2Error("InvalidParameterValue", "You must specify an allocation id when releasing a VPC elastic IP")
    else:
        row = address_rows.by_public_ip(txn, params["PublicIp"])
    if address_attributes.has_name(txn, row.public_ip):
        raise Ec2Error(
            "InvalidAddress.PtrSet",
            f"The address with allocation id {row.allocation} cannot be released because it has a reverse DNS record.",
        )
    if row.association is not None:
        if not row.in_default_vpc:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {row.public_ip} is in use.")
        txn.touch(Kind.ADDRESS, row.public_ip)
    txn.connection.execute(
        update(addresses)
        .where(addresses.c.public_ip == row.public_ip)
        .values(allocation=None, account=None, association=None, interface=None, private_ip=None)
    )
    address_transfers.withdraw(txn, row.public_ip)
    txn.note_address(row.public_ip)
    tag_rows.forget(txn, [row.allocation])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's addresses: all, or the union of those named, that pass the filters."""
    params = call.params
    filters: Filters[Row[Any]] = Filters(params.get("Filters"), address_rows.fields(txn.config.region), tagged=True)
    public = [ipv4(text, "publicIp") for text in params.get("PublicIps") or ()]
    allocations = list(params.get("AllocationIds") or ())
    named = (
        [or_(addresses.c.public_ip.in_(public), addresses.c.allocation.in_(allocations))]
        if public or allocations
        else []
    )
    rows = address_rows.load(txn, *named, *([] if named else filters.clauses()))
    _refuse_absent(
        [text for text in public if text not in {row.public_ip for row in rows}],
        [text for text in allocations if text not in {row.allocation for row in rows}],
    )
    tags = tag_rows.load(txn, "elastic-ip", [row.allocation for row in rows])
    shown = [row for row in rows if filters.matches(row, tags[row.allocation])]
    return {"Addresses": [address_rows.address(row, tags[row.allocation], txn.config.region) for row in shown]}


def _refuse_absent(public: list[str], allocations: list[str]) -> None:
    if public:
        raise Ec2Error("InvalidAddress.NotFound", f"Address '{public[0]}' not found.")
    if allocations:
        raise Ec2Error("InvalidAllocationID.NotFound", f"The allocation ID '{allocations[0]}' does not exist")
