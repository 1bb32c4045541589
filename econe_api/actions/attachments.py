"""AttachNetworkInterface and DetachNetworkInterface."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from econe_api.actions import (
    foreign,
    identifiers,
    instance_rows,
    interface_limits,
    interface_request,
    interface_rows,
    new_interfaces,
)
from econe_api.actions.parameters import refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store import attachments
from econe_api.store.records import Kind
from econe_api.store.schema import interfaces
from econe_api.store.transaction import Transaction

_ATTACH = frozenset({"NetworkInterfaceId", "InstanceId", "DeviceIndex"})
#: States of an instance in which interfaces come and go; in all but the first there is nothing to plug in or out.
_RUNS = "running"
_STANDS = "stopped"


def attach(call: Call, txn: Transaction) -> dict[str, Any]:
    """Plug an available interface into an instance of its zone."""
    params = call.params
    require(params, *sorted(_ATTACH))
    refuse_unsupported(params, _ATTACH, {"NetworkCardIndex": (0,)})
    instance = instance_rows.named(txn, [params["InstanceId"]])[0].row
    foreign.refuse(txn, [instance.id])
    view = interface_rows.named(txn, [params["NetworkInterfaceId"]])[0]
    index = params["DeviceIndex"]
    if view.row.instance is not None:
        raise in_use(view.row.id)
    if instance.state not in (_RUNS, _STANDS):
        raise Ec2Error("IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped' ({instance.state})")
    if view.row.zone != instance.zone:
        raise Ec2Error(
            "InvalidParameterCombination",
            f"You may not attach a network interface to an instance if they are not in the same availability zone: "
            f"{view.row.id} is in {view.row.zone}, {instance.id} in {instance.zone}",
        )
    _check_index(txn, instance.id, index)
    here = interfaces.c.instance == instance.id
    count = txn.connection.scalar(select(func.count()).select_from(interfaces).where(here)) or 0
    interface_limits.refuse_interfaces(txn, instance.type, count + 1)
    interface_limits.refuse_addresses(txn, instance.type, len(view.addresses))
    state = attachments.ATTACHING if instance.state == _RUNS else attachments.ATTACHED
    columns = new_interfaces.attachment(txn, instance.id, index, state)
    txn.connection.execute(
        update(interfaces).where(interfaces.c.id == view.row.id).values(**columns, delete_on_termination=False)
    )
    txn.touch(Kind.INTERFACE, view.row.id)
    txn.awaited.append(instance.id)
    return {"AttachmentId": columns["attachment"], "NetworkCardIndex": 0}


def in_use(interface: str) -> Ec2Error:
    """The refusal to attach what is attached."""
    return Ec2Error("InvalidNetworkInterface.InUse", f"Interface: [{interface}] in use.")


def _check_index(txn: Transaction, instance: str, index: int) -> None:
    interface_request.check_index(index)
    taken = select(interfaces.c.id).where(interfaces.c.instance == instance, interfaces.c.device_index == index)
    if txn.connection.scalar(taken):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Instance '{instance}' already has an interface attached at device index '{index}'.",
        )


def detach(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take an interface from its instance: its packets stop at once; it is available when its port is gone.

    ``Force`` is accepted: no guest is asked for its consent anyway.
    """
    params = call.params
    require(params, "AttachmentId")
    refuse_unsupported(params, frozenset({"AttachmentId", "Force"}))
    attachment = params["AttachmentId"]
    identifiers.check("eni-attach", [attachment])
    found = interface_rows.load(txn, interface_rows.own(txn), interfaces.c.attachment == attachment)
    if not found:
        raise Ec2Error("InvalidAttachmentID.NotFound", f"The attachment ID '{attachment}' does not exist")
    row = found[0].row
    foreign.refuse(txn, [row.instance])
    if row.device_index == 0:
        raise Ec2Error(
            "OperationNotPermitted",
            "The network interface at device index 0 and networkCard index 0 cannot be detached.",
        )
    if row.instance_state == _STANDS:
        attachments.make_available(txn, [row.id])
        return {}
    attachments.begin_detaching(txn, [row.id])
    txn.awaited.append(row.instance)
    return {}
