"""Ports and elastic IPs that come, go, move and are used again: who owns what, and from when."""

import re
import subprocess
import sys
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from econe_api.compute import netns
from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from topologies.frames import Ear, send
from topologies.layout import GATEWAY_IP, GATEWAY_MAC, ROUTER
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

BROADCAST = "ff:ff:ff:ff:ff:ff"
MARK = b"the end of what is to be heard"
#: Seconds within which a restarted switch has its table back; the switch itself waits up to 1 s to connect.
RESTORED = 4.0


@pytest.fixture
def gateway(world):
    """The public network's router, where every hypervisor's uplink can be heard by itself."""
    return Vantage(world.cloud.lab.netns(ROUTER))


def port_of(world, guest):
    """Name and number of the instance's port."""
    switch = world.cloud.hypervisor(guest.host)
    columns = ("--bare", "--no-headings", "--columns=name,ofport")
    name, ofport = switch.vsctl(*columns, "find", "Interface", f"external_ids:iface-id={guest.interface}").split()
    return name, int(ofport)


def connections(world, host, zone):
    """What the connection tracker of a hypervisor holds in a zone."""
    return world.cloud.hypervisor(host).unixctl("dpctl/dump-conntrack", f"zone={zone}").splitlines()


def arp_answers(frames, public):
    parsed = [Ether(frame) for frame in frames]
    return [one for one in parsed if ARP in one and one[ARP].op == 2 and one[ARP].psrc == public]


def test_an_instance_reaches_itself_by_its_own_elastic_ip_if_its_rules_say_so(world, shut):
    group = world.group("self")
    guest = world.launch([group])
    public, _ = world.address(guest)
    assert guest.inside.fetch(public) == shut
    world.allow(group, "tcp", 80, source=group)
    assert guest.inside.fetch(public) == shut, "it comes as the elastic IP, which is in no group"
    world.allow(group, "tcp", 80, source=f"{public}/32")
    assert guest.inside.fetch(public) == f"{guest.id} saw {public}"
    assert guest.inside.fetch(public, 8080) == shut


def test_arp_for_an_elastic_ip_is_answered_once_however_many_hosts_hear_it(world, gateway):
    group = world.group("quiet")
    guests = [world.launch([group], host=host) for host in ("h1", "h2")]
    public, _ = world.address(guests[0])
    free, _ = world.address()
    senders = [f"02:aa:00:00:01:{number:02x}" for number in range(50)]
    requests = [
        bytes(Ether(src=mac, dst=BROADCAST) / ARP(op=1, hwsrc=mac, psrc=GATEWAY_IP, pdst=asked))
        for mac in senders
        for asked in (public, free, guests[0].private_ip)
    ]
    end = bytes(Ether(src=senders[0], dst=BROADCAST, type=0x9000)) + MARK
    with Ear(gateway, "h1", MARK, 3) as ear_one, Ear(gateway, "h2", MARK, 3) as ear_two:
        for host in ("h1", "h2"):
            send(gateway, host, [*requests, end])
        heard = [*ear_one.heard(), *ear_two.heard()]
    answers = arp_answers(heard, public)
    assert sorted(one.dst for one in answers) == senders, "each request has one answer"
    assert {one.src for one in answers} == {"02:e1:" + ":".join(f"{int(part):02x}" for part in public.split("."))}
    assert arp_answers(heard, free) == arp_answers(heard, guests[0].private_ip) == []


def test_a_moved_elastic_ip_is_announced_four_times_by_its_holder_alone(world, gateway):
    group = world.group("quiet")
    one, two = world.launch([group], host="h1"), world.launch([group], host="h2")
    public, allocation = world.address()
    with Ear(gateway, "h1", MARK, 4) as new, Ear(gateway, "h2", MARK, 4) as other:
        world.associate(allocation, one)
        assert announced(new.heard(), public) == 4
        assert announced(other.heard(), public) == 0
    with Ear(gateway, "h1", MARK, 4) as old, Ear(gateway, "h2", MARK, 4) as new:
        world.associate(allocation, two)
        assert announced(new.heard(), public) == 4
        assert announced(old.heard(), public) == 0
    with Ear(gateway, "h1", MARK, 4) as new, Ear(gateway, "h2", MARK, 4) as old:
        world.associate(allocation, one)
        time.sleep(0.3)  # between two announcements
        world.associate(allocation, two)
        assert 0 < announced(new.heard(), public) < 4, "who has lost it falls silent"
        assert announced(old.heard(), public) == 4


def announced(frames, public):
    parsed = [Ether(frame) for frame in frames]
    return sum(
        ARP in one and one.dst == BROADCAST and one[ARP].psrc == one[ARP].pdst == public and one.src == one[ARP].hwsrc
        for one in parsed
    )


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_a_reassociated_elastic_ip_takes_no_connection_along(world, outside_ip, wait_until, host):
    group = world.group("echo")
    world.allow(group, "tcp", 80)
    world.allow(group, "tcp", 9000)
    one, two = world.launch([group], host="h1"), world.launch([group], host=host)
    public, allocation = world.address(one)
    with world.cloud.outside.converse(public, 9000) as talk:
        assert wait_until(lambda: talk.echoes > 3)
        world.associate(allocation, two)
        assert wait_until(lambda: talk.silence > 1.0), "the connection to the first has stopped"
        assert wait_until(lambda: world.cloud.outside.fetch(public) == f"{two.id} saw {outside_ip}")
        assert wait_until(lambda: talk.silence > 2.0)
    assert connections_with(world, two, outside_ip, 9000) == [], "nothing of it went on with the second"


def connections_with(world, guest, address, port):
    """Established connections of ``address`` to a port of the instance."""
    lines = connections(world, guest.host, port_of(world, guest)[1])
    return [line for line in lines if f"src={address}" in line and f"dport={port}," in line and "ESTABLISHED" in line]


def test_who_gets_a_used_port_number_inherits_nothing(world, outside_ip, wait_until, shut):
    open_group, shut_group = world.group("open"), world.group("shut", shut=True)
    world.allow(open_group, "-1")
    old, new = world.launch([open_group], host="h1"), world.launch([shut_group], host="h1")
    peer = world.launch([open_group], host="h1")
    public, _ = world.address(old)
    switch = world.cloud.hypervisor("h1")
    (old_name, number), (new_name, _) = port_of(world, old), port_of(world, new)
    outside = world.cloud.outside
    with outside.converse(public, 9000) as from_outside, peer.inside.converse(old.private_ip, 9000) as from_peer:
        assert wait_until(lambda: from_outside.echoes > 3 and from_peer.echoes > 3)
        assert connections(world, "h1", number)
        # The instance dies hard, and its number goes to the other one in the same breath.
        switch.vsctl("del-port", old_name, "--", "set", "Interface", new_name, f"ofport_request={number}")
        assert port_of(world, new)[1] == number
        assert wait_until(lambda: from_outside.silence > 1.0 and from_peer.silence > 1.0)
        world.associate(world.allocations[0], new)
        assert wait_until(lambda: in_sync(world))
        assert outside.fetch(public) == shut
        assert outside.echo(public, 9000) == shut
        assert peer.inside.fetch(new.private_ip) == peer.inside.fetch(old.private_ip) == shut
        assert new.inside.fetch(outside_ip) == new.inside.fetch(peer.private_ip) == shut
        assert wait_until(lambda: from_outside.silence > 2.0 and from_peer.silence > 2.0)
    left = [line for line in connections(world, "h1", number) if "ESTABLISHED" in line]
    assert left == []
    world.allow(shut_group, "tcp", 80)
    assert outside.fetch(public) == f"{new.id} saw {outside_ip}", "what is allowed it has all the same"


def in_sync(world):
    return all(host["in_sync"] for host in world.cloud.status()["hosts"])


FORBIDDEN = b"this frame is forbidden"


def forbidden(source, target):
    """Packets that no rule of the instance allows."""
    to_target = IP(src=source, dst=target)
    return [to_target / UDP(dport=7) / Raw(FORBIDDEN), to_target / TCP(dport=80, flags="PA") / Raw(FORBIDDEN)]


def test_a_switch_that_restarts_lets_nothing_forbidden_through_and_is_back_soon(world, gateway, wait_until, shut):
    group = world.group("guarded")
    world.allow(group, "icmp", -1, -1)
    guest, neighbour = world.launch([group], host="h1"), world.launch([group], host="h1")
    public, _ = world.address(guest)
    outside, switch = world.cloud.outside, world.cloud.hypervisor("h1")
    before = world.flows()["h1"]
    mac = "02:e1:" + ":".join(f"{int(part):02x}" for part in public.split("."))
    from_outside = [bytes(Ether(src=GATEWAY_MAC, dst=mac) / one) for one in forbidden("203.0.113.10", public)]
    to_guest = Ether(src=neighbour.mac, dst=guest.mac)
    from_neighbour = [bytes(to_guest / one) for one in forbidden(neighbour.private_ip, guest.private_ip)]
    mark = bytes(to_guest / IP(src=neighbour.private_ip, dst=guest.private_ip) / ICMP() / Raw(MARK))
    with Ear(guest.inside, "eth0", MARK, 20) as ear:
        switch.kill("ovs-vswitchd")
        send(gateway, "h1", from_outside)
        switch.start_switch()
        started = time.monotonic()
        while outside.run("ping", "-n", "-c", "1", "-W", "0.2", public).returncode:
            send(gateway, "h1", from_outside)
            send(neighbour.inside, "eth0", from_neighbour)
            assert time.monotonic() - started < RESTORED, "the table is not back"
        assert wait_until(lambda: world.flows()["h1"] == before, RESTORED)
        send(gateway, "h1", from_outside)
        send(neighbour.inside, "eth0", [*from_neighbour, mark])
        heard = ear.heard()
    assert any(MARK in frame for frame in heard)
    assert not any(FORBIDDEN in frame for frame in heard)
    assert outside.fetch(public) == neighbour.inside.fetch(guest.private_ip) == shut


class Migration:
    """The instance's own interface a second time, at another hypervisor, as a live migration makes it."""

    def __init__(self, world, guest, target):
        self.world, self.guest, self.target = world, guest, target
        self.source, (self.port, _) = guest.host, port_of(world, guest)
        self.switch = world.cloud.hypervisor(target)
        self.subnet = guest.inside.run("ip", "-o", "-4", "address", "show", "eth0").stdout.split()[3]
        self.gateway = guest.inside.run("ip", "route", "show", "default").stdout.split()[2]

    def plug(self):
        """The target makes its port; the instance still runs at the source."""
        inside, switch, guest = self.guest.inside.namespace, self.switch, self.guest
        one = f"name eth9 netns {inside} address {guest.mac}"
        netns.ip_batch([f"link add {one} type veth peer name tapmig netns {switch.netns}"])
        netns.checksum_in_software(inside, "eth9")
        netns.checksum_in_software(switch.netns, "tapmig")
        netns.ip_batch(["link set tapmig up"], switch.netns)
        ids = {"iface-id": guest.interface, "attached-mac": guest.mac, "vm-id": guest.id}
        words = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        switch.vsctl("add-port", "br-int", "tapmig", "--", "set", "Interface", "tapmig", *words)
        netns.ip_batch(["link set eth9 up"], inside)

    def switch_over(self):
        """The instance stops at the source and goes on at the target; then the source's port goes."""
        lines = [
            "link set eth0 down",
            "link set eth0 name eth8",
            "link set eth9 down",
            "link set eth9 name eth0",
            f"address del {self.subnet} dev eth8",
            f"address add {self.subnet} dev eth0",
            "link set eth0 up",
            f"route replace default via {self.gateway} dev eth0",
        ]
        netns.ip_batch(lines, self.guest.inside.namespace)
        self.world.cloud.hypervisor(self.source).vsctl("del-port", self.port)

    def owners(self, public):
        """Hypervisors that answer ARP for the elastic IP."""
        hosts = self.world.cloud.lab.hypervisors.items()
        return [name for name, one in hosts if "actions" in one.ofctl("dump-flows", "br-int", f"arp,arp_tpa={public}")]


@pytest.mark.parametrize(("source", "target"), [("h1", "h2"), ("h2", "h1")])
def test_a_live_migration_is_never_dark_while_memory_is_copied_and_has_one_owner(
    world, wait_until, shut, source, target
):
    group = world.group("moving")
    world.allow(group, "icmp", -1, -1)
    guest, peer = world.launch([group], host=source), world.launch([group], host=source)
    public, _ = world.address(guest)
    outside = world.cloud.outside
    migration = Migration(world, guest, target)
    assert lost(outside, public, 5) == 0
    before = ports_at(world, target)
    migration.plug()
    assert wait_until(lambda: ports_at(world, target) == before + 1)
    assert wait_until(lambda: in_sync(world))
    assert lost(outside, public, 200) == lost(peer.inside, guest.private_ip, 200) == 0, "dark while memory is copied"
    assert migration.owners(public) == [source]
    seen = []
    started = time.monotonic()
    migration.switch_over()
    while target not in (owners := migration.owners(public)):
        seen.append(owners)
        assert time.monotonic() - started < 5
    assert all(len(one) < 2 for one in [*seen, owners])
    assert wait_until(lambda: lost(outside, public, 1) == 0)
    assert time.monotonic() - started < 2.5, "dark for too long"
    assert lost(outside, public, 100) == lost(peer.inside, guest.private_ip, 100) == 0
    assert outside.fetch(public) == peer.inside.fetch(guest.private_ip) == shut
    for said in ("", " already"):
        assert sluice(world, "instance", "moved", guest.id, target) == f"{guest.id} is on {target}{said}"
    assert wait_until(lambda: in_sync(world))
    assert lost(outside, public, 5) == 0


def sluice(world, *arguments):
    """What the command line says, its errors too."""
    command = [sys.executable, "-m", "sluice", "--config", str(world.cloud.config_file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout + done.stderr).strip()


def lost(vantage, address, count):
    """How many of ``count`` pings, 200 a second, had no answer."""
    text = vantage.run("ping", "-n", "-c", str(count), "-i", "0.005", "-W", "1", address).stdout
    return count - int(re.search(r"(\d+) received", text)[1])


def ports_at(world, host):
    return next(one["ports"] for one in world.cloud.status()["hosts"] if one["name"] == host)


def test_a_gateway_without_a_configured_mac_is_found_and_followed(world, gateway, wait_until, outside_ip):
    network, asked = "192.0.2", {"PublicIpv4Pool": "without-mac"}
    store = Store.open(world.cloud.config)
    try:
        create_pool(store, "without-mac", f"{network}.0/24", f"{network}.1", "", f"{network}.10", f"{network}.11")
    finally:
        store.close()
    group = world.group("web")
    world.allow(group, "tcp", 80)
    guest, other = world.launch([group], host="h1"), world.launch([group], host="h2")
    made = world.ec2.allocate_address(Domain="vpc", **asked)
    world.allocations.append(made["AllocationId"])
    public, outside = made["PublicIp"], world.cloud.outside
    world.associate(made["AllocationId"], guest)
    assert wait_until(lambda: "not answered" in str(world.cloud.status()["hosts"]), 30), "status names the gateway"
    assert outside.fetch(public) != f"{guest.id} saw {outside_ip}"
    netns.ip_batch([f"address add {network}.1/24 dev pub"], gateway.namespace)
    try:
        assert wait_until(lambda: outside.fetch(public) == f"{guest.id} saw {outside_ip}", 30)
        assert wait_until(lambda: "not answered" not in str(world.cloud.status()["hosts"]), 30), "status forgets it"
        assert guest.inside.fetch(outside_ip) == f"outside saw {public}"
        netns.ip_batch(["link set pub address 02:00:c6:33:64:02"], gateway.namespace)
        gateway.run("ip", "neigh", "flush", "dev", "pub")
        assert wait_until(lambda: outside.fetch(public) == f"{guest.id} saw {outside_ip}", 30), "a new MAC is followed"
        before = world.flows()
        world.cloud.restart("agent h1")
        assert wait_until(lambda: restarted(world), 30)
        assert world.flows() == before, "a new agent takes nothing away"
        world.associate(made["AllocationId"], other)
        assert wait_until(lambda: outside.fetch(public) == f"{other.id} saw {outside_ip}", 30)
    finally:
        netns.ip_batch(
            [f"link set pub address {GATEWAY_MAC}", f"address del {network}.1/24 dev pub"], gateway.namespace
        )


def restarted(world):
    return all(host["agent"] and not host["problems"] for host in world.cloud.status()["hosts"])
