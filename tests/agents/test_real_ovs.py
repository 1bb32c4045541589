"""The agent as a process on a real Open vSwitch: preparing the bridge, reporting ports."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MAC = "02:00:00:00:00:01"


def test_the_bridge_is_prepared(ovs: Any, listener: Any, start_agent: Any) -> None:
    ovs.link("up0")
    ovs.link("fab0")
    ovs.vsctl("--no-wait", "init", "--", "set", "open_vswitch", ".", "ovs_version=3.1.0-own")
    start_agent("--uplink", "up0", "--fabric", "fab0", "--dpid", "a1")
    snapshot = listener.wait_for(lambda one: len(one["ports"]) == 2, "both infrastructure ports")
    assert listener.messages[0] == {"type": "hello", "version": 1, "host": "h1"}
    assert set(snapshot) == {
        "type",
        "seq",
        "dpid",
        "bridge",
        "ports",
        "ovs_version",
        "agent_version",
        "problems",
        "fabric_mode",
        "fabric_ip",
        "gateways",
    }
    assert (snapshot["dpid"], snapshot["bridge"], snapshot["ovs_version"]) == (0xA1, "br-int", "3.1.0-own")
    assert snapshot["problems"] == []
    assert [{key: port[key] for key in port if key != "ofport"} for port in snapshot["ports"]] == [
        {"name": "fab0", "role": "fabric", "iface_id": None, "mac": None, "link_up": True},
        {"name": "up0", "role": "uplink", "iface_id": None, "mac": None, "link_up": True},
    ]
    assert ovs.get("bridge", "br-int", "fail_mode") == "secure"
    assert ovs.get("bridge", "br-int", "datapath_type") == "netdev"
    assert ovs.get("bridge", "br-int", "protocols") == "[OpenFlow13]"
    assert ovs.get("bridge", "br-int", "other_config") == '{datapath-id="00000000000000a1", disable-in-band="true"}'
    assert ovs.vsctl("get-controller", "br-int") == "tcp:127.0.0.1:6653"
    timing = ovs.vsctl("--bare", "--columns=inactivity_probe,max_backoff", "list", "controller")
    assert timing.split() == ["5000", "1000"]
    assert ovs.flows() == []


def test_a_tunnel_port_is_made_for_a_vxlan_fabric(ovs: Any, listener: Any, start_agent: Any) -> None:
    start_agent("--fabric", "vxlan0", "--fabric-mode", "vxlan", "--fabric-ip", "10.254.0.11")
    snapshot = listener.wait_for(lambda one: len(one["ports"]) == 1, "the tunnel port")
    assert (snapshot["fabric_mode"], snapshot["fabric_ip"]) == ("vxlan", "10.254.0.11")
    assert (snapshot["ports"][0]["name"], snapshot["ports"][0]["role"]) == ("vxlan0", "fabric")
    assert snapshot["problems"] == []
    assert ovs.get("interface", "vxlan0", "type") == "vxlan"
    assert ovs.get("interface", "vxlan0", "options") == "{key=flow, remote_ip=flow}"


def test_a_database_that_was_never_used_is_enough(ovs: Any, listener: Any, start_agent: Any) -> None:
    agent = start_agent()
    listener.wait_ports()
    assert ovs.vsctl("list-br") == "br-int"
    assert agent.text.count("waiting for OVSDB") == 0


def test_ports_appear_change_and_vanish(ovs: Any, listener: Any, start_agent: Any) -> None:
    start_agent()
    listener.wait_ports()
    first = ovs.plug("tap1", "eni-1", "02:00:00:00:00:AB")
    snapshot = listener.wait_ports(tap1=first)
    assert snapshot["ports"] == [
        {
            "name": "tap1",
            "ofport": first,
            "role": "instance",
            "iface_id": "eni-1",
            "mac": MAC[:-2] + "ab",
            "link_up": True,
        }
    ]
    second = ovs.plug("tap2", "eni-2", MAC)
    assert second != first
    listener.wait_ports(tap1=first, tap2=second)
    ovs.vsctl("set", "interface", "tap1", "ofport_request=55")
    listener.wait_ports(tap1=55, tap2=second)
    ovs.run("ip", "link", "set", "tap2-p", "down")
    listener.wait_for(lambda one: [port["link_up"] for port in one["ports"]] == [True, False], "the link of tap2 down")
    ovs.vsctl("del-port", "tap1")
    assert listener.wait_ports(tap2=second)["problems"] == []
    numbers = [message["seq"] for message in listener.messages if message["type"] == "snapshot"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_burst_of_ports_costs_few_snapshots(ovs: Any, listener: Any, start_agent: Any) -> None:
    start_agent()
    listener.wait_ports()
    names = [f"p{number}" for number in range(40)]
    adds = [
        word
        for name in names
        for word in (
            *("--", "add-port", "br-int", name, "--", "set", "interface", name, "type=internal"),
            f"external_ids:iface-id=eni-{name}",
        )
    ]
    before = len(listener.messages)
    ovs.vsctl(*adds[1:])
    listener.wait_for(lambda one: len(one["ports"]) == 40, "all ports")
    assert len(listener.messages) - before <= 8


def test_what_is_wrong_with_a_port_is_told(ovs: Any, listener: Any, start_agent: Any) -> None:
    start_agent()
    listener.wait_ports()
    ovs.vsctl("--no-wait", "add-port", "br-int", "ghost")
    listener.wait_for(lambda one: any("ghost is not open" in text for text in one["problems"]), "the dead port")
    ovs.vsctl("del-port", "ghost")
    ovs.link("bare")
    ovs.vsctl("add-port", "br-int", "bare")
    listener.wait_for(lambda one: any("bare passes nothing" in text for text in one["problems"]), "the bare port")
    ovs.vsctl("set", "interface", "bare", "external_ids:iface-id=eni-9")
    snapshot = listener.wait_for(lambda one: one["ports"], "the port with its id")
    assert (snapshot["ports"][0]["iface_id"], snapshot["ports"][0]["mac"]) == ("eni-9", None)
    assert snapshot["problems"] == []


def test_a_port_of_another_bridge_is_left_there(ovs: Any, listener: Any, start_agent: Any) -> None:
    ovs.link("up0")
    ovs.vsctl(
        "add-br", "br-ex", "--", "set", "bridge", "br-ex", "datapath_type=netdev", "--", "add-port", "br-ex", "up0"
    )
    start_agent("--uplink", "up0")
    snapshot = listener.wait_for(lambda one: one["problems"], "the problem")
    assert snapshot["problems"] == ["port up0 is on bridge br-ex; to free it: ovs-vsctl del-port up0"]
    assert ovs.vsctl("port-to-br", "up0") == "br-ex"
    ovs.vsctl("del-port", "up0")
    snapshot = listener.wait_for(lambda one: one["ports"], "the uplink once it is free")
    assert (snapshot["ports"][0]["role"], snapshot["problems"]) == ("uplink", [])


def test_a_bridge_deleted_behind_our_back_comes_back_safe(ovs: Any, listener: Any, start_agent: Any, wait: Any) -> None:
    start_agent()
    listener.wait_ports()
    number = ovs.plug("tap1", "eni-1", MAC)
    listener.wait_ports(tap1=number)
    ovs.vsctl("del-br", "br-int")
    listener.wait_ports()
    wait(lambda: ovs.get("bridge", "br-int", "fail_mode") == "secure", "the bridge to be secure")
