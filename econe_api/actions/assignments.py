"""AssignPrivateIpAddresses, UnassignPrivateIpAddresses, AssignIpv6Addresses and UnassignIpv6Addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from econe_api.actions import interface_limits, interface_rows, ipv6, networks, private_addresses
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.parameters import given, ipv4, refuse_unsupported, require
from econe_api.actions.private_addresses import FreeAddresses
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import addresses, interfaces, ipv6_addresses, secondary_addresses
from econe_api.store.transaction import Transaction

_NO_PREFIXES = {"Ipv4PrefixCount": (0,), "Ipv6PrefixCount": (0,)}


def assign_private(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an interface secondary addresses: those named, or as many as asked for.

    ``AllowReassignment`` takes a named one from another interface, with its elastic IP.
    """
    params = call.params
    require(params, "NetworkInterfaceId")
    named = frozenset(
        {"NetworkInterfaceId", "PrivateIpAddresses", "SecondaryPrivateIpAddressCount", "AllowReassignment"}
    )
    refuse_unsupported(params, named, _NO_PREFIXES)
    wanted = _wanted(params)
    count = params.get("SecondaryPrivateIpAddressCount") or 0
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    present = {address.ip for address in view.addresses}
    fresh = [address for address in wanted if address not in present]
    interface_limits.refuse_addresses(txn, view.row.instance_type, len(present) + len(fresh) + count)
    subnet = networks.subnet(txn, view.row.subnet)
    free = FreeAddresses.of(txn, subnet.id)
    if params.get("AllowReassignment"):
        for address in fresh:
            if address in free.used[subnet.id]:
                _take_away(txn, view, address)
                free.used[subnet.id].discard(address)
    given_to = [*(free.claim(subnet, address) for address in fresh), *free.take(subnet, count)]
    _add(txn, view, given_to)
    return {
        "NetworkInterfaceId": view.row.id,
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in (*wanted, *given_to[len(fresh) :])],
    }


def _wanted(params: Any) -> list[str]:
    """The addresses that a request names, checked against a count beside them."""
    count = params.get("SecondaryPrivateIpAddressCount")
    if given(params, "PrivateIpAddresses") == (count is not None):
        raise Ec2Error(
            "InvalidParameterCombination" if count is not None else "MissingParameter",
            "Exactly one of privateIpAddresses and secondaryPrivateIpAddressCount must be specified",
        )
    if count is not None and count < 1:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid."
        )
    wanted = [ipv4(text, "privateIpAddress") for text in params.get("PrivateIpAddresses") or ()]
    private_addresses.refuse_repeats(wanted)
    return wanted


def _take_away(txn: Transaction, view: InterfaceView, address: str) -> None:
    """Take a secondary address from another interface of the caller's; its elastic IP comes along."""
    row = txn.connection.execute(
        select(secondary_addresses.c.interface)
        .join(interfaces, interfaces.c.id == secondary_addresses.c.interface)
        .where(
            interface_rows.own(txn),
            secondary_addresses.c.vpc == view.row.vpc,
            secondary_addresses.c.address == address,
        )
    ).first()
    if row is None:
        # What is in use and no secondary address is somebody's primary one, which stays where it is.
        raise Ec2Error(
            "InvalidParameterValue", f"Address {address} is a primary private IP address and cannot be reassigned"
        )
    _drop(txn, view.row.vpc, [address])
    txn.touch(Kind.INTERFACE, row.interface)
    held = (addresses.c.interface == row.interface) & (addresses.c.private_ip == address)
    public = txn.connection.scalar(select(addresses.c.public_ip).where(held))
    if public is not None:
        txn.connection.execute(update(addresses).where(held).values(interface=view.row.id))
        txn.touch(Kind.ADDRESS, public)


def _add(txn: Transaction, view: InterfaceView, fresh: Sequence[str]) -> None:
    if not fresh:
        return
    mine = secondary_addresses.c.interface == view.row.id
    last = txn.connection.scalar(select(func.max(secondary_addresses.c.sort)).where(mine))
    rows = private_addresses.secondary_rows(view.row.vpc, view.row.id, tuple(fresh), 0 if last is None else last + 1)
    txn.connection.execute(insert(secondary_addresses), rows)
    txn.touch(Kind.INTERFACE, view.row.id)


def unassign_private(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take secondary addresses from an interface; their elastic IPs are disassociated."""
    params = call.params
    require(params, "NetworkInterfaceId", "PrivateIpAddresses")
    refuse_unsupported(params, frozenset({"NetworkInterfaceId", "PrivateIpAddresses"}))
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    going = list(dict.fromkeys(ipv4(text, "privateIpAddress") for text in params["PrivateIpAddresses"]))
    if view.row.private_ip in going:
        raise Ec2Error(
            "InvalidParameterValue",
            f"{view.row.private_ip} is the primary private IP address of {view.row.id} and cannot be unassigned",
        )
    if not set(going) <= {address.ip for address in view.addresses}:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Some of [{', '.join(going)}] addresses are not assigned to interface {view.row.id}",
        )
    for address in view.addresses:
        if address.ip in going and address.elastic is not None:
            _disassociate(txn, address.elastic)
    _drop(txn, view.row.vpc, going)
    txn.touch(Kind.INTERFACE, view.row.id)
    return {}


def _drop(txn: Transaction, vpc: str, going: Sequence[str]) -> None:
    txn.connection.execute(
        delete(secondary_addresses).where(secondary_addresses.c.vpc == vpc, secondary_addresses.c.address.in_(going))
    )


def _disassociate(txn: Transaction, elastic: Row[Any]) -> None:
    txn.connection.execute(
        update(addresses)
        .where(addresses.c.public_ip == elastic.public_ip)
        .values(association=None, interface=None, private_ip=None)
    )
    txn.touch(Kind.ADDRESS, elastic.public_ip)


def assign_ipv6(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an interface IPv6 addresses: those named, or as many as asked for."""
    params = call.params
    require(params, "NetworkInterfaceId")
    refuse_unsupported(params, frozenset({"NetworkInterfaceId", "Ipv6Addresses", "Ipv6AddressCount"}), _NO_PREFIXES)
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    asked = {
        "Ipv6AddressCount": params.get("Ipv6AddressCount"),
        "Ipv6Addresses": [{"Ipv6Address": text} for text in params.get("Ipv6Addresses") or ()],
    }
    request = ipv6.parse(asked, 1)
    if not request.wanted:
        raise Ec2Error("MissingParameter", "Either ipv6Addresses or ipv6AddressCount must be specified")
    if len(view.ipv6) + request.wanted > ipv6.MOST_ADDRESSES:
        raise Ec2Error("PrivateIpAddressLimitExceeded", "Number of IPv6 addresses will exceed limit.")
    chosen = ipv6.choose(txn, networks.subnet(txn, view.row.subnet), request, 1)[0]
    mine = ipv6_addresses.c.interface == view.row.id
    last = txn.connection.scalar(select(func.max(ipv6_addresses.c.sort)).where(mine))
    first = 0 if last is None else last + 1
    rows = [row | {"sort": row["sort"] + first} for row in ipv6.rows(view.row.vpc, view.row.id, chosen)]
    txn.connection.execute(insert(ipv6_addresses), rows)
    txn.touch(Kind.INTERFACE, view.row.id)
    return {"NetworkInterfaceId": view.row.id, "AssignedIpv6Addresses": list(chosen)}


def unassign_ipv6(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take IPv6 addresses from an interface."""
    params = call.params
    require(params, "NetworkInterfaceId", "Ipv6Addresses")
    refuse_unsupported(params, frozenset({"NetworkInterfaceId", "Ipv6Addresses"}))
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    going = list(dict.fromkeys(ipv6.canonical(text) for text in params["Ipv6Addresses"]))
    if not set(going) <= set(view.ipv6):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Some of [{', '.join(going)}] addresses are not assigned to interface {view.row.id}",
        )
    mine = (ipv6_addresses.c.interface == view.row.id) & ipv6_addresses.c.address.in_(going)
    txn.connection.execute(delete(ipv6_addresses).where(mine))
    txn.touch(Kind.INTERFACE, view.row.id)
    return {"NetworkInterfaceId": view.row.id, "UnassignedIpv6Addresses": going}
