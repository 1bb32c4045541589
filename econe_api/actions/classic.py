"""The actions for moves between EC2-Classic and VPCs.  EC2-Classic has been closed: every address is a VPC's."""

from __future__ import annotations

from typing import Any

from econe_api.actions import address_rows, pagination
from econe_api.actions.filters import Field, Filters
from econe_api.actions.parameters import ipv4, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

_FIELDS: dict[str, Field[None]] = {"moving-status": Field(lambda _none: ())}


def describe_moving(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the addresses that are being moved: none, there is nowhere to move them to or from."""
    pagination.check(call.params)
    Filters(call.params.get("Filters"), _FIELDS)
    for text in call.params.get("PublicIps") or ():
        ipv4(text, "publicIp")
    return {"MovingAddressStatuses": []}


def refuse_move(call: Call, txn: Transaction) -> dict[str, Any]:
    """Refuse a move of an address of the caller's, after the check of the address."""
    require(call.params, "PublicIp")
    address_rows.by_public_ip(txn, call.params["PublicIp"])
    raise Ec2Error("UnsupportedOperation", "EC2-Classic is not available: all addresses are for use in a VPC")
