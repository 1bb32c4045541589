"""IP protocols without ports, and -1: passed, answered and refused as the rules say; crafted frames both ways."""

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from topologies.frames import EVERY_INTERFACE, Ear, send

pytestmark = pytest.mark.lab

ROUTER_MAC = "02:5c:e0:00:00:01"
GRE, ESP, VRRP, SCTP = 47, 50, 112, 132
PROTOCOLS = (GRE, ESP, VRRP, SCTP)
END = b"the end of the trial"


@pytest.fixture
def pair(world):
    """Two instances on two hosts, each in a group of its own without any rule: (one, other, group, group)."""
    groups = world.group("protocols-one", shut=True), world.group("protocols-other", shut=True)
    return world.launch([groups[0]], host="h1"), world.launch([groups[1]], host="h2"), *groups


@pytest.fixture
def passes(world):
    """Which of these protocols come through from one instance to another?  A UDP packet that may pass ends the wait."""

    def probe(sender, receiver, protocols):
        def frame(protocol, payload):
            head = Ether(src=sender.mac, dst=receiver.mac) / IP(
                src=sender.private_ip, dst=receiver.private_ip, proto=protocol, ttl=17
            )
            return bytes(head / payload)

        tries = [frame(protocol, b"sluice %d " % protocol + bytes(40)) for protocol in protocols]
        with Ear(receiver.inside, EVERY_INTERFACE, END, 1.5) as ear:
            send(sender.inside, "eth0", tries)
            heard = ear.heard()
        found = [IP(data[14:]) for data in heard if data[12:14] == b"\x08\x00"]
        return sorted({packet.proto for packet in found if packet.ttl == 17 and packet.src == sender.private_ip})

    return probe


def test_each_protocol_needs_a_rule_of_its_own_on_both_sides(world, pair, passes):
    one, other, group_one, group_other = pair
    assert passes(one, other, PROTOCOLS) == []
    for protocol in PROTOCOLS:
        world.allow_egress(group_one, str(protocol), destination=group_other)
        assert passes(one, other, PROTOCOLS) == []
        world.allow(group_other, str(protocol), source=group_one)
        assert passes(one, other, PROTOCOLS) == [protocol]
        world.revoke_egress(group_one, str(protocol), destination=group_other)
        world.revoke(group_other, str(protocol), source=group_one)
    assert passes(one, other, PROTOCOLS) == []


def test_replies_need_no_rule_and_who_did_not_open_may_not_open(world, pair, passes):
    one, other, group_one, group_other = pair
    world.allow_egress(group_one, "-1")
    for protocol in PROTOCOLS:
        world.allow(group_other, str(protocol))
    assert passes(other, one, PROTOCOLS) == []
    assert passes(one, other, PROTOCOLS) == sorted(PROTOCOLS)
    assert passes(other, one, PROTOCOLS) == sorted(PROTOCOLS)
    for protocol in PROTOCOLS:
        world.revoke(group_other, str(protocol))


def test_what_a_revoked_rule_allowed_is_cut_in_both_directions(world, pair, passes, wait_until):
    one, other, group_one, group_other = pair
    world.allow_egress(group_one, "-1")
    for protocol in PROTOCOLS:
        world.allow(group_other, str(protocol))
    assert passes(one, other, PROTOCOLS) == passes(other, one, PROTOCOLS) == sorted(PROTOCOLS)
    world.revoke(group_other, str(GRE))
    world.revoke(group_other, str(SCTP))
    assert wait_until(lambda: passes(other, one, PROTOCOLS) == [ESP, VRRP])
    assert passes(one, other, PROTOCOLS) == [ESP, VRRP]


def test_any_protocol_means_all_of_them(world, pair, passes):
    one, other, group_one, group_other = pair
    world.allow_egress(group_one, "-1", destination=group_other)
    world.allow(group_other, "-1", source=f"{one.private_ip}/32")
    some = [2, 4, 41, 46, 47, 50, 51, 89, 94, 103, 112, 115, 132, 253]
    assert passes(one, other, some) == some
    assert passes(other, one, some) == some  # answers
    world.revoke(group_other, "-1", source=f"{one.private_ip}/32")


def test_through_an_elastic_ip(world, outside_ip, wait_until):
    group = world.group("gre")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    world.allow(group, str(GRE), source=f"{outside_ip}/32")
    assert world.cloud.outside.fetch(public) == "no answer"  # the router has asked who has the elastic IP by now

    def seen():
        with Ear(guest.inside, EVERY_INTERFACE, END, 1.0) as ear:
            for protocol in (GRE, ESP):
                world.cloud.outside.run(*_raw(public, protocol))
            heard = [IP(data[14:]) for data in ear.heard() if data[12:14] == b"\x08\x00"]
        return {(packet.src, packet.dst, packet.proto) for packet in heard}

    assert wait_until(lambda: (outside_ip, guest.private_ip, GRE) in seen())
    assert (outside_ip, guest.private_ip, ESP) not in seen()


def _raw(target, protocol):
    opened = f"socket.socket(socket.AF_INET, socket.SOCK_RAW, {protocol})"
    code = f"import socket; {opened}.sendto(bytes(40), ({target!r}, 0))"
    return ("python3", "-c", code)


def test_ec2_describes_a_protocol_by_its_number(world):
    group = world.group("described", shut=True)
    for protocol in (*PROTOCOLS, -1):
        world.allow(group, str(protocol))
    found = world.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert sorted((item["IpProtocol"], item.get("FromPort"), item.get("ToPort")) for item in found) == [
        ("-1", None, None),
        ("112", None, None),
        ("132", None, None),
        ("47", None, None),
        ("50", None, None),
    ]


ROUTES = [
    ("tcp", 80, 80, True),
    ("tcp", 81, 90, False),
    ("tcp", 70, 80, True),
    ("udp", 80, 80, False),
    ("-1", None, None, True),
]


@pytest.mark.parametrize(("protocol", "first", "last", "opened"), ROUTES)
@pytest.mark.parametrize("kind", ["cidr", "group", "one address"])
def test_egress_rules_are_as_exact_as_ingress_rules(world, pair, shut, protocol, first, last, opened, kind):
    one, other, group_one, group_other = pair
    world.allow(group_other, "-1")
    remote = {"cidr": "172.31.0.0/16", "group": group_other, "one address": f"{other.private_ip}/32"}[kind]
    assert one.inside.fetch(other.private_ip) == shut
    world.allow_egress(group_one, protocol, first, last, destination=remote)
    assert (one.inside.fetch(other.private_ip) != shut) is opened


def test_icmp_type_and_code_on_egress(world, pair):
    one, other, group_one, group_other = pair
    world.allow(group_other, "icmp", -1, -1)

    def ping():
        return one.inside.run("ping", "-n", "-c", "1", "-W", "1", other.private_ip).returncode == 0

    for kind, code, opened in [(0, -1, False), (8, 1, False), (8, 0, True), (8, -1, True), (-1, -1, True)]:
        world.allow_egress(group_one, "icmp", kind, code, destination=group_other)
        assert ping() is opened, (kind, code)
        world.revoke_egress(group_one, "icmp", kind, code, destination=group_other)
        assert not ping()


def test_five_groups_on_both_sides_are_a_union(world, shut):
    mine = [world.group(f"from{number}", shut=True) for number in range(5)]
    theirs = [world.group(f"to{number}", shut=True) for number in range(5)]
    one, other = world.launch(mine, host="h1"), world.launch(theirs, host="h1")
    for number, port in enumerate((80, 8080, 9000, 9001, 9002)):
        world.allow_egress(mine[number], "tcp", port, destination=theirs[4 - number])
        world.allow(theirs[number], "tcp", port, source=mine[4 - number])
    assert one.inside.fetch(other.private_ip, 80) != shut
    assert one.inside.fetch(other.private_ip, 8080) != shut
    assert one.inside.echo(other.private_ip, 9000) == "echo"
    world.revoke_egress(mine[1], "tcp", 8080, destination=theirs[3])
    assert one.inside.fetch(other.private_ip, 8080) == shut
    assert one.inside.fetch(other.private_ip, 80) != shut
    assert other.inside.fetch(one.private_ip) == shut
