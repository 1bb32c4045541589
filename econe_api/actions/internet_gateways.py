"""Internet gateways: the doors of VPCs.  One is attached or it is not; the rewriting is the hypervisors' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, exists, func, select, update
from sqlalchemy import delete as delete_rows

from econe_api.actions import identifiers, listing, networks, tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.parameters import require
from econe_api.actions.tag_rows import Tags
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.network_tables import internet_gateways
from econe_api.store.quotas import INTERNET_GATEWAYS
from econe_api.store.routing import rerouted
from econe_api.store.schema import addresses, interfaces
from econe_api.store.transaction import Transaction

_KIND = "internet-gateway"


@dataclass(frozen=True, slots=True)
class _Gateway:
    """A gateway's row with its tags."""

    row: Row[Any]
    tags: Tags

    @property
    def id(self) -> str:
        """The gateway's id."""
        return str(self.row.id)


_FIELDS: dict[str, Field[_Gateway]] = {
    "attachment.state": Field(lambda view: ("available",) if view.row.vpc is not None else ()),
    "attachment.vpc-id": Field(lambda view: (view.row.vpc,)),
    "internet-gateway-id": Field(lambda view: (view.id,)),
    "owner-id": Field(lambda view: (view.row.account,)),
}


def _absent(gateway: str) -> Ec2Error:
    return Ec2Error("InvalidInternetGatewayID.NotFound", f"The internetGateway ID '{gateway}' does not exist")


def _load(txn: Transaction) -> list[_Gateway]:
    rows = list(txn.connection.execute(select(internet_gateways).where(internet_gateways.c.account == txn.account)))
    tags = tag_rows.load(txn, _KIND, [row.id for row in rows])
    return [_Gateway(row, tags[row.id]) for row in rows]


def _named(txn: Transaction, gateway: str) -> Row[Any]:
    identifiers.check("igw", [gateway])
    mine = internet_gateways.c.account == txn.account
    row = txn.connection.execute(select(internet_gateways).where(mine, internet_gateways.c.id == gateway)).first()
    if row is None:
        raise _absent(gateway)
    return row


def _shape(view: _Gateway) -> dict[str, Any]:
    row = view.row
    return {
        "InternetGatewayId": row.id,
        "OwnerId": row.account,
        "Attachments": [{"State": "available", "VpcId": row.vpc}] if row.vpc is not None else [],
        "Tags": tag_rows.shape(view.tags),
    }


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a gateway that is attached to nothing yet."""
    tags = tag_rows.specified(call.params, _KIND).get(_KIND, {})
    mine = internet_gateways.c.account == txn.account
    count = txn.connection.scalar(select(func.count()).select_from(internet_gateways).where(mine)) or 0
    if count >= txn.quota(INTERNET_GATEWAYS):
        raise Ec2Error("InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached.")
    gateway = txn.new_id("igw")
    txn.connection.execute(internet_gateways.insert().values(id=gateway, account=txn.account, vpc=None))
    tag_rows.write(txn, _KIND, [gateway], tags)
    view = next(view for view in _load(txn) if view.id == gateway)
    return {"InternetGateway": _shape(view)}


def attach(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give a VPC its gateway."""
    require(call.params, "InternetGatewayId", "VpcId")
    gateway = _named(txn, call.params["InternetGatewayId"])
    vpc = networks.vpc(txn, call.params["VpcId"]).id
    if gateway.vpc is not None:
        raise Ec2Error(
            "Resource.AlreadyAssociated", f"resource {gateway.id} is already attached to network {gateway.vpc}"
        )
    if networks.reaches_outside(txn, vpc):
        raise Ec2Error("InvalidParameterValue", f"Network {vpc} already has an internet gateway attached")
    with rerouted(txn, vpc):
        _set(txn, gateway.id, vpc)
    return {}


def detach(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take a VPC's gateway from it; routes to it lead nowhere then."""
    require(call.params, "InternetGatewayId", "VpcId")
    gateway = _named(txn, call.params["InternetGatewayId"])
    vpc = networks.vpc(txn, call.params["VpcId"]).id
    if gateway.vpc != vpc:
        raise Ec2Error("Gateway.NotAttached", f"resource {gateway.id} is not attached to network {vpc}")
    mapped = exists().where(addresses.c.interface == interfaces.c.id, interfaces.c.vpc == vpc)
    if txn.connection.scalar(select(mapped)):
        raise Ec2Error(
            "DependencyViolation",
            f"Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching "
            "the gateway.",
        )
    with rerouted(txn, vpc):
        _set(txn, gateway.id, None)
    return {}


def _set(txn: Transaction, gateway: str, vpc: str | None) -> None:
    txn.connection.execute(update(internet_gateways).where(internet_gateways.c.id == gateway).values(vpc=vpc))


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete a gateway that is attached to nothing."""
    require(call.params, "InternetGatewayId")
    gateway = _named(txn, call.params["InternetGatewayId"])
    if gateway.vpc is not None:
        raise Ec2Error(
            "DependencyViolation", f"The internetGateway '{gateway.id}' has dependencies and cannot be deleted."
        )
    txn.connection.execute(delete_rows(internet_gateways).where(internet_gateways.c.id == gateway.id))
    tag_rows.forget(txn, [gateway.id])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show gateways: all, or those named, that pass the filters."""
    identifiers.check("igw", call.params.get("InternetGatewayIds") or ())
    shown, more = listing.choose(call, _load(txn), "InternetGatewayIds", _FIELDS, _absent)
    return {"InternetGateways": [_shape(view) for view in shown]} | more
