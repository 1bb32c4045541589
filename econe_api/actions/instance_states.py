"""StartInstances, StopInstances, RebootInstances, TerminateInstances: what the owner wants of instances.

Handlers write down what shall be; the compute worker brings it about ("Amazon EC2 instance state changes" in the EC2
user guide).  Several instances go together: if one may not, none does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from econe_api.actions import foreign, instance_rows
from econe_api.actions.instance_rows import ENDED, InstanceView
from econe_api.actions.parameters import given, refuse_unsupported
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store import attachments
from econe_api.store.schema import instances
from econe_api.store.transaction import Transaction

_BY_USER = "Client.UserInitiatedShutdown"
_REASON = {"reason_code": _BY_USER, "reason": f"{_BY_USER}: User initiated shutdown"}


def start(call: Call, txn: Transaction) -> dict[str, Any]:
    """Start stopped instances; those that run or are about to stay as they are."""
    refuse_unsupported(call.params, frozenset({"InstanceIds"}))
    views = _named(call, txn)
    for view in views:
        if view.row.state not in ("stopped", "pending", "running"):
            raise _incorrect(view, "started")
    going = [view for view in views if view.row.state == "stopped"]
    _update(txn, going, state="pending", reason_code=None, reason=None, launched=txn.now)
    return {"StartingInstances": _changes(views, going, "pending")}


def stop(call: Call, txn: Transaction) -> dict[str, Any]:
    """Stop running instances: they keep interfaces, addresses and groups.  Force asks for what is done anyway."""
    refuse_unsupported(call.params, frozenset({"InstanceIds", "Force", "SkipOsShutdown", "Hibernate"}))
    views = _named(call, txn)
    if call.params.get("Hibernate"):
        raise Ec2Error(
            "UnsupportedHibernationConfiguration", f"The instance '{views[0].row.id}' is not enabled for hibernation."
        )
    for view in views:
        if view.row.state == "pending":
            raise Ec2Error(
                "IncorrectInstanceState",
                f"Instance '{view.row.id}' cannot be stopped as it has never reached the 'running' state."
                if view.row.stopped is None
                else f"The instance '{view.row.id}' is not in a state from which it can be stopped.",
            )
        if view.row.state in ENDED:
            raise _incorrect(view, "stopped")
        if view.row.disable_api_stop and view.row.state == "running":
            raise _protected(view, "stopped", "disableApiStop")
    going = [view for view in views if view.row.state == "running"]
    _update(txn, going, state="stopping", **_REASON)
    return {"StoppingInstances": _changes(views, going, "stopping")}


def reboot(call: Call, txn: Transaction) -> dict[str, Any]:
    """Ask running instances to reboot; one that is about to run will have booted anew anyway."""
    views = _named(call, txn)
    for view in views:
        if view.row.state not in ("pending", "running"):
            raise Ec2Error("IncorrectState", f"The instance '{view.row.id}' is not in the 'running' state.")
    _update(txn, views, reboots_asked=instances.c.reboots_asked + 1)
    return {}


def terminate(call: Call, txn: Transaction) -> dict[str, Any]:
    """End instances: interfaces go unless they outlive them, elastic IPs stay the account's; an ended one stays."""
    views = _named(call, txn)
    ending = [view for view in views if view.row.state not in ENDED]
    for view in ending:
        for attribute, protects in (
            ("disableApiTermination", view.row.disable_api_termination),
            ("disableApiStop", view.row.disable_api_stop),
        ):
            if protects:
                raise _protected(view, "terminated", attribute)
    attachments.end_instances(txn, [view.row.id for view in ending])
    _update(txn, ending, state="shutting-down", **_REASON)
    return {"TerminatingInstances": _changes(views, ending, "shutting-down")}


def _named(call: Call, txn: Transaction) -> list[InstanceView]:
    if not given(call.params, "InstanceIds"):
        raise Ec2Error("InvalidParameterCombination", "No instances specified")
    views = instance_rows.named(txn, call.params["InstanceIds"])
    foreign.refuse(txn, [view.row.id for view in views])
    return views


def _update(txn: Transaction, views: list[InstanceView], **values: Any) -> None:
    if views:
        chosen = instances.c.id.in_([view.row.id for view in views])
        txn.connection.execute(update(instances).where(chosen).values(**values))


def _changes(views: list[InstanceView], going: list[InstanceView], state: str) -> list[dict[str, Any]]:
    moved = {view.row.id for view in going}
    return [
        {
            "InstanceId": view.row.id,
            "PreviousState": instance_rows.state(view.row.state),
            "CurrentState": instance_rows.state(state if view.row.id in moved else view.row.state),
        }
        for view in views
    ]


def _incorrect(view: InstanceView, done: str) -> Ec2Error:
    return Ec2Error(
        "IncorrectInstanceState", f"The instance '{view.row.id}' is not in a state from which it can be {done}."
    )


def _protected(view: InstanceView, done: str, attribute: str) -> Ec2Error:
    return Ec2Error(
        "OperationNotPermitted",
        f"The instance '{view.row.id}' may not be {done}. Modify its '{attribute}' instance attribute and try again.",
    )
