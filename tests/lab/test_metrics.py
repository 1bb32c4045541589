"""What every process tells Prometheus, that the dashboard asks for nothing else, and a request's way through logs."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from topologies.cloud import Cloud, Plan
from topologies.layout import MANAGEMENT
from topologies.ovs import SWITCH

pytestmark = pytest.mark.lab

DASHBOARD = Path(__file__).parents[2] / "contrib/grafana/sluice.json"
AGENT = "127.0.0.1:9275"
CONTROLLER = "127.0.0.1:9274"
#: Words of PromQL that may stand in an expression beside names of metrics.
NAME = re.compile(r"\bsluice_[a-z0-9_]+\b")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Telling:
    """A cloud whose processes log JSON and answer Prometheus."""

    def __init__(self, cloud, port):
        self.cloud, self.ec2, self.port = cloud, cloud.ec2(), port

    def scrape(self, who):
        vantage, address = {
            "api": (None, f"127.0.0.1:{self.port}"),
            "controller": (self.cloud.lab.netns(MANAGEMENT), CONTROLLER),
            "agent": (self.cloud.lab.netns("h1"), AGENT),
        }[who]
        enter = () if vantage is None else ("ip", "netns", "exec", vantage)
        command = (*enter, "curl", "-sf", "--noproxy", "*", "--max-time", "30", f"http://{address}/metrics")
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, who, name, **labels):
        return self.scrape(who).get((name, *sorted(labels.items())))

    def lines(self, log):
        text = (self.cloud.plan.state / f"{log}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def about(self, log, request):
        return [line for line in self.lines(log) if request in line.get("requests", ())]


@pytest.fixture(scope="module")
def telling():
    state, port = Path(tempfile.mkdtemp(prefix="sluice-tell-")), free_port()
    settings = f"""
[metrics]
enabled = true
api = "127.0.0.1:{port}"
controller = "{CONTROLLER}"
[log]
format = "json"
"""
    options = ("--metrics", AGENT, "--log-format", "json")
    plan = Plan(f"tell{os.getpid()}", state, hypervisors=1, settings=settings, agent_options=options, api_workers=2)
    try:
        with Cloud(plan) as running:
            yield Telling(running, port)
    finally:
        shutil.rmtree(state)


@pytest.fixture(scope="module")
def story(telling):
    """An instance with an elastic IP, and a refusal; gives the ids of the requests."""
    ec2 = telling.ec2
    image = ec2.describe_images()["Images"][0]["ImageId"]
    launched = ec2.run_instances(ImageId=image, InstanceType="t2.nano", MinCount=1, MaxCount=1)
    instance = launched["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    made = ec2.allocate_address(Domain="vpc")
    # The port's flows are there when an address can be associated; the bundle is that of this call alone then.
    deadline = time.monotonic() + 30
    while not telling.cloud.status()["hosts"][0]["ports"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    associated = ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance)
    with pytest.raises(ec2.exceptions.ClientError):
        ec2.release_address(AllocationId="eipalloc-0123456789abcdef0")
    return {
        name: answer["ResponseMetadata"]["RequestId"]
        for name, answer in {"RunInstances": launched, "AssociateAddress": associated}.items()
    }


def test_a_request_is_found_in_every_log_down_to_the_bundle(telling, story):
    request = story["AssociateAddress"]
    (access,) = telling.about("api", request)
    assert (access["logger"], access["action"], access["service"]) == ("econe_api.access", "AssociateAddress", "api")
    said = [line["message"] for line in telling.about("controller", request)]
    assert any(re.fullmatch(r"host h1: \d+ flows added, 0 deleted", line) for line in said)
    assert any(re.fullmatch(r"revision \d+: installed after [0-9.]+ ms", line) for line in said)

    request = story["RunInstances"]
    assert [line["action"] for line in telling.about("api", request)] == ["RunInstances"]
    assert [line["message"] for line in telling.about("compute", request)] == [
        line["message"] for line in telling.lines("compute") if line["message"].startswith("launch ")
    ]
    assert any(line["message"].startswith("revision ") for line in telling.about("controller", request))


def test_figures_are_those_of_the_story(telling, story):
    api = telling.scrape("api")
    for action, code in (
        ("AssociateAddress", "ok"),
        ("RunInstances", "ok"),
        ("ReleaseAddress", "InvalidAllocationID.NotFound"),
    ):
        assert api["sluice_api_calls_total", ("action", action), ("code", code)] == 1
        assert api["sluice_api_call_seconds_count", ("action", action)] == 1
    assert api["sluice_api_enforced_seconds_count", ("action", "AssociateAddress")] == 1
    assert api["sluice_api_calls_under_way",] == 0
    controller = telling.scrape("controller")
    counters = telling.cloud.status()["counters"]
    assert controller["sluice_controller_flow_mods_total",] == counters["flow_mods"] > 0
    assert controller["sluice_controller_bundles_total",] == counters["bundles"] > 0
    assert controller["sluice_controller_switches_connected",] == 1
    assert controller["sluice_controller_agents_connected",] == 1
    assert controller["sluice_controller_hosts_lagging",] == 0
    assert controller["sluice_controller_host_flows", ("host", "h1")] > 40
    assert controller["sluice_controller_installed_seconds_count",] >= 2
    agent = telling.scrape("agent")
    assert agent["sluice_agent_ports", ("role", "instance")] == 1
    assert agent["sluice_agent_controller_connected",] == agent["sluice_agent_ovsdb_connected",] == 1
    assert agent["sluice_agent_snapshots_total",] >= 2


def test_a_host_that_lags_and_the_calls_that_wait_for_it_are_seen(telling, story, wait_until):
    group = telling.ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    over = threading.Event()

    def call():
        for port in range(100, 130):
            rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
            telling.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
            if over.is_set():
                return

    def hurried():
        return telling.value("api", "sluice_api_unacknowledged_total", action="AuthorizeSecurityGroupIngress") or 0

    calling, before = threading.Thread(target=call), hurried()
    lagging, waiting = ("sluice_controller_hosts_lagging",), ("sluice_controller_queue_depth", ("queue", "calls"))
    behind = "sluice_controller_host_lag_revisions", ("host", "h1")
    pid = telling.cloud.hypervisor("h1").pid(SWITCH)
    os.kill(pid, signal.SIGSTOP)
    try:
        calling.start()
        told = wait_until(lambda: (told := telling.scrape("controller"))[waiting] == told[lagging] == 1 and told)
        assert told
        assert told[behind] >= 1
        assert wait_until(lambda: hurried() > before), "answered after its bound"
    finally:
        os.kill(pid, signal.SIGCONT)
        over.set()
        calling.join(30)
    assert wait_until(lambda: all(telling.scrape("controller")[one] == 0 for one in (lagging, waiting, behind)))


def test_the_dashboard_asks_for_what_is_there(telling, story):
    told = {name for who in ("api", "controller", "agent") for name, *_ in telling.scrape(who)}
    # A counter with labels shows nothing before it has counted.
    told |= {"sluice_api_unacknowledged_total"}
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(asked) > 20
    for expression in asked:
        names = NAME.findall(expression)
        assert names, expression
        assert set(names) <= told, expression
    described = (DASHBOARD.parents[2] / "docs/metrics.md").read_text()
    families = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in told if name.startswith("sluice_")}
    assert [name for name in sorted(families) if f"`{name}" not in described] == []


def test_a_process_that_ends_takes_its_part_of_what_is_under_way_along(telling, story):
    before = telling.value("api", "sluice_api_calls_total", action="DescribeImages", code="ok")
    telling.cloud.restart("api")
    telling.cloud.await_ready()
    telling.ec2.describe_images()
    assert telling.value("api", "sluice_api_calls_total", action="DescribeImages", code="ok") == 1 <= before
