"""Cases that need a lab and have no place elsewhere; docs/cases.md says which test stands for which."""

import re
import threading

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from channel.client import request
from topologies.frames import EVERY_INTERFACE, Ear, send
from topologies.layout import CONTROLLER_IP, MANAGEMENT, management_ip
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

MARK = b"this frame says that all before it have been dealt with"
ROUTER_MAC = "02:5c:e0:00:00:01"


def host(world, name):
    return next(each for each in world.cloud.status()["hosts"] if each["name"] == name)


def findings(world):
    message = {"op": "audit", "host": None, "repair": False, "foreign": False}
    return request(world.cloud.config.controller.socket, message, 60.0)["findings"]


def dropped_as_invalid(world):
    """Packets that the flows for invalid ones have counted on h1."""
    shown = world.cloud.hypervisor("h1").ofctl("dump-flows", "br-int").splitlines()
    lines = [line for line in shown if "ct_state=+inv+trk" in line]
    assert len(lines) == 2, "one on either side"
    return sum(int(re.search(r"n_packets=(\d+)", line)[1]) for line in lines)


def test_invalid_packets_are_dropped_and_counted(world, wait_until):
    group = world.group("all")
    world.allow(group, "-1")
    one, other = world.launch([group], host="h1"), world.launch([group], host="h1")
    head = Ether(src=one.mac, dst=other.mac) / IP(src=one.private_ip, dst=other.private_ip)
    bad = [
        head / TCP(sport=5000, dport=80, flags="S", chksum=0x1234),
        head / TCP(sport=5001, dport=80, flags=""),
        head / TCP(sport=5002, dport=80, flags="SF"),
        head / TCP(sport=5003, dport=80, flags="SR"),
        head / UDP(sport=5004, dport=7, chksum=0x1234),
    ]
    before = dropped_as_invalid(world)
    with Ear(other.inside, "eth0", MARK) as ear:
        send(one.inside, "eth0", [*map(bytes, bad), bytes(head / UDP(dport=7) / Raw(MARK))])
        heard = ear.heard()
    assert MARK in heard[-1]
    ports = {int.from_bytes(frame[34:36], "big") for frame in heard if frame[12:14] == b"\x08\x00"}
    assert not ports & set(range(5000, 5005))
    assert wait_until(lambda: dropped_as_invalid(world) - before == len(bad)), "each is counted once"


@pytest.mark.parametrize("where", ["h1", "h2"], ids=["same host", "other host"])
def test_a_large_datagram_passes_whole_between_private_addresses(world, wait_until, where):
    group = world.group("large", shut=True)
    world.allow_egress(group, "-1")
    world.allow(group, "-1", source=group)
    one, other = world.launch([group], host="h1"), world.launch([group], host=where)
    ping = ("ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-s", "4000", other.private_ip)
    assert wait_until(lambda: "3 received" in one.inside.run(*ping).stdout)


def test_a_bundle_that_one_switch_refuses_is_not_applied_is_named_is_tried_again_and_keeps_no_other_waiting(
    world, wait_until, shut
):
    """A table that may not grow refuses the bundle (OFPFMFC_TABLE_FULL)."""
    group = world.group("web")
    near, far = world.launch([group], host="h1"), world.launch([group], host="h2")
    switch = world.cloud.hypervisor("h1")
    assert wait_until(lambda: host(world, "h1")["in_sync"])
    before = world.flows()["h1"]
    rules = sum("table=43," in line for line in before)
    limit = ("--id=@full", "create", "Flow_Table", f"flow_limit={rules}", "overflow_policy=refuse")
    switch.vsctl("--", *limit, "--", "set", "Bridge", "br-int", "flow_tables:43=@full")
    try:
        world.allow(group, "tcp", 80)
        assert world.flows()["h1"] == before, "nothing of it is applied"
        assert any(
            "refused" in problem.lower() or "full" in problem.lower() for problem in host(world, "h1")["problems"]
        )
        assert near.inside.fetch(far.private_ip).startswith(far.id), "the other host has it"
        assert far.inside.fetch(near.private_ip) == shut
    finally:
        switch.vsctl("clear", "Bridge", "br-int", "flow_tables")
    assert wait_until(lambda: host(world, "h1")["in_sync"], 30), "tried again by itself"
    assert far.inside.fetch(near.private_ip).startswith(near.id)
    assert findings(world) == []


def test_connections_lost_in_the_middle_of_bundles_and_all_converges(world, wait_until):
    group = world.group("busy")
    guest = world.launch([group], host="h1")
    over = threading.Event()

    def change():
        for port in range(1000, 1040):
            world.allow(group, "tcp", port)
            if over.is_set():
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(2):
            world.cloud.kill("controller")
            world.cloud.restart("controller")
            world.cloud.await_ready()
    finally:
        over.set()
        changing.join()
    world.cloud.await_ready()
    assert wait_until(lambda: all(host(world, name)["in_sync"] for name in ("h1", "h2")), 30)
    assert findings(world) == []
    rules = world.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert rules, "something was changed meanwhile"
    assert f"nw_src={guest.private_ip}" in "\n".join(world.flows()["h1"])


def test_an_instance_reaches_neither_controller_nor_hypervisors(world):
    """By its own address or its elastic IP: not a packet of it comes to the management network."""
    group = world.group("curious")
    world.allow(group, "-1")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    own = [bytes(map(int, address.split("."))) for address in (guest.private_ip, public)]
    places = [CONTROLLER_IP, management_ip("h1"), management_ip("h2")]
    head = Ether(src=guest.mac, dst=ROUTER_MAC)
    frames = [
        bytes(head / IP(src=guest.private_ip, dst=place) / TCP(dport=port, flags="S"))
        for place in places
        for port in (22, 6640, 6653, 6654, 8773)
    ]
    with Ear(Vantage(world.cloud.lab.netns(MANAGEMENT)), EVERY_INTERFACE, MARK, 2.0) as ear:
        send(guest.inside, "eth0", frames)
        heard = ear.heard()
    assert len(heard) > 0, "there is other traffic"
    assert [frame.hex() for frame in heard if frame[26:30] in own] == []
    for place in places:
        assert guest.inside.echo(place, 6653) == "no answer"
