"""``scripts/bench authorize``: one more rule in a group of one host, and in one that every hypervisor has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks import scale_rows
from benchmarks.result import json_option, report
from benchmarks.scale_cloud import Census, Filler, Tenant
from benchmarks.scale_lab import ScaleLab, median, per_call, timed
from benchmarks.scale_rows import PEER_CALLS, WITHOUT, Figure, Layout, without_data_plane

_ONE_HOST_MS = 10.0
_ALL_HOSTS_MS = 250.0
_CALLS = 30
_SINGLE = "single"


@click.command("authorize")
@scale_rows.options
@json_option
def command(vms: tuple[int, ...], bridges: int, file: Path | None) -> None:
    """Allow one more port in a group: on one host, and on all of them; beside OVN's acl-add on a port group."""
    layouts = [Layout(bridges, ours), Layout(None, ours_in_one)]
    report(scale_rows.measure(vms, layouts, lambda cloud: cloud.authorize(PEER_CALLS), prepare), file)


def prepare(filler: Filler, census: Census) -> None:
    """A group of one instance, for the change that one host alone hears of."""
    tenant = _other(census)
    group = filler.group(tenant, _SINGLE)
    wanted = {"NetworkInterfaceId": tenant.guests[0].interface, "Groups": [group]}
    filler.call(tenant.caller, "ModifyNetworkInterfaceAttribute", **wanted)


def ours(lab: ScaleLab) -> list[Figure]:
    """Both groups, a rule more at each call."""
    tenant = _other(lab.census)
    found = lab.filler.call(
        tenant.caller, "DescribeSecurityGroups", Filters=[{"Name": "group-name", "Values": [_SINGLE]}]
    )
    single = str(found["SecurityGroups"][0]["GroupId"])
    return [
        _figure("authorize, one host", lab, tenant, single, _ONE_HOST_MS),
        _figure("authorize, all hosts", lab, lab.census.everywhere, lab.census.shared, _ALL_HOSTS_MS),
    ]


def ours_in_one(lab: ScaleLab) -> list[Figure]:
    """The group of all hosts, where one ovs-vswitchd has all bridges and takes in what has come for any in one go."""
    row = "authorize, all hosts in one ovs-vswitchd"
    return [_figure(row, lab, lab.census.everywhere, lab.census.shared, _ALL_HOSTS_MS)]


def _figure(row: str, lab: ScaleLab, tenant: Tenant, group: str, goal: float) -> Figure:
    ec2 = lab.ec2(tenant.keys)

    def step(number: int) -> None:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=_permission(number))

    timed(3, lambda number: step(_CALLS + number))
    before = lab.status()
    values = timed(_CALLS, step)
    counters: dict[str, Any] = per_call(before, lab.status(), _CALLS)
    more = {"GroupId": group, "IpPermissions": _permission(_CALLS + 10)}
    counters["sql_statements"] = lab.filler.cost(tenant.caller, "AuthorizeSecurityGroupIngress", **more)
    counters["call_without_data_plane_ms"] = without_data_plane(ec2, tenant.guests[0].instance)
    method = (
        f"The group of all hosts has one instance on each of {len(lab.census.hosts)}; a rule costs a flow-mod per "
        "host, however many instances of the group it has. OVN's port group has all ports. "
        f"{WITHOUT}"
    )
    return Figure(row, median(values), goal, counters, method, grows=goal == _ALL_HOSTS_MS)


def _permission(number: int) -> list[dict[str, Any]]:
    # Two apart: neighbouring ports would be one flow after the second call, which costs two flow-mods.
    port = 20_000 + 2 * number
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


def _other(census: Census) -> Tenant:
    return census.tenants[0]
