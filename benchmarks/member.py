"""``scripts/bench member``: an instance joins a group of 10,000 members that rules of other groups refer to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks import scale_rows
from benchmarks.ovn_cloud import OvnCloud
from benchmarks.result import json_option, report
from benchmarks.scale_cloud import Census, Filler
from benchmarks.scale_lab import ScaleLab, median, per_call, timed
from benchmarks.scale_rows import CALLS, PEER_CALLS, WITHOUT, Figure, Layout, without_data_plane

_GOAL_MS = 5.0
_MEMBERS = 10_000
_RANGE = "10.0.0.0/16"


@click.command("member")
@scale_rows.options
@json_option
def command(vms: tuple[int, ...], bridges: int, file: Path | None) -> None:
    """A member joins a group of 10,000 that one host's rules refer to; beside OVN's address set of as many."""

    def theirs(cloud: OvnCloud) -> list[float]:
        cloud.crowd(_MEMBERS)
        return cloud.join(PEER_CALLS)

    bench = _Member()
    report(scale_rows.measure(vms, [Layout(bridges, bench.ours)], theirs, bench.prepare), file)


class _Member:
    """The VPC with the crowd; a host whose instance admits it, and another whose instance joins it."""

    def prepare(self, filler: Filler, census: Census) -> None:
        """Make the crowd: instances that are stopped, so that only two hosts have to know of its VPC."""
        self._tenant = tenant = census.tenants[0]
        vpc = str(filler.call(tenant.caller, "CreateVpc", CidrBlock=_RANGE)["Vpc"]["VpcId"])
        made = filler.call(tenant.caller, "CreateSubnet", VpcId=vpc, CidrBlock=_RANGE)
        subnet = str(made["Subnet"]["SubnetId"])
        groups = {}
        for name in ("crowd", "watch", "idle"):
            wanted = {"GroupName": name, "Description": "benchmark", "VpcId": vpc}
            groups[name] = str(filler.call(tenant.caller, "CreateSecurityGroup", **wanted)["GroupId"])
        service = {"IpProtocol": "tcp", "FromPort": 9999, "ToPort": 9999}
        permissions = [{**service, "UserIdGroupPairs": [{"GroupId": groups["crowd"]}]}]
        for action in ("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"):
            filler.call(tenant.caller, action, GroupId=groups["watch"], IpPermissions=permissions)
        filler.crowd(vpc, subnet, tenant.caller, groups["crowd"], _MEMBERS)
        watcher = filler.launch(tenant, census.hosts[0], groups["watch"], subnet)
        self._joiner = filler.launch(tenant, census.hosts[1], groups["idle"], subnet)
        self._groups = groups
        census.extra += [watcher, self._joiner]

    def ours(self, lab: ScaleLab) -> list[Figure]:
        """Join and leave."""
        ec2 = lab.ec2(self._tenant.keys)

        def step(_: int) -> None:
            self._put(ec2, "crowd", "idle")

        def undo(_: int) -> None:
            self._put(ec2, "idle")

        timed(5, step, undo)
        quiet = lab.status()
        step(0)
        joined = lab.status()
        undo(0)
        counters: dict[str, Any] = {"of_one_join": per_call(quiet, joined, 1)}
        counters["flow_mods_of_watching_host"] = _of(lab, joined, 0) - _of(lab, quiet, 0)
        before = lab.status()
        values = timed(CALLS, step, undo)
        counters["of_join_and_leave"] = per_call(before, lab.status(), CALLS)
        wanted = {"NetworkInterfaceId": self._joiner.interface, "Groups": [self._groups["crowd"]]}
        counters["sql_statements"] = lab.filler.cost(self._tenant.caller, "ModifyNetworkInterfaceAttribute", **wanted)
        counters["call_without_data_plane_ms"] = without_data_plane(ec2, self._joiner.instance)
        method = (
            f"ModifyNetworkInterfaceAttribute; the group has {_MEMBERS} members, a rule of each direction refers to it "
            "on one host. OVN: one more address in an address set of as many, that two ACLs refer to. "
            f"{WITHOUT}"
        )
        return [Figure("member", median(values), _GOAL_MS, counters, method)]

    def _put(self, ec2: Any, *names: str) -> None:
        groups = [self._groups[name] for name in names]
        ec2.modify_network_interface_attribute(NetworkInterfaceId=self._joiner.interface, Groups=groups)


def _of(lab: ScaleLab, status: dict[str, Any], number: int) -> int:
    name = lab.census.hosts[number]
    return next(int(host["flow_mods"]) for host in status["hosts"] if host["name"] == name)
