"""CreateNetworkInterface, DeleteNetworkInterface and DescribeNetworkInterfaces."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from econe_api.actions import (
    interface_filters,
    interface_limits,
    interface_request,
    interface_rows,
    ipv6,
    launch_request,
    networks,
    new_interfaces,
    pagination,
    private_addresses,
    tag_rows,
)
from econe_api.actions.filters import Filters
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.new_interfaces import NewInterfaces
from econe_api.actions.parameters import refuse_unsupported, require
from econe_api.actions.private_addresses import FreeAddresses
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store import attachments
from econe_api.store.schema import interfaces
from econe_api.store.transaction import Transaction

_CREATE = interface_request.ADDRESSES | {"SubnetId", "Description", "Groups", "TagSpecifications", "ClientToken"}


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make an interface that is attached to nothing; a ClientToken that comes again answers with the first one."""
    params = call.params
    require(params, "SubnetId")
    supported = _CREATE | interface_request.ipv6_parameters(txn.config)
    refuse_unsupported(params, supported, interface_request.NEUTRAL)
    token = launch_request.check_token(params.get("ClientToken"))
    asked, six = private_addresses.parse(params), ipv6.parse(params, 1)
    description = interface_request.description(params.get("Description"))
    tags = tag_rows.specified(params, "network-interface").get("network-interface", {})
    fingerprint = launch_request.fingerprint(params)
    earlier = _earlier(txn, token, fingerprint)
    if earlier is not None:
        return _answer(txn, earlier, token)
    subnet = networks.subnet(txn, params["SubnetId"])
    chosen = new_interfaces.choose_groups(txn, subnet, params.get("Groups") or ())
    interface_limits.refuse_addresses(txn, None, asked.wanted)
    made = NewInterfaces()
    interface = made.add(
        txn,
        subnet,
        FreeAddresses.of(txn, subnet.id).choose(subnet, asked),
        ipv6.choose(txn, subnet, six, 1)[0],
        chosen,
        description=description,
        client_token=token,
        fingerprint=fingerprint if token else None,
    )
    made.insert(txn, tags)
    return _answer(txn, interface, token)


def _earlier(txn: Transaction, token: str | None, fingerprint: str) -> str | None:
    if token is None:
        return None
    row = txn.connection.execute(
        select(interfaces.c.id, interfaces.c.fingerprint).where(
            interface_rows.own(txn), interfaces.c.client_token == token
        )
    ).first()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise launch_request.token_mismatch()
    return str(row.id)


def _answer(txn: Transaction, interface: str, token: str | None) -> dict[str, Any]:
    view = interface_rows.named(txn, [interface])[0]
    shape = {"NetworkInterface": interface_rows.network_interface(view)}
    return shape | ({"ClientToken": token} if token else {})


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Delete an interface that is attached to nothing."""
    params = call.params
    require(params, "NetworkInterfaceId")
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    if view.row.instance is not None:
        # The code that EC2 really answers with; its list of codes has InvalidNetworkInterface.InUse for this.
        raise Ec2Error("InvalidParameterValue", f"Network interface '{view.row.id}' is currently in use.")
    attachments.remove(txn, [view.row.id])
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show interfaces: all, or those named, that pass the filters."""
    params = call.params
    pagination.check(params, "NetworkInterfaceIds")
    filters: Filters[InterfaceView] = Filters(params.get("Filters"), interface_filters.fields(txn.config), tagged=True)
    if params.get("NetworkInterfaceIds"):
        views = interface_rows.named(txn, params["NetworkInterfaceIds"])
    else:
        views = interface_rows.load(txn, interface_rows.own(txn), *filters.clauses())
    found = [view for view in views if filters.matches(view, view.tags)]
    shown, token = pagination.page(found, lambda view: (view.row.id,), params, call.action)
    answer = [interface_rows.network_interface(view) for view in shown]
    return {"NetworkInterfaces": answer} | ({"NextToken": token} if token else {})
