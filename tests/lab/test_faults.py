"""Moves, crashes and restarts under traffic, with every packet counted."""

import pytest
from scapy.layers.l2 import ARP, Ether

from topologies.frames import Ear, send
from topologies.layout import GATEWAY_IP, ROUTER, UPLINK
from topologies.ping import INTERVAL, Ping
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab


@pytest.fixture
def served(world):
    """A web server with an elastic IP that may be pinged."""
    group = world.group("served")
    world.allow(group, "tcp", 80)
    world.allow(group, "icmp", -1, -1)
    guest = world.launch([group], host="h1")
    public, allocation = world.address(guest)
    return group, guest, public, allocation


def test_an_elastic_ip_moves_between_hosts_with_bounded_loss_and_never_two_owners(world, served, wait_until):
    group, _, public, allocation = served
    second = world.launch([group], host="h2")
    gateway = Vantage(world.cloud.lab.netns(ROUTER))
    # Each request has a sender of its own, so that its answers can be told from all others.
    senders = [f"02:aa:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(1500)]
    requests = [
        bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=GATEWAY_IP, pdst=public))
        for mac in senders
    ]
    mark = b"the end of the requests"
    end = bytes(Ether(src=senders[0], dst="ff:ff:ff:ff:ff:ff", type=0x9000)) + mark
    with (
        Ping(world.cloud.outside, public) as ping,
        Ear(gateway, "h1", mark, 60) as ear_one,
        Ear(gateway, "h2", mark, 60) as ear_two,
    ):
        for start in range(0, 1500, 100):
            # The router floods each request to both hypervisors, as a switch would.
            for host in ("h1", "h2"):
                send(gateway, host, requests[start : start + 100])
            if start == 500:
                world.associate(allocation, second)
        for host in ("h1", "h2"):
            send(Vantage(world.cloud.lab.netns(host)), UPLINK, [end])
        answers = [_answered(ear.heard(), public) for ear in (ear_one, ear_two)]
        assert wait_until(lambda: world.cloud.outside.fetch(public).startswith(second.id))
        sent, lost = ping.stop()
    assert answers[0], "the old host has answered before"
    assert answers[1], "the new host answers after"
    assert not answers[0] & answers[1], "one request was answered by both hosts"
    assert len(lost) * INTERVAL < 1.0, f"{len(lost)} of {sent} pings lost"


def _answered(frames, public):
    """Who has had an answer for the elastic IP."""
    parsed = [Ether(frame) for frame in frames]
    return {one.dst for one in parsed if ARP in one and one[ARP].op == 2 and one[ARP].psrc == public}


def test_the_controller_is_killed_and_nothing_is_lost_or_let_in(world, served, outside_ip, shut):
    _, guest, public, _ = served
    cloud = world.cloud
    with Ping(cloud.outside, public) as ping:
        cloud.kill("controller")
        for _ in range(10):
            assert cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}"  # new connections
        assert cloud.outside.fetch(public, 8080) == shut
        assert guest.inside.fetch(outside_ip) == f"outside saw {public}"
        cloud.restart("controller")
        cloud.await_ready()
        sent, lost = ping.stop()
    assert not lost, f"{len(lost)} of {sent}"


def test_the_controller_restarts_unchanged_without_a_flow_mod_or_a_lost_packet(world, served):
    group, _, public, _ = served
    world.launch([group], host="h2")
    cloud = world.cloud
    before = world.flows()
    with Ping(cloud.outside, public) as ping:
        cloud.kill("controller")
        cloud.restart("controller")
        cloud.await_ready()
        sent, lost = ping.stop()
    assert cloud.status()["counters"]["flow_mods"] == 0
    assert cloud.status()["counters"]["meter_mods"] == 0
    assert world.flows() == before
    assert not lost, f"{len(lost)} of {sent}"


def test_what_changed_while_the_controller_was_down_holds_when_it_is_back(world, served, outside_ip, shut):
    group, guest, public, _ = served
    cloud = world.cloud
    cloud.kill("controller")
    world.revoke(group, "tcp", 80)
    world.allow(group, "tcp", 8080)
    assert cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}"
    cloud.restart("controller")
    cloud.await_ready()
    assert cloud.outside.fetch(public) == shut
    assert cloud.outside.fetch(public, 8080) == f"{guest.id} saw {outside_ip}"


def test_a_hypervisor_that_is_down_delays_no_call_beyond_its_bound_and_is_named(world, served, wait_until):
    group, _, _, _ = served
    world.launch([group], host="h2")
    switch = world.cloud.hypervisor("h2")
    switch.kill("ovs-vswitchd")
    try:
        assert wait_until(lambda: not _host(world, "h2")["connected"], 30)
        world.allow(group, "tcp", 8080)
        lagging = _host(world, "h2")
        assert lagging["installed"] < lagging["desired"]
        assert any("not connected" in problem for problem in lagging["problems"])
    finally:
        switch.start_switch()
    assert wait_until(lambda: _host(world, "h2")["in_sync"], 30)


def test_flows_deleted_behind_our_back_come_back_with_the_next_connection(world, served, wait_until):
    before = world.flows()
    switch = world.cloud.hypervisor("h1")
    switch.ofctl("del-flows", "br-int", "table=50")
    switch.ofctl("add-flow", "br-int", "table=45,priority=9,cookie=0xbad,actions=drop")
    try:
        world.cloud.restart("controller")
        world.cloud.await_ready()
        assert wait_until(lambda: [line for line in world.flows()["h1"] if "0xbad" not in line] == before["h1"])
        assert any("not ours" in problem for problem in _host(world, "h1")["problems"])
    finally:
        switch.ofctl("del-flows", "br-int", "cookie=0xbad/-1")
        world.cloud.restart("controller")
        world.cloud.await_ready()


def _host(world, name):
    return next(host for host in world.cloud.status()["hosts"] if host["name"] == name)
