"""ModifyNetworkInterfaceAttribute, ResetNetworkInterfaceAttribute and DescribeNetworkInterfaceAttribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from econe_api.actions import group_lookup, interface_request, interface_rows, new_interfaces
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import interface_groups, interfaces
from econe_api.store.transaction import Transaction

# Built once: to build a statement takes longer than to execute it.
_GROUPS = select(interface_groups.c.group).where(interface_groups.c.interface == bindparam("its_interface"))
_LEAVE = delete(interface_groups).where(interface_groups.c.interface == bindparam("its_interface"))
_JOIN = insert(interface_groups)


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Change one attribute of an interface."""
    params = call.params
    require(params, "NetworkInterfaceId")
    refuse_unsupported(params, frozenset({"NetworkInterfaceId", *_MODIFIERS}), {"AssociatePublicIpAddress": (False,)})
    row = interface_rows.one(txn, params["NetworkInterfaceId"])
    asked = [name for name in _MODIFIERS if params.get(name) is not None]
    if len(asked) != 1:
        reason = (
            "No attributes specified."
            if not asked
            else "Fields for multiple attribute types specified: " + (", ".join(asked))
        )
        raise Ec2Error("InvalidParameterCombination", reason)
    _MODIFIERS[asked[0]](txn, row, params[asked[0]])
    return {}


def _set_description(txn: Transaction, row: Row[Any], asked: Mapping[str, Any]) -> None:
    _update(txn, row, description=interface_request.description(asked.get("Value")))


def _set_source_dest_check(_txn: Transaction, _row: Row[Any], asked: Mapping[str, Any]) -> None:
    if asked.get("Value") is None:
        raise Ec2Error("MissingParameter", "The request must contain the parameter sourceDestCheck")
    if not asked["Value"]:
        raise Ec2Error(
            "UnsupportedOperation",
            "Source/destination checking cannot be switched off in this cloud: an interface sends and receives "
            "under its own addresses only",
        )


def _set_groups(txn: Transaction, interface: Row[Any], asked: Any) -> None:
    if not asked:
        raise Ec2Error("MissingParameter", "The request must contain the parameter groupId")
    rows = group_lookup.resolve(txn, asked, [])
    if any(row.vpc != interface.vpc for row in rows):
        raise Ec2Error("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
    new_interfaces.refuse_many_groups(txn, len(rows))
    if {row.id for row in rows} == set(txn.connection.scalars(_GROUPS, {"its_interface": interface.id})):
        return
    txn.connection.execute(_LEAVE, {"its_interface": interface.id})
    txn.connection.execute(_JOIN, [{"interface": interface.id, "group": row.id} for row in rows])
    txn.touch(Kind.INTERFACE, interface.id)


def _set_attachment(txn: Transaction, row: Row[Any], asked: Mapping[str, Any]) -> None:
    refuse_unsupported(asked, frozenset({"AttachmentId", "DeleteOnTermination"}))
    require(asked, "AttachmentId", "DeleteOnTermination")
    if row.attachment != asked["AttachmentId"]:
        raise Ec2Error("InvalidAttachmentID.NotFound", f"The attachment ID '{asked['AttachmentId']}' does not exist")
    _update(txn, row, delete_on_termination=asked["DeleteOnTermination"])


_MODIFIERS: Mapping[str, Callable[[Transaction, Row[Any], Any], None]] = {
    "Attachment": _set_attachment,
    "Description": _set_description,
    "Groups": _set_groups,
    "SourceDestCheck": _set_source_dest_check,
}


def _update(txn: Transaction, row: Row[Any], **columns: Any) -> None:
    txn.connection.execute(update(interfaces).where(interfaces.c.id == row.id).values(**columns))


def reset(call: Call, txn: Transaction) -> dict[str, Any]:
    """Switch source/destination checking on: it is on."""
    params = call.params
    require(params, "NetworkInterfaceId")
    refuse_unsupported(params, frozenset({"NetworkInterfaceId", "SourceDestCheck"}))
    interface_rows.named(txn, [params["NetworkInterfaceId"]])
    if not given(params, "SourceDestCheck"):
        raise Ec2Error("InvalidParameterCombination", "No attributes specified.")
    return {}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show one attribute of an interface."""
    params = call.params
    require(params, "NetworkInterfaceId")
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    name = params.get("Attribute")
    if not name:
        raise Ec2Error("InvalidParameterCombination", "No attributes specified.")
    if name not in _ATTRIBUTES:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({name}) for parameter attribute is invalid. Unknown attribute."
        )
    return {"NetworkInterfaceId": view.row.id} | _ATTRIBUTES[name](view)


def _attachment(view: InterfaceView) -> dict[str, Any]:
    return {} if view.row.instance is None else {"Attachment": interface_rows.attached_to(view)}


_ATTRIBUTES: Mapping[str, Callable[[InterfaceView], dict[str, Any]]] = {
    "associatePublicIpAddress": lambda _view: {"AssociatePublicIpAddress": False},
    "attachment": _attachment,
    "description": lambda view: {"Description": {"Value": view.row.description}},
    "groupSet": lambda view: {"Groups": interface_rows.group_shapes(view)},
    "sourceDestCheck": lambda _view: {"SourceDestCheck": {"Value": True}},
}
