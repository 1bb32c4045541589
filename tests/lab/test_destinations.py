"""What instances must not call: the networks of whoever runs the cloud, with real packets on the public network."""

import re
import sys

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from topologies import layout
from topologies.frames import EVERY_INTERFACE, Ear, send
from topologies.oracle import Sender, Service
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

ROUTER_MAC = "02:5c:e0:00:00:01"
TOKEN = b"this datagram must not leave"
MARK = b"this datagram says that all before it have been dealt with"
PRIVATE_CLIENT, PRIVATE_ROUTER = "10.77.0.9", "10.77.0.1"
PRIVATE_POOL, PRIVATE_GATEWAY = "10.60.0.0/24", "10.60.0.1"

#: Fetches http://HOST/ from the address SOURCE.
FETCH = """
import http.client, sys
asked = http.client.HTTPConnection(sys.argv[1], 80, timeout=4, source_address=(sys.argv[2], 0))
asked.request("GET", "/")
print(" saw ".join(asked.getresponse().read().decode().split()))
"""


@pytest.fixture
def router(world):
    return Vantage(world.cloud.lab.netns(layout.ROUTER))


@pytest.fixture
def private_client(world, router):
    """A client on a private network behind the lab's router."""
    ends = [(world.cloud.outside, "out0", PRIVATE_CLIENT), (router, "rtr0", PRIVATE_ROUTER)]
    for place, interface, address in ends:
        assert place.run("ip", "address", "add", f"{address}/24", "dev", interface).returncode == 0
    back = ("route", "add", "198.51.100.0/24", "via", PRIVATE_ROUTER, "src", PRIVATE_CLIENT, "table", "77")
    rule = ("from", PRIVATE_CLIENT, "table", "77")
    assert world.cloud.outside.run("ip", *back).returncode == 0
    assert world.cloud.outside.run("ip", "rule", "add", *rule).returncode == 0
    yield PRIVATE_CLIENT
    world.cloud.outside.run("ip", "rule", "del", *rule)
    for place, interface, address in ends:
        place.run("ip", "address", "del", f"{address}/24", "dev", interface)


def closed(world, host="h1"):
    """How many packets the flows of closed destinations have had."""
    lines = world.cloud.hypervisor(host).ofctl("dump-flows", "br-int", "table=20").splitlines()
    return sum(int(re.search(r"n_packets=(\d+)", line)[1]) for line in lines if "resubmit(,23)" in line)


def test_nothing_of_the_operators_is_called_and_the_rest_of_the_world_is(world, router, trace, outside_ip, wait_until):
    group = world.group("curious")
    guest, neighbour = world.launch([group], host="h1"), world.launch([group], host="h2")
    public, _ = world.address(guest)
    theirs, _ = world.address(neighbour)
    world.allow(group, "tcp", 80, source=f"{public}/32")
    shut = [
        layout.management_ip("h1"),
        layout.management_ip("h2"),
        layout.CONTROLLER_IP,
        layout.fabric_ip("h1"),
        layout.GATEWAY_IP,
        *(PRIVATE_CLIENT, "172.16.0.1", "192.168.255.255", "100.64.0.1", "169.254.1.1", "224.0.0.251"),
        *("127.0.0.1", "0.0.0.1", "255.255.255.255"),
    ]
    # Beside the closed ranges everything is anyone's.
    open_ = [outside_ip, "172.32.0.0", "100.128.0.0", theirs]

    def datagrams(addresses, token):
        head = Ether(src=guest.mac, dst=ROUTER_MAC)
        return [bytes(head / IP(src=guest.private_ip, dst=one) / UDP(dport=9) / Raw(token)) for one in addresses]

    before = closed(world)
    with Ear(router, "h1", MARK) as ear:
        send(guest.inside, "eth0", [*datagrams([*shut, *open_], TOKEN), *datagrams([outside_ip], MARK)])
        heard = [Ether(frame)[IP].dst for frame in ear.heard() if TOKEN in frame]
    assert sorted(heard) == sorted(open_)
    assert wait_until(lambda: closed(world) - before == len(shut))
    for address, words in [
        (layout.GATEWAY_IP, "is the gateway of pool"),
        (layout.CONTROLLER_IP, "is in a private or special range outside the VPC"),
    ]:
        found = trace(guest.id, address)
        assert (found["allowed"], found["dropped"]["name"]) == (False, "DESTINATIONS")
        assert words in found["reason"]
        assert trace.agrees(found, Sender(guest.interface, guest.private_ip), address, Service(6, 80))
    # By real kernels: the gateway of the pool answers nobody, another instance's elastic IP does.
    assert guest.inside.run("ping", "-c", "1", "-W", "1", layout.GATEWAY_IP).returncode != 0
    assert guest.inside.fetch(theirs) == f"{neighbour.id} saw {public}"


def test_who_comes_from_a_private_network_is_answered_but_not_called(world, private_client, wait_until, shut):
    group = world.group("office")
    world.allow(group, "tcp", 80, source=f"{private_client}/32")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    got = world.cloud.outside.run(sys.executable, "-c", FETCH, public, private_client)
    assert got.stdout.strip() == f"{guest.id} saw {private_client}", got.stderr
    before = closed(world)
    assert guest.inside.fetch(private_client) == shut
    assert wait_until(lambda: closed(world) > before)


@pytest.fixture
def private_pool(world, router):
    """Elastic IPs of a private range, as private clouds have them."""
    store = Store.open(world.cloud.config)
    try:
        create_pool(store, "zprivate", PRIVATE_POOL, PRIVATE_GATEWAY, layout.GATEWAY_MAC, "10.60.0.64", "10.60.0.65")
    finally:
        store.close()
    address = (f"{PRIVATE_GATEWAY}/24", "dev", "pub")
    assert router.run("ip", "address", "add", *address).returncode == 0
    yield "zprivate"
    router.run("ip", "address", "del", *address)


def test_a_pool_may_be_private(world, router, private_pool, wait_until, outside_ip, shut):
    group = world.group("private")
    world.allow(group, "tcp", 80)
    one, other = world.launch([group], host="h1"), world.launch([group], host="h2")
    public = {}
    for guest in (one, other):
        made = world.ec2.allocate_address(Domain="vpc", PublicIpv4Pool=private_pool)
        world.allocations.append(made["AllocationId"])
        world.associate(made["AllocationId"], guest)
        public[guest.id] = made["PublicIp"]
    assert one.inside.fetch(public[other.id]) == f"{other.id} saw {public[one.id]}"
    assert one.inside.fetch(outside_ip) != shut
    assert world.cloud.outside.fetch(public[one.id]) == f"{one.id} saw {outside_ip}"
    before = closed(world)
    assert one.inside.run("ping", "-c", "1", "-W", "1", PRIVATE_GATEWAY).returncode != 0
    assert closed(world) > before


def test_many_destinations_take_few_datapath_flows(world, router, outside_ip):
    group = world.group("busy")
    guest = world.launch([group], host="h1")
    world.address(guest)
    head = Ether(src=guest.mac, dst=ROUTER_MAC)
    several = [f"{first}.{second}.0.9" for first in (8, 23, 52, 93, 151, 203) for second in range(0, 200, 4)]
    frames = [
        bytes(head / IP(src=guest.private_ip, dst=one) / UDP(sport=sport, dport=9) / Raw(TOKEN))
        for sport in (4001, 4002)
        for one in several
    ]
    with Ear(router, EVERY_INTERFACE, MARK) as ear:
        send(guest.inside, "eth0", [*frames, bytes(head / IP(src=guest.private_ip, dst=outside_ip) / UDP() / MARK)])
        ear.heard()
    lines = world.cloud.hypervisor("h1").unixctl("dpctl/dump-flows").splitlines()
    about = [line for line in lines if f"eth(src={guest.mac}" in line and "eth_type(0x0800)" in line]
    assert len(several) == 300
    assert len(about) < 60, "\n".join(about)
