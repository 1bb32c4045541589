"""The actions for moves and links between EC2-Classic and VPCs.  EC2-Classic has been closed: addresses are VPCs'."""

from __future__ import annotations

from typing import Any

from econe_api.actions import address_rows, listing, networks, pagination, tag_rows, vpc_shapes
from econe_api.actions.filters import Field, Filters
from econe_api.actions.parameters import ipv4, require
from econe_api.actions.vpc_shapes import Vpc
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

_FIELDS: dict[str, Field[None]] = {"moving-status": Field(lambda _none: ())}
_LINK_FIELDS: dict[str, Field[Vpc]] = {"is-classic-link-enabled": Field(lambda _vpc: ("false",))}


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


def describe_links(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show VPCs and that none is linked to EC2-Classic."""
    shown, _ = listing.choose(call, vpc_shapes.load(txn), "VpcIds", _LINK_FIELDS, networks.no_vpc)
    return {"Vpcs": [{"VpcId": vpc.id, "ClassicLinkEnabled": False, "Tags": tag_rows.shape(vpc.tags)} for vpc in shown]}


def describe_link_dns(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show VPCs and that none resolves names of linked instances."""
    shown, more = listing.choose(call, vpc_shapes.load(txn), "VpcIds", {}, networks.no_vpc)
    return {"Vpcs": [{"VpcId": vpc.id, "ClassicLinkDnsSupported": False} for vpc in shown]} | more
