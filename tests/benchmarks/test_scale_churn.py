"""A few instances come and go in a small edition of the big cloud, through the real compute worker: nothing is left."""

import time
from collections import Counter

import pytest

from benchmarks import scale_residue
from benchmarks.churn_load import Churn
from benchmarks.scale_churn import LabSite
from benchmarks.scale_lab import ScaleLab

pytestmark = pytest.mark.lab
VMS = 80
PATIENCE_S = 30.0


def test_instances_among_many_come_and_go_and_leave_nothing():
    with ScaleLab(VMS, lambda _: None, bridges=4, threads=32, compute=True) as lab:
        site = LabSite(lab)
        before = scale_residue.look(lab)
        assert len(before["rows of living instances"]) == VMS
        ec2 = site.ec2(2)
        asked = {"ImageId": ec2.describe_images()["Images"][0]["ImageId"], "MinCount": 1, "MaxCount": 1}
        (made,) = ec2.run_instances(**asked)["Instances"]
        where = {"InstanceIds": [made["InstanceId"]]}
        ec2.get_waiter("instance_running").wait(**where, WaiterConfig={"Delay": 1})
        deadline = time.monotonic() + PATIENCE_S
        while not ((seen := scale_residue.look(lab))["flows"] - before["flows"] and seen["ports"] != before["ports"]):
            assert time.monotonic() < deadline, "the instance has no port or no flows"
            time.sleep(0.1)
        ec2.terminate_instances(**where)

        figures = Churn(site, rate=6, life=0.2, progress=lambda _: None).run(2)
        assert figures["starts"] >= 4
        assert (figures["failures"], figures["left_behind"]) == (0, 0)
        assert figures["counters"]["flow_mods"] > 10 * figures["starts"]
        left = scale_residue.settle(lab, before)
        assert {kind: names for kind, names in left.items() if names} == {}
        # The worker has left alone what was there.
        assert scale_residue.look(lab)["ports"] == before["ports"]
        assert lab.filler.count_instances() == VMS
        lost = before | {"flows": before["flows"] + Counter(["h001 a flow"])}
        assert scale_residue.settle(lab, lost, seconds=0)["flows lost"] == ["h001 a flow"]
