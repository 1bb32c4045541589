"""DescribeInstanceStatus, GetConsoleOutput and GetPasswordData: what is known of instances besides their rows.

The system status tells whether the hypervisor can be reached: the controller has its switch and its agent.  The
instance status tells whether the instance runs there as the compute worker saw it last, with its ports on the bridge.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select

from econe_api import inquiries
from econe_api.actions import identifiers, instance_rows, pagination, zones
from econe_api.actions.filters import Field, Filters
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.store.schema import instances
from econe_api.store.transaction import Transaction
from econe_api.store.vnm_tables import IMAGE

#: The worker's last look can be older than an instance that has just been launched.
_NEW = timedelta(seconds=15)
_PASSED = {"ok": "passed", "impaired": "failed"}


@dataclass(frozen=True, slots=True)
class _Health:
    """An instance's row with its statuses: ok, impaired, initializing, insufficient-data, not-applicable."""

    row: Row[Any]
    zone_id: str
    system: str
    instance: str


def _reachability(status: str) -> tuple[str, ...]:
    return () if status == "not-applicable" else (_PASSED.get(status, status),)


_FIELDS: dict[str, Field[_Health]] = {
    "availability-zone": Field(lambda health: (health.row.zone,)),
    "availability-zone-id": Field(lambda health: (health.zone_id,)),
    "event.code": Field(lambda _health: ()),
    "event.description": Field(lambda _health: ()),
    "event.instance-event-id": Field(lambda _health: ()),
    "event.not-after": Field(lambda _health: ()),
    "event.not-before": Field(lambda _health: ()),
    "event.not-before-deadline": Field(lambda _health: ()),
    "instance-state-code": Field(lambda health: (str(instance_rows.STATES[health.row.state]),)),
    "instance-state-name": Field(lambda health: (health.row.state,)),
    "instance-status.reachability": Field(lambda health: _reachability(health.instance)),
    "instance-status.status": Field(lambda health: (health.instance,)),
    "operator.managed": Field(lambda _health: ("false",)),
    "operator.principal": Field(lambda _health: ()),
    "system-status.reachability": Field(lambda health: _reachability(health.system)),
    "system-status.status": Field(lambda health: (health.system,)),
}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the status of running instances, with IncludeAllInstances of all."""
    params = call.params
    pagination.check(params, "InstanceIds")
    filters: Filters[_Health] = Filters(params.get("Filters"), _FIELDS)
    query = select(instances).where(instance_rows.visible(txn))
    if params.get("InstanceIds"):
        wanted = identifiers.check("i", params["InstanceIds"])
        rows = list(txn.connection.execute(query.where(instances.c.id.in_(wanted))))
        instance_rows.refuse_absent(wanted, {row.id for row in rows})
    else:
        rows = list(txn.connection.execute(query))
    if not params.get("IncludeAllInstances"):
        rows = [row for row in rows if row.state == "running"]
    found = [health for health in _healths(txn, rows) if filters.matches(health)]
    shown, token = pagination.page(found, lambda health: (health.row.id,), params, call.action)
    return {"InstanceStatuses": [_shape(health) for health in shown]} | ({"NextToken": token} if token else {})


def _healths(txn: Transaction, rows: list[Row[Any]]) -> list[_Health]:
    running = [row.id for row in rows if row.state == "running" and row.image != IMAGE]  # the worker sees those
    seen = inquiries.observed(txn.config, running) if running else None
    hosts = inquiries.reached(txn.config) if any(row.state == "running" for row in rows) else None
    ids = zones.ids(txn.config)
    return [_Health(row, ids.get(row.zone, ""), _system(row, hosts), _instance(row, seen, txn.now)) for row in rows]


def _system(row: Row[Any], hosts: Mapping[str, bool] | None) -> str:
    if row.state != "running":
        return "initializing" if row.state == "pending" else "not-applicable"
    if hosts is None or row.host not in hosts:
        return "insufficient-data"
    return "ok" if hosts[row.host] else "impaired"


def _instance(row: Row[Any], seen: Mapping[str, str] | None, now: datetime) -> str:
    if row.state != "running":
        return "initializing" if row.state == "pending" else "not-applicable"
    if seen is None or row.id not in seen:
        return "insufficient-data"
    if seen[row.id] == "absent" and now - row.launched < _NEW:
        return "initializing"
    return "ok" if seen[row.id] == "running" else "impaired"


def _shape(health: _Health) -> dict[str, Any]:
    return {
        "InstanceId": health.row.id,
        "AvailabilityZone": health.row.zone,
        "AvailabilityZoneId": health.zone_id,
        "InstanceState": instance_rows.state(health.row.state),
        "SystemStatus": _summary(health.system),
        "InstanceStatus": _summary(health.instance),
        "Events": [],
    }


def _summary(status: str) -> dict[str, Any]:
    details = [{"Name": "reachability", "Status": word} for word in _reachability(status)]
    return {"Status": status, "Details": details}


def console_output(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show what an instance has said since it last booted; nothing when its backend keeps none of it."""
    row = _one(call, txn)
    said = inquiries.console(txn.config, row.id)
    if said is None:
        return {"InstanceId": row.id, "Timestamp": txn.now}
    output, seconds = said
    return {
        "InstanceId": row.id,
        "Timestamp": datetime.fromtimestamp(seconds, UTC),
        "Output": base64.b64encode(output).decode("ascii"),
    }


def password_data(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show that there is no password: no image is of Windows."""
    return {"InstanceId": _one(call, txn).id, "Timestamp": txn.now, "PasswordData": ""}


def _one(call: Call, txn: Transaction) -> Row[Any]:
    require(call.params, "InstanceId")
    (wanted,) = identifiers.check("i", [call.params["InstanceId"]])
    rows = list(txn.connection.execute(select(instances).where(instance_rows.visible(txn), instances.c.id == wanted)))
    instance_rows.refuse_absent([wanted], {row.id for row in rows})
    return rows[0]
