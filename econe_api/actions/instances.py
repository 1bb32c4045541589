"""DescribeInstances, MonitorInstances and UnmonitorInstances."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import update

from econe_api.actions import instance_filters, instance_rows, pagination
from econe_api.actions.filters import Filters
from econe_api.actions.instance_rows import InstanceView
from econe_api.actions.parameters import given
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.schema import instances
from econe_api.store.transaction import Transaction


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


def monitor(call: Call, txn: Transaction) -> dict[str, Any]:
    """Note that detailed monitoring is wanted; it is shown and nothing else."""
    return _monitoring(call, txn, wanted=True)


def unmonitor(call: Call, txn: Transaction) -> dict[str, Any]:
    """Note that detailed monitoring is not wanted."""
    return _monitoring(call, txn, wanted=False)


def _monitoring(call: Call, txn: Transaction, *, wanted: bool) -> dict[str, Any]:
    if not given(call.params, "InstanceIds"):
        raise Ec2Error("InvalidParameterCombination", "No instances specified")
    ids = [view.row.id for view in instance_rows.named(txn, call.params["InstanceIds"])]
    txn.connection.execute(update(instances).where(instances.c.id.in_(ids)).values(monitoring=wanted))
    return {
        "InstanceMonitorings": [
            {"InstanceId": instance, "Monitoring": instance_rows.monitoring(wanted=wanted)} for instance in ids
        ]
    }
