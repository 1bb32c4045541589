"""Every kind of fabric between hypervisors, and two VPCs with the same private addresses on it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from econe_api.store.accounts import create_account
from econe_api.store.store import Store
from topologies.cloud import Cloud, Plan
from topologies.control_plane import Keys
from topologies.frames import Ear, send
from topologies.layout import FABRIC, UNDERLAY_BRIDGE, fabric_ip
from topologies.oracle import Sender, Service
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

TOKEN = b"this frame must not arrive"
MARK = b"this frame says that all before it have been dealt with"


@pytest.fixture(scope="module", params=["vxlan", "vlan", "flat"])
def cloud(request):
    """A cloud on each kind of fabric, in place of the one that the other modules share."""
    state = Path(tempfile.mkdtemp(prefix="sluice-fabric-"))
    try:
        with Cloud(Plan(name=f"fab{os.getpid()}", state=state, fabric=request.param)) as running:
            yield running
    finally:
        shutil.rmtree(state)


@pytest.fixture
def fabric(cloud):
    return cloud.plan.fabric


@pytest.fixture
def stranger(cloud, world):
    """The same cloud as another account sees it, whose VPC has the same addresses."""
    store = Store.open(cloud.config)
    try:
        account = create_account(store, f"stranger-{os.urandom(4).hex()}")
    finally:
        store.close()
    other = type(world)(cloud)
    other.ec2 = cloud.ec2(Keys(account.access_key_id, account.secret))
    try:
        yield other
    finally:
        other.clean()


def answers(wait_until, client, server, port=80):
    """Does the server answer the client?  A tunnel's first packet is lost while its peer is looked for."""
    return wait_until(lambda: client.inside.fetch(server.private_ip, port) == f"{server.id} saw {client.private_ip}")


def test_traffic_between_hosts_is_judged_and_passes_whole(world, fabric, wait_until, shut):
    clients, servers = world.group("clients"), world.group("servers")
    server, member = world.launch([servers], host="h1"), world.launch([clients], host="h2")
    other = world.launch([servers], host="h2")
    world.allow(servers, "tcp", 80, source=clients)
    world.allow(servers, "icmp", -1, -1, source=clients)
    assert answers(wait_until, member, server)
    assert member.inside.fetch(server.private_ip, 8080) == shut
    assert other.inside.fetch(server.private_ip) == shut
    mtu = {"vxlan": 1450}.get(fabric, 1500)
    assert f" mtu {mtu} " in member.inside.run("ip", "link", "show", "eth0").stdout
    ping = ("ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-M", "do", "-s")
    whole = member.inside.run(*ping, str(mtu - 28), server.private_ip)
    assert "3 received" in whole.stdout, whole.stdout
    too_big = member.inside.run(*ping, str(mtu - 27), server.private_ip)
    assert " 0 received" in too_big.stdout
    assert f"mtu={mtu}" in too_big.stdout + too_big.stderr, "the instance itself knows what is too big"


def test_traces_follow_packets_over_every_fabric(world, trace, wait_until, shut):
    clients, servers = world.group("clients"), world.group("servers")
    world.allow(servers, "tcp", 80, source=clients)
    server, member = world.launch([servers], host="h1"), world.launch([clients], host="h2")
    assert trace(member.id, server.id)["allowed"], "before the hosts know one another"
    assert answers(wait_until, member, server)
    for port, allowed in (("80", True), ("8080", False)):
        found = trace(member.id, server.id, port=port)
        assert found["allowed"] is allowed is (member.inside.fetch(server.private_ip, int(port)) != shut)
        assert [hop["host"] for hop in found["hops"]] == ["h2", "h1"]
        assert found["notes"] == []
        assert trace.agrees(
            found, Sender(member.interface, member.private_ip), server.private_ip, Service(6, int(port))
        )
    assert found["dropped"] == {"host": "h1", "table": 45, "name": "INGRESS_ACT"}


@pytest.mark.parametrize("cloud", ["vxlan"], indirect=True)
def test_the_first_packet_to_a_peer_is_not_lost(world, wait_until):
    group = world.group("open")
    world.allow(group, "icmp", -1, -1)
    one, other = world.launch([group], host="h1"), world.launch([group], host="h2")
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        switch = world.cloud.hypervisor(host)
        assert wait_until(lambda switch=switch, peer=peer: fabric_ip(peer) in switch.unixctl("tnl/neigh/show"), 30)
    assert one.inside.run("ping", "-c", "1", "-W", "1", other.private_ip).returncode == 0


@pytest.mark.parametrize("cloud", ["vxlan"], indirect=True)
def test_the_other_end_of_a_tunnel_is_not_called(world, trace):
    group = world.group("curious")
    guest = world.launch([group], host="h1")
    world.address(guest)
    for host in ("h1", "h2"):
        found = trace(guest.id, fabric_ip(host), "udp", "4789")
        assert (found["allowed"], found["dropped"]["name"]) == (False, "DESTINATIONS")
        assert f"{fabric_ip(host)} is where host {host} takes tunnel packets" in found["reason"]
        assert trace.agrees(found, Sender(guest.interface, guest.private_ip), fabric_ip(host), Service(17, 4789))


def test_two_vpcs_with_the_same_addresses_stay_apart(world, stranger, wait_until, outside_ip, shut):
    twins = []
    for tenant in (world, stranger):
        group = tenant.group("tenants")
        tenant.allow(group, "tcp", 80, source=group)
        tenant.allow(group, "tcp", 80, source=f"{outside_ip}/32")
        guests = [tenant.launch([group]) for _ in range(4)]
        by_host = {host: [guest for guest in guests if guest.host == host] for host in ("h1", "h2")}
        assert [len(found) for found in by_host.values()] == [2, 2]
        twins.append(by_host)
    ours, theirs = twins
    assert {(guest.private_ip, guest.host) for found in ours.values() for guest in found} == {
        (guest.private_ip, guest.host) for found in theirs.values() for guest in found
    }, "the two VPCs have the same addresses at the same hosts"
    for guests in twins:
        (one, two), (far, distant) = guests["h1"], guests["h2"]
        for client, server in ((one, two), (two, one), (one, far), (far, one), (distant, two), (far, distant)):
            assert answers(wait_until, client, server), (client.host, server.host)
    # What only one of them has, the other does not reach; nor does the peer of the same address take its place.
    gone = theirs["h2"][0]
    stranger.terminate(gone.id)
    for client in (theirs["h1"][0], theirs["h2"][1]):
        assert client.inside.fetch(gone.private_ip) == shut
    public, _ = world.address(ours["h1"][0])
    their_public, _ = stranger.address(theirs["h1"][0])
    assert world.cloud.outside.fetch(public) == f"{ours['h1'][0].id} saw {outside_ip}"
    assert world.cloud.outside.fetch(their_public) == f"{theirs['h1'][0].id} saw {outside_ip}"


@pytest.mark.parametrize("cloud", ["vxlan"], indirect=True)
def test_tunnel_packets_of_strangers_and_of_unknown_networks_are_dropped(world, wait_until):
    group = world.group("open")
    world.allow(group, "-1")
    victim, friend = world.launch([group], host="h1"), world.launch([group], host="h2")
    assert answers(wait_until, friend, victim)
    hypervisor = world.cloud.hypervisor("h1")
    vni = int(hypervisor.ofctl("dump-flows", "br-int", "table=7").rsplit("tun_id=", 1)[1].split(",")[0], 16)
    underlay = Vantage(hypervisor.netns).run("ip", "-br", "link", "show", UNDERLAY_BRIDGE).stdout.split()[2]
    inner = Ether(src=friend.mac, dst=victim.mac)
    packet = IP(src=friend.private_ip, dst=victim.private_ip) / UDP(dport=7)

    def tunnelled(source, network, frame):
        outer = Ether(src="02:00:00:00:00:77", dst=underlay) / IP(src=source, dst=fabric_ip("h1"))
        return bytes(outer / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(vni=network, flags=8) / frame)

    bad = inner / packet / Raw(TOKEN)
    frames = [
        tunnelled("10.254.0.99", vni, bad),
        tunnelled("10.255.0.1", vni, bad),
        tunnelled(fabric_ip("h2"), vni + 1000, bad),
        tunnelled(fabric_ip("h2"), 0, bad),
        tunnelled(fabric_ip("h2"), vni, inner / Dot1Q(vlan=1) / packet / Raw(TOKEN)),
        tunnelled(fabric_ip("h2"), vni, inner / packet / Raw(MARK)),
    ]
    with Ear(victim.inside, "eth0", MARK) as ear:
        send(Vantage(world.cloud.lab.netns(FABRIC)), "h1", frames)
        arrived = ear.heard()
    assert any(MARK in one for one in arrived), "what a known peer sends arrives"
    assert not any(TOKEN in one for one in arrived)
