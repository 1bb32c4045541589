"""``scripts/bench associate``: from AssociateAddress to its flows, with 200 and with 8,000 instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks import scale_rows
from benchmarks.result import json_option, report
from benchmarks.scale_lab import ScaleLab, median, per_call, timed
from benchmarks.scale_rows import CALLS, PEER_CALLS, WITHOUT, Figure, Layout, without_data_plane

_GOAL_MS = 10.0
_ADDRESSES = 8


@click.command("associate")
@scale_rows.options
@json_option
def command(vms: tuple[int, ...], bridges: int, file: Path | None) -> None:
    """Associate an elastic IP: from the call until the switch has acknowledged; beside OVN's lr-nat-add."""
    report(scale_rows.measure(vms, [Layout(bridges, ours)], lambda cloud: cloud.associate(PEER_CALLS)), file)


def ours(lab: ScaleLab) -> list[Figure]:
    """Associate and take back, each time another address and another instance."""
    tenant = lab.tenant
    ec2 = lab.ec2(tenant.keys)
    addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(_ADDRESSES)]
    made: dict[int, str] = {}

    def wanted(number: int) -> dict[str, Any]:
        guest = tenant.guests[number % len(tenant.guests)]
        return {"AllocationId": addresses[number % _ADDRESSES], "NetworkInterfaceId": guest.interface}

    def step(number: int) -> None:
        made[number] = ec2.associate_address(**wanted(number))["AssociationId"]

    def undo(number: int) -> None:
        ec2.disassociate_address(AssociationId=made[number])

    timed(5, step, undo)
    before = lab.status()
    values = timed(CALLS, step, undo)
    counters: dict[str, Any] = per_call(before, lab.status(), CALLS)
    # An address that comes and goes: 4 flow-mods and a bundle each, and one fragment to compile.
    counters["sql_statements"] = lab.filler.cost(tenant.caller, "AssociateAddress", **wanted(0))
    counters["call_without_data_plane_ms"] = without_data_plane(ec2, tenant.guests[0].instance)
    method = (
        "boto3 over HTTP, durable SQLite, real OpenFlow; counters are of one association and its end together. "
        f"{WITHOUT}"
    )
    return [Figure("associate", median(values), _GOAL_MS, counters, method)]
