"""Churn in the scale lab: instances come and go among thousands, through everything but the guests themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks import scale_residue
from benchmarks.churn_load import API_THREADS, Churn
from benchmarks.machine import load
from benchmarks.result import Progress
from benchmarks.scale_lab import ScaleLab
from econe_api.store import quotas
from topologies.control_plane import Keys

VPCS = 20
_CIDR = "172.31.0.0/20"


class LabSite:
    """Implements :class:`benchmarks.churn_load.Site`.

    The load has an account of its own, whose instances are spread over all hosts: the emptiest one gets the next; and
    VPCs of its own, as many as would hold what runs at a time if each were on a few hosts, like those of the others.
    """

    def __init__(self, lab: ScaleLab) -> None:
        self._lab = lab
        made, self._caller = lab.filler.account("churn")
        self._keys = Keys(made.access_key_id, made.secret)
        for quota in (quotas.VPCS, quotas.INTERNET_GATEWAYS):
            quotas.set_quota(lab.filler.store, made.account_id, quota, VPCS + 1)
        self._networks = [{"SubnetId": self._subnet()} for _ in range(VPCS)]

    def _subnet(self) -> str:
        """The subnet of a new VPC with a way to the outside, as elastic IPs want it."""
        call = partial(self._lab.filler.call, self._caller)
        vpc = call("CreateVpc", CidrBlock=_CIDR)["Vpc"]["VpcId"]
        gateway = call("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
        call("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
        (table,) = call("DescribeRouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
        outside = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
        call("CreateRoute", RouteTableId=table["RouteTableId"], **outside)
        return str(call("CreateSubnet", VpcId=vpc, CidrBlock=_CIDR)["Subnet"]["SubnetId"])

    def networks(self) -> Sequence[Mapping[str, Any]]:
        """Its VPCs."""
        return self._networks

    def ec2(self, connections: int) -> Any:
        """A client of the load's account."""
        return self._lab.ec2(self._keys, connections)

    def status(self) -> Mapping[str, Any]:
        """The controller's status."""
        return self._lab.status()

    def pids(self) -> Mapping[int, str]:
        """All processes."""
        return self._lab.pids()

    def talk(self, instance: str, address: str) -> None:
        """There is nobody in the instances who could."""


def run(vms: int, rate: float, seconds: float, life: float, bridges: int, progress: Progress) -> dict[str, Any]:
    """Build the lab with ``vms`` instances, churn, look for residue; returns the figures of both."""
    with ScaleLab(vms, progress, bridges, threads=API_THREADS, compute=True) as lab:
        site = LabSite(lab)
        progress("looking at what there is")
        before = scale_residue.look(lab)
        progress(f"{rate:g} starts and {rate:g} stops a second for {seconds:g} s")
        figures = Churn(site, rate, life, progress).run(seconds)
        progress("looking for what is left")
        left = scale_residue.settle(lab, before)
        return {"rate": rate, "life": life, **figures, "residue": left, "cloud": lab.sizes(), "load": load()}
