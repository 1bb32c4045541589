"""DescribeInstances, TerminateInstances and ModifyInstanceAttribute."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import delete, insert, update

from econe_api.actions import group_lookup, instance_filters, instance_rows, new_interfaces, pagination
from econe_api.actions.filters import Filters
from econe_api.actions.instance_rows import ENDED, InstanceView
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store import attachments
from econe_api.store.records import Kind
from econe_api.store.schema import instances, interface_groups
from econe_api.store.transaction import Transaction

_REASON = ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show instances by reservation: all, or those named, that pass the filters."""
    params = call.params
    pagination.check(params, "InstanceIds")
    filters: Filters[InstanceView] = Filters(params.get("Filters"), instance_filters.FIELDS, tagged=True)
    if params.get("InstanceIds"):
        views = instance_rows.named(txn, params["InstanceIds"])
    else:
        views = instance_rows.load(txn, instance_rows.visible(txn), *filters.clauses())
    found = [view for view in views if filters.matches(view, view.tags)]
    shown, token = pagination.page(found, _order, params, call.action)
    by_reservation = defaultdict(list)
    for view in shown:
        by_reservation[view.row.reservation].append(instance_rows.instance(view))
    reservations = [
        {"ReservationId": reservation, "OwnerId": txn.account, "Groups": [], "Instances": members}
        for reservation, members in by_reservation.items()
    ]
    return {"Reservations": reservations} | ({"NextToken": token} if token else {})


def _order(view: InstanceView) -> tuple[str, str, int]:
    return f"{view.row.launched:%Y%m%d%H%M%S}", view.row.reservation, view.row.launch_index


def terminate(call: Call, txn: Transaction) -> dict[str, Any]:
    """End instances: interfaces go unless they outlive them, elastic IPs stay the account's; an ended one stays."""
    if not given(call.params, "InstanceIds"):
        raise Ec2Error("InvalidParameterCombination", "No instances specified")
    views = instance_rows.named(txn, call.params["InstanceIds"])
    ending = [view for view in views if view.row.state not in ENDED]
    attachments.end_instances(txn, [view.row.id for view in ending])
    txn.connection.execute(
        update(instances)
        .where(instances.c.id.in_([view.row.id for view in ending]))
        .values(state="shutting-down", reason_code=_REASON[0], reason=_REASON[1])
    )
    return {"TerminatingInstances": [_change(view) for view in views]}


def _change(view: InstanceView) -> dict[str, Any]:
    before = view.row.state
    return {
        "InstanceId": view.row.id,
        "PreviousState": instance_rows.state(before),
        "CurrentState": instance_rows.state(before if before in ENDED else "shutting-down"),
    }


def modify_attribute(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an instance's interface other security groups."""
    params = call.params
    require(params, "InstanceId")
    refuse_unsupported(params, frozenset({"InstanceId", "Groups"}))
    view = instance_rows.named(txn, [params["InstanceId"]])[0]
    if not given(params, "Groups"):
        raise Ec2Error("InvalidParameterCombination", "No attributes specified.")
    if not view.interfaces:
        raise Ec2Error(
            "IncorrectInstanceState",
            f"The instance '{view.row.id}' is not in a state from which it can be modified ({view.row.state})",
        )
    if len(view.interfaces) > 1:
        raise Ec2Error(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{view.row.id}'. "
            "Please specify an interface ID for the operation instead.",
        )
    link = view.interfaces[0]
    rows = group_lookup.resolve(txn, params["Groups"], [])
    if any(row.vpc != link.row.vpc for row in rows):
        raise Ec2Error("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
    new_interfaces.refuse_many_groups(txn, len(rows))
    wanted = [row.id for row in rows]
    if sorted(wanted) != [group for group, _ in link.groups]:
        txn.connection.execute(delete(interface_groups).where(interface_groups.c.interface == link.row.id))
        txn.connection.execute(
            insert(interface_groups), [{"interface": link.row.id, "group": group} for group in wanted]
        )
        txn.touch(Kind.INTERFACE, link.row.id)
    return {}
