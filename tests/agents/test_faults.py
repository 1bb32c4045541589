"""The agent as a process while what it depends on is killed, restarted, silent or mad."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MAC = "02:00:00:00:00:01"


def snapshots(listener: Any) -> list[Any]:
    return [message for message in listener.messages if message["type"] == "snapshot"]


def kill(process: Any) -> None:
    process.kill()
    process.wait(30)


def test_a_killed_ovsdb_server_means_silence_then_the_truth(ovs: Any, listener: Any, start_agent: Any) -> None:
    agent = start_agent()
    listener.wait_ports()
    first = ovs.plug("tap1", "eni-1", MAC)
    listener.wait_ports(tap1=first)
    before = len(snapshots(listener))
    kill(ovs.server)
    agent.wait_log("waiting for OVSDB")
    assert len(snapshots(listener)) == before
    ovs.start_server()
    second = ovs.plug("tap2", "eni-2", MAC)
    listener.wait_ports(tap1=first, tap2=second)
    for snapshot in snapshots(listener)[before:]:
        assert {"name": "tap1", "ofport": first, "iface_id": "eni-1", "link_up": True}.items() <= snapshot["ports"][
            0
        ].items()
    assert len(listener.connections) == 1


def test_what_an_earlier_run_left_in_the_database_is_not_reported(
    ovs: Any, listener: Any, start_agent: Any, wait: Any
) -> None:
    """After a reboot the database still holds port numbers, until ovs-vswitchd gives out new ones."""
    ovs.prepare()
    ovs.plug("tap1", "eni-1", MAC)
    kill(ovs.vswitchd)
    kill(ovs.server)
    ovs.start_server()
    ovs.vsctl("--no-wait", "set", "interface", "tap1", "ofport_request=44")
    agent = start_agent()
    agent.wait_log("waiting for ovs-vswitchd to set bridge br-int up")
    wait(lambda: listener.messages, "hello")
    assert snapshots(listener) == []
    ovs.start_vswitchd()
    listener.wait_ports(tap1=44)
    assert [snapshot["ports"][0]["link_up"] for snapshot in snapshots(listener)] == [True]


def test_a_restarted_vswitchd_ends_in_the_truth(ovs: Any, listener: Any, start_agent: Any) -> None:
    start_agent()
    listener.wait_ports()
    ovs.plug("tap1", "eni-1", MAC)
    ovs.plug("tap2", "eni-2", MAC)
    listener.wait_for(lambda one: len(one["ports"]) == 2, "two ports")
    kill(ovs.vswitchd)
    ovs.vsctl("--no-wait", "del-port", "tap1")
    listener.wait_for(lambda one: len(one["ports"]) == 1, "one port less, though nobody switches")
    ovs.start_vswitchd()
    number = ovs.plug("tap3", "eni-3", MAC)
    old = int(ovs.get("interface", "tap2", "ofport"))
    listener.wait_ports(tap2=old, tap3=number)


def test_a_missing_database_is_waited_for(ovs: Any, listener: Any, start_agent: Any) -> None:
    kill(ovs.vswitchd)
    kill(ovs.server)
    ovs.socket.unlink()
    agent = start_agent()
    agent.wait_log(f"waiting for OVSDB at {ovs.remote}")
    ovs.start_server()
    ovs.start_vswitchd()
    listener.wait_ports()
    assert agent.text.count("waiting for OVSDB") == 1


def test_an_agent_ends_cleanly_without_anything_it_needs(ovs: Any, listener: Any, start_agent: Any) -> None:
    kill(ovs.server)
    agent = start_agent("--report", "127.0.0.1:1")
    agent.wait_log("no connection to controller")
    agent.stop()
    assert agent.text.count("no connection to controller") == 1


def test_a_restarted_controller_gets_the_whole_picture(ovs: Any, listener: Any, start_agent: Any, wait: Any) -> None:
    start_agent()
    listener.wait_ports()
    number = ovs.plug("tap1", "eni-1", MAC)
    told = listener.wait_ports(tap1=number)
    listener.restart()
    wait(lambda: len(listener.connections) == 2, "a new connection")
    again = listener.wait_ports(tap1=number)
    assert listener.messages[0]["type"] == "hello"
    assert again == {**told, "seq": 1}


def test_a_controller_that_does_not_answer_is_left_and_tried_again(
    ovs: Any, listener: Any, start_agent: Any, wait: Any
) -> None:
    listener.acknowledge = False
    agent = start_agent("--answer-timeout", "0.3")
    wait(lambda: len(listener.connections) >= 3, "two more connections")
    agent.wait_log("no answer within 0.3 s")
    listener.acknowledge = True
    listener.wait_ports()
    number = ovs.plug("tap1", "eni-1", MAC)
    listener.wait_ports(tap1=number)


def test_a_controller_that_talks_nonsense_is_left_and_tried_again(
    ovs: Any, listener: Any, start_agent: Any, wait: Any
) -> None:
    agent = start_agent()
    listener.wait_ports()
    listener.send({"type": "ack", "seq": 99})
    agent.wait_log("acknowledged snapshot '99'")
    wait(lambda: len(listener.connections) == 2, "a new connection")
    listener.wait_ports()
    listener.send({"type": "x" * 300_000})
    agent.wait_log("over the limit")
    wait(lambda: len(listener.connections) == 3, "a new connection")
    listener.wait_ports()


def test_a_ping_is_answered_and_an_unknown_message_passed_over(
    ovs: Any, listener: Any, start_agent: Any, wait: Any
) -> None:
    start_agent()
    listener.wait_ports()
    listener.send({"type": "news"})
    listener.send({"type": "ping"})
    wait(lambda: {"type": "pong"} in listener.messages, "pong")
    assert len(listener.connections) == 1


def test_one_agent_at_a_time_cares_for_a_bridge(ovs: Any, listener: Any, start_agent: Any, wait: Any) -> None:
    first = start_agent()
    listener.wait_ports()
    second = start_agent("--controller", "tcp:127.0.0.1:7653", "--host", "h2")
    second.wait_log("another agent cares for bridge br-int")
    assert ovs.vsctl("get-controller", "br-int") == "tcp:127.0.0.1:6653"
    kill(first.process)
    second.wait_log("connected to OVSDB")
    wait(lambda: ovs.vsctl("get-controller", "br-int") == "tcp:127.0.0.1:7653", "the second agent's target")
