"""StartInstances, StopInstances, RebootInstances, TerminateInstances: what the owner wants of instances.

Handlers write down what shall be; the compute worker brings it about ("Amazon EC2 instance state changes" in the EC2
user guide).  Several instances go together: if one may not, none does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, update

from econe_api.actions import foreign, instance_rows
from econe_api.actions.instance_rows import ENDED
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
    rows = _named(call, txn)
    for row in rows:
        if row.state not in ("stopped", "pending", "running"):
            raise _incorrect(row, "started")
    going = [row for row in rows if row.state == "stopped"]
    _update(txn, going, state="pending", reason_code=None, reason=None, launched=txn.now)
    return {"StartingInstances": _changes(rows, going, "pending")}


def stop(call: Call, txn: Transaction) -> dict[str, Any]:
    """Stop running instances: they keep interfaces, addresses and groups.  Force asks for what is done anyway."""
    refuse_unsupported(call.params, frozenset({"InstanceIds", "Force", "SkipOsShutdown", "Hibernate"}))
    rows = _named(call, txn)
    if call.params.get("Hibernate"):
        raise Ec2Error(
            "UnsupportedHibernationConfiguration", f"The instance '{rows[0].id}' is not enabled for hibernation."
        )
    for row in rows:
        if row.state == "pending":
            raise Ec2Error(
                "IncorrectInstanceState",
                f"Instance '{row.id}' cannot be stopped as it has never reached the 'running' state."
                if row.stopped is None
                else f"The instance '{row.id}' is not in a state from which it can be stopped.",
            )
        if row.state in ENDED:
            raise _incorrect(row, "stopped")
        if row.disable_api_stop and row.state == "running":
            raise _protected(row, "stopped", "disableApiStop")
    going = [row for row in rows if row.state == "running"]
    _update(txn, going, state="stopping", **_REASON)
    return {"StoppingInstances": _changes(rows, going, "stopping")}


def reboot(call: Call, txn: Transaction) -> dict[str, Any]:
    """Ask running instances to reboot; one that is about to run will have booted anew anyway."""
    rows = _named(call, txn)
    for row in rows:
        if row.state not in ("pending", "running"):
            raise Ec2Error("IncorrectState", f"The instance '{row.id}' is not in the 'running' state.")
    _update(txn, rows, reboots_asked=instances.c.reboots_asked + 1)
    return {}


def terminate(call: Call, txn: Transaction) -> dict[str, Any]:
    """End instances: interfaces go unless they outlive them, elastic IPs stay the account's; an ended one stays."""
    rows = _named(call, txn)
    ending = [row for row in rows if row.state not in ENDED]
    for row in ending:
        for attribute, protects in (
            ("disableApiTermination", row.disable_api_termination),
            ("disableApiStop", row.disable_api_stop),
        ):
            if protects:
                raise _protected(row, "terminated", attribute)
    attachments.end_instances(txn, [row.id for row in ending])
    _update(txn, ending, state="shutting-down", **_REASON)
    return {"TerminatingInstances": _changes(rows, ending, "shutting-down")}


def _named(call: Call, txn: Transaction) -> list[Row[Any]]:
    if not given(call.params, "InstanceIds"):
        raise Ec2Error("InvalidParameterCombination", "No instances specified")
    rows = instance_rows.named_rows(txn, call.params["InstanceIds"])
    foreign.refuse(txn, [row.id for row in rows])
    return rows


def _update(txn: Transaction, rows: list[Row[Any]], **values: Any) -> None:
    if rows:
        chosen = instances.c.id.in_([row.id for row in rows])
        txn.connection.execute(update(instances).where(chosen).values(**values))


def _changes(rows: list[Row[Any]], going: list[Row[Any]], state: str) -> list[dict[str, Any]]:
    moved = {row.id for row in going}
    return [
        {
            "InstanceId": row.id,
            "PreviousState": instance_rows.state(row.state),
            "CurrentState": instance_rows.state(state if row.id in moved else row.state),
        }
        for row in rows
    ]


def _incorrect(row: Row[Any], done: str) -> Ec2Error:
    return Ec2Error("IncorrectInstanceState", f"The instance '{row.id}' is not in a state from which it can be {done}.")


def _protected(row: Row[Any], done: str, attribute: str) -> Ec2Error:
    return Ec2Error(
        "OperationNotPermitted",
        f"The instance '{row.id}' may not be {done}. Modify its '{attribute}' instance attribute and try again.",
    )
