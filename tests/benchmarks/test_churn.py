"""A few seconds of churn in a real cloud leave nothing behind, and what is left would have been seen."""

import os
import tempfile
from pathlib import Path

import pytest

from benchmarks import residue
from benchmarks.churn_cloud import CloudSite
from benchmarks.churn_load import Churn
from topologies.cloud import Cloud, Plan

pytestmark = pytest.mark.lab

#: What a running instance that has talked to its neighbour has of everything.
KINDS = {
    "processes",
    "namespaces",
    "rows",
    "rows of living instances",
    "leases of private addresses",
    "ports",
    "flows",
    "meters",
    "conntrack zones",
    "veths",
}


def test_churn_leaves_nothing_and_residue_would_be_seen():
    with tempfile.TemporaryDirectory(prefix="churn-") as folder, Cloud(Plan(f"tc{os.getpid()}", Path(folder))) as cloud:
        before = residue.look(cloud)
        ec2 = cloud.ec2()
        image = ec2.describe_images()["Images"][0]["ImageId"]
        asked = {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 2, "MaxCount": 2}
        made = ec2.run_instances(**asked)["Instances"]
        ids = [one["InstanceId"] for one in made]
        ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
        cloud.guest(ids[0]).fetch(made[1]["PrivateIpAddress"])
        seen = residue.look(cloud)
        assert {kind for kind, names in seen.items() if names - before[kind]} >= KINDS
        # An instance lives for ever until somebody ends it: that is residue as well.
        left = residue.settle(cloud, before, seconds=0)
        assert sorted(left["rows of living instances"]) == sorted(ids)
        ec2.terminate_instances(InstanceIds=ids)

        with CloudSite(cloud) as site:
            figures = Churn(site, rate=4, life=0.2, progress=lambda _: None).run(3)
        assert figures["starts"] >= 4
        assert (figures["failures"], figures["left_behind"]) == (0, 0)
        assert figures["running_ms"]["p50"] > 0
        assert figures["counters"]["flow_mods"] > 10 * figures["starts"]
        left = residue.settle(cloud, before)
        assert {kind: names for kind, names in left.items() if names} == {}
