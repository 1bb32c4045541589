"""What the agent does to a bridge that carries traffic: nothing that empties its flow table."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FLOW = "table=7, priority=77,ip,nw_dst=192.0.2.7 actions=drop"


def add_flow(ovs: Any) -> None:
    ovs.ofctl("add-flow", "br-int", FLOW.replace(" actions", ",actions"))
    assert ovs.flows() == [FLOW]


def test_an_agents_restart_keeps_the_flows(ovs: Any, listener: Any, start_agent: Any) -> None:
    agent = start_agent()
    listener.wait_ports()
    number = ovs.plug("tap1", "eni-1", "02:00:00:00:00:01")
    told = listener.wait_ports(tap1=number)
    add_flow(ovs)
    agent.process.kill()
    agent.process.wait()
    again = start_agent()
    again.wait_log("connected to OVSDB")
    assert {**listener.wait_ports(tap1=number), "seq": 0} == {**told, "seq": 0}
    again.stop()
    assert "changing the bridge" not in again.text
    assert ovs.flows() == [FLOW]


def test_another_controller_target_keeps_the_flows(ovs: Any, listener: Any, start_agent: Any, wait: Any) -> None:
    agent = start_agent()
    listener.wait_ports()
    add_flow(ovs)
    agent.stop()
    start_agent("--controller", "tcp:127.0.0.1:7653")
    wait(lambda: ovs.vsctl("get-controller", "br-int") == "tcp:127.0.0.1:7653", "the new target")
    assert ovs.flows() == [FLOW]


def test_a_missing_uplink_is_added_and_the_timing_set_and_the_flows_stay(
    ovs: Any, listener: Any, start_agent: Any
) -> None:
    ovs.prepare()
    ovs.link("up0")
    add_flow(ovs)
    start_agent("--uplink", "up0")
    snapshot = listener.wait_for(lambda one: one["ports"], "the uplink")
    assert (snapshot["ports"][0]["name"], snapshot["ports"][0]["role"]) == ("up0", "uplink")
    assert snapshot["problems"] == []
    timing = ovs.vsctl("--bare", "--columns=inactivity_probe,max_backoff", "list", "controller")
    assert timing.split() == ["5000", "1000"]
    assert ovs.flows() == [FLOW]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["set", "bridge", "br-int", "fail_mode=standalone"], "has fail_mode standalone"),
        (["del-controller", "br-int"], "has no controller"),
        (["set-controller", "br-int", "tcp:127.0.0.1:1", "tcp:127.0.0.1:2"], "has several controllers"),
        (["set", "bridge", "br-int", "protocols=OpenFlow10,OpenFlow13"], ""),
        (["set", "bridge", "br-int", "other_config:disable-in-band=false"], "disable-in-band false"),
        (["set", "bridge", "br-int", "other_config:datapath-id=00000000000000ff"], "datapath-id 00000000000000ff"),
    ],
)
def test_a_live_bridge_that_is_not_as_it_should_be_is_reported_and_not_touched(
    ovs: Any, listener: Any, start_agent: Any, change: list[str], words: str
) -> None:
    ovs.prepare()
    ovs.vsctl("set", "bridge", "br-int", "other_config:datapath-id=00000000000000a1")
    ovs.vsctl(*change)
    columns = "fail_mode,controller,protocols,other_config"
    before = ovs.vsctl(f"--columns={columns}", "list", "bridge", "br-int")
    add_flow(ovs)
    start_agent("--dpid", "a1")
    snapshot = listener.wait_for(lambda one: bool(one["problems"]) == bool(words), f"a problem: {words}")
    assert all(words in problem for problem in snapshot["problems"])
    assert all("ovs-vsctl" in problem for problem in snapshot["problems"])
    assert ovs.vsctl(f"--columns={columns}", "list", "bridge", "br-int") == before
    assert ovs.flows() == [FLOW]


def test_the_danger_is_real(ovs: Any) -> None:
    """Open vSwitch does empty the table on what the agent refuses to do; if it ever stops, the refusal can go."""
    ovs.prepare()
    ovs.vsctl("del-controller", "br-int")
    add_flow(ovs)
    ovs.vsctl("set-controller", "br-int", "tcp:127.0.0.1:6653")
    assert ovs.flows() == []
