"""ICMP errors through elastic IPs: what they are for works, what is forged dies, a flood is bounded."""

import os
import re
import sys
import time
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror, UDPerror
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from topologies.frames import Ear, send
from topologies.layout import GATEWAY_IP, GATEWAY_MAC, OUTSIDE, ROUTER
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

MARK = b"the end of what is to be heard"
TOKEN = b"not to be delivered"
SMALL_MTU = 1300
UPLOAD = 2_000_000
FLOOD = 20_000

#: Sends datagrams with a TTL to HOST PORT until an error comes back or a second is over; prints errno and who said so.
PROBE = """
import socket, struct, sys, time
host, port, ttl = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.IPPROTO_IP, 11, 1)
one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
one.connect((host, port))
deadline = time.monotonic() + 1.5
one.send(b"probe")
while time.monotonic() < deadline:
    try:
        _, extra, _, _ = one.recvmsg(2048, 2048, 0x2000 | 0x40)
    except BlockingIOError:
        time.sleep(0.01)
        continue
    error = extra[0][2]
    print(struct.unpack_from("=IBBB", error)[2:4], socket.inet_ntoa(error[20:24]))
    break
else:
    print("silence")
"""
SINK = """
import socket
server = socket.create_server(("", 5001))
print("ready", flush=True)
peer, _ = server.accept()
total = 0
while part := peer.recv(65536):
    total += len(part)
peer.sendall(str(total).encode())
"""
UPLOADER = """
import socket, sys
peer = socket.create_connection((sys.argv[1], 5001), timeout=8)
peer.sendall(bytes(int(sys.argv[2])))
peer.shutdown(socket.SHUT_WR)
print(peer.recv(100).decode())
"""
#: Sends datagrams that must not be fragmented and takes the errors as a sender of QUIC does.
DATAGRAMS = """
import errno, socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.IPPROTO_IP, 10, 2)
one.connect((sys.argv[1], 5002))
size = 1472
for _ in range(60):
    try:
        one.send(bytes(size))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            continue
        size = one.getsockopt(socket.IPPROTO_IP, 14) - 28
        continue
    time.sleep(0.02)
print(size)
"""


def script(vantage, text, *arguments):
    """What a script says in a place."""
    done = vantage.run(sys.executable, "-c", text, *map(str, arguments), seconds=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def probe(vantage, host, port=7, ttl=64):
    return script(vantage, PROBE, host, port, ttl)


def said(kind, code, who):
    return f"({kind}, {code}) {who}"


def router(world):
    return Vantage(world.cloud.lab.netns(ROUTER))


def elastic_mac(public):
    return "02:e1:" + ":".join(f"{int(part):02x}" for part in public.split("."))


def sound(frame):
    """Are all checksums of an ICMP error right, those of a wholly quoted datagram as well?"""
    made = Ether(frame)
    for layer in (IP, ICMP, IPerror, UDPerror):
        if layer in made and not (layer is UDPerror and len(made[UDPerror]) < made[UDPerror].len):
            del made[layer].chksum
    return bytes(made) == frame


def host_status(world, name):
    return next(host for host in world.cloud.status()["hosts"] if host["name"] == name)


def errors_in(frames, kind, code):
    """ICMP errors of this kind, as frames."""
    parsed = [(frame, Ether(frame)) for frame in frames]
    return [frame for frame, one in parsed if ICMP in one and (one[ICMP].type, one[ICMP].code) == (kind, code)]


@pytest.fixture
def open_guest(world):
    """Launches instances that let everything in, with an elastic IP."""
    group = world.group("open")
    world.allow(group, "-1")

    def launch(host="h1"):
        guest = world.launch([group], host=host)
        return guest, world.address(guest)[0]

    return launch


def test_an_error_reaches_the_opener_of_a_connection_and_a_forged_one_nobody(world, wait_until):
    """Between private addresses, where nothing is rewritten."""
    group = world.group("peers")
    world.allow(group, "udp", 7, source=group)
    one, other = world.launch([group], host="h1"), world.launch([group], host="h1")
    assert probe(one.inside, other.private_ip) == said(3, 3, other.private_ip)
    quoted = IP(src=one.private_ip, dst=other.private_ip) / UDP(sport=999, dport=999) / Raw(TOKEN)
    head = Ether(src=other.mac, dst=one.mac) / IP(src=other.private_ip, dst=one.private_ip)
    forged = bytes(head / ICMP(type=3, code=3) / quoted)
    mark = bytes(head / UDP(sport=5, dport=7) / Raw(MARK))
    before = invalid(world, "h1")
    with Ear(one.inside, "eth0", MARK) as ear:
        send(other.inside, "eth0", [forged, mark])
        heard = ear.heard()
    assert any(MARK in frame for frame in heard)
    assert not any(TOKEN in frame for frame in heard)
    assert wait_until(lambda: invalid(world, "h1") > before), "dropped as invalid, and counted"


def invalid(world, host):
    """Packets that the connection tracker could make nothing of."""
    lines = world.cloud.hypervisor(host).ofctl("dump-flows", "br-int").splitlines()
    return sum(packets(line) for line in lines if "+inv+trk actions=drop" in line)


def packets(line):
    return int(re.search(r"n_packets=(\d+)", line)[1])


@pytest.mark.parametrize("about", ["another address", "an unknown connection", "a cut header"])
def test_a_forged_error_dies_behind_an_elastic_ip(world, open_guest, about, wait_until):
    guest, public = open_guest()
    source = "198.51.100.99" if about == "another address" else public
    quoted = IP(src=source, dst="203.0.113.10") / UDP(sport=999, dport=999) / Raw(TOKEN)
    quoted = Raw(bytes(quoted)[:24]) if about == "a cut header" else quoted
    head = Ether(src=GATEWAY_MAC, dst=elastic_mac(public)) / IP(src=GATEWAY_IP, dst=public)
    forged = bytes(head / ICMP(type=3, code=1) / quoted)
    before, invalid_before = host_status(world, "h1"), invalid(world, "h1")
    with Ear(guest.inside, "eth0", MARK) as ear:
        send(router(world), "h1", [forged])
        assert wait_until(lambda: host_status(world, "h1")["packet_ins"] == before["packet_ins"] + 1)
        if about == "an unknown connection":
            assert wait_until(lambda: invalid(world, "h1") == invalid_before + 1)
        else:
            assert host_status(world, "h1")["refused"] == before["refused"] + 1
        send(router(world), "h1", [bytes(head / UDP(dport=7) / Raw(MARK))])
        heard = ear.heard()
    assert any(MARK in frame for frame in heard)
    assert errors_in(heard, 3, 1) == []


@pytest.fixture
def narrow(world, outside_ip):
    """The lab's router reaches the outside host by a link of a small MTU, which only the router knows of."""
    lab = world.cloud.lab

    def mtu(size):
        assert lab.run(ROUTER, "ip", "link", "set", "rtr0", "mtu", str(size)).returncode == 0

    mtu(SMALL_MTU)
    yield
    mtu(1500)


def test_path_mtu_discovery_by_tcp_and_udp(world, open_guest, narrow, outside_ip):
    guest, _ = open_guest()
    with world.cloud.lab.popen(OUTSIDE, sys.executable, "-c", SINK, stdout=-1) as sink:
        assert sink.stdout.readline() == b"ready\n"
        with Ear(guest.inside, "eth0", MARK, 4) as ear:
            assert script(guest.inside, UPLOADER, outside_ip, UPLOAD) == str(UPLOAD)
            heard = ear.heard()
        sink.wait(10)
    assert f"mtu {SMALL_MTU}" in guest.inside.run("ip", "route", "get", outside_ip).stdout
    needed = errors_in(heard, 3, 4)
    assert needed, "the router has said so"
    for frame in needed:
        quoted = Ether(frame)[IPerror]
        assert (quoted.src, quoted.dst) == (guest.private_ip, outside_ip)
        assert Ether(frame)[ICMP].nexthopmtu == SMALL_MTU
        assert sound(frame)
    second, _ = open_guest()
    assert script(second.inside, DATAGRAMS, outside_ip) == str(SMALL_MTU - 28)


@pytest.mark.parametrize("checksum", [True, False], ids=["with a checksum", "without a checksum"])
def test_an_error_of_an_instance_arrives_outside_as_from_its_elastic_ip(world, open_guest, outside_ip, checksum):
    _, public = open_guest()
    mark = bytes(Ether(src=GATEWAY_MAC, dst=_mac_of_outside(world), type=0x9000) / Raw(MARK))
    with Ear(world.cloud.outside, "out0", MARK, 5) as ear:
        if checksum:
            assert probe(world.cloud.outside, public) == said(3, 3, public)
        else:
            bare = Ether(src=GATEWAY_MAC, dst=elastic_mac(public)) / IP(src=outside_ip, dst=public, ttl=9)
            send(router(world), "h1", [bytes(bare / UDP(sport=999, dport=7, chksum=0) / Raw(b"probe"))])
        frames = _until_error(ear, world, mark)
    (error,) = errors_in(frames, 3, 3)
    parsed = Ether(error)
    assert (parsed[IP].src, parsed[IPerror].src, parsed[IPerror].dst) == (public, outside_ip, public)
    if checksum:
        assert sound(error)
    else:
        assert parsed[UDPerror].chksum == 0


def _mac_of_outside(world):
    return re.search(r"ether (\S+)", world.cloud.outside.run("ip", "link", "show", "out0").stdout)[1]


def _until_error(ear, world, mark):
    """What is heard up to a mark that is sent when the error must have come."""
    deadline = time.monotonic() + 1.0
    before = host_status(world, "h1")
    while host_status(world, "h1")["answered"] == before["answered"] and time.monotonic() < deadline:
        time.sleep(0.05)
    send(router(world), "rtr0", [mark])
    return ear.heard()


def test_traceroute_both_ways(world, open_guest, outside_ip):
    guest, public = open_guest()
    # Inwards: the lab's router, the virtual router (which says nothing), and the elastic IP as the last hop.
    hops = [probe(world.cloud.outside, public, 33434, ttl) for ttl in (1, 2, 3)]
    assert hops == [said(11, 0, "203.0.113.1"), "silence", said(3, 3, public)]
    # Outwards: the errors that come back quote the elastic IP.
    hops = [probe(guest.inside, outside_ip, 33434, ttl) for ttl in (1, 2, 3)]
    assert hops == ["silence", said(11, 0, GATEWAY_IP), said(3, 3, outside_ip)]


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_errors_between_two_elastic_ips(open_guest, host):
    one, _ = open_guest()
    _, public = open_guest(host)
    assert probe(one.inside, public) == said(3, 3, public)


def test_the_ttl_falls_once_per_routed_hop(world, open_guest, outside_ip):
    (one, public_one), (two, public_two) = open_guest(), open_guest()
    datagram = UDP(sport=5, dport=7) / Raw(MARK)
    router_mac = "02:5c:e0:00:00:01"

    def arrives(place, interface, sender, by, frame):
        with Ear(place, interface, MARK, 2) as ear:
            send(sender, by, [bytes(frame)])
            heard = [Ether(one) for one in ear.heard() if MARK in one]
        return [frame[IP].ttl for frame in heard]

    def inwards(ttl):
        head = Ether(src=GATEWAY_MAC, dst=elastic_mac(public_one)) / IP(src=outside_ip, dst=public_one, ttl=ttl)
        return arrives(one.inside, "eth0", router(world), "h1", head / datagram)

    def outwards(ttl, destination, place, interface):
        head = Ether(src=one.mac, dst=router_mac) / IP(src=one.private_ip, dst=destination, ttl=ttl)
        return arrives(place, interface, one.inside, "eth0", head / datagram)

    assert inwards(64) == [63]
    assert inwards(2) == [1]
    assert outwards(64, outside_ip, world.cloud.outside, "out0") == [62], "the lab's router is a hop as well"
    assert outwards(64, public_two, two.inside, "eth0") == [62], "out of one elastic IP and in by the other"
    switched = Ether(src=one.mac, dst=two.mac) / IP(src=one.private_ip, dst=two.private_ip, ttl=1) / datagram
    assert arrives(two.inside, "eth0", one.inside, "eth0", switched) == [1]
    before = host_status(world, "h1")["packet_ins"]
    assert inwards(1) == []
    assert outwards(1, outside_ip, router(world), "h1") == []
    assert outwards(2, public_two, two.inside, "eth0") == []
    assert host_status(world, "h1")["packet_ins"] == before, "nobody asks the controller"


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_flood_of_errors_is_bounded_and_hurts_nobody_else(world, open_guest, outside_ip, wait_until):
    (_, public), (neighbour, _) = open_guest(), open_guest()
    head = Ether(src=GATEWAY_MAC, dst=elastic_mac(public)) / IP(src="203.0.113.99", dst=public)
    flood = [
        bytes(head / ICMP(type=3, code=3) / IP(src=public, dst="203.0.113.10") / UDP(sport=port, dport=port))
        for port in range(FLOOD)
    ]
    before, seen_before, pid = host_status(world, "h1"), _seen(world), world.cloud.pid("controller")
    with world.cloud.outside.converse(public, 9000) as talk:
        while talk.echoes < 3:
            assert talk.silence < 3
            time.sleep(0.05)
        spent, began, echoes = cpu_seconds(pid), time.monotonic(), talk.echoes
        for start in range(0, FLOOD, 1000):  # more at once would be lost before the switch has them
            send(router(world), "h1", flood[start : start + 1000])
            if start % 5000 == 0:
                assert probe(neighbour.inside, outside_ip) == said(3, 3, outside_ip), "the neighbour has its own share"
        called = time.monotonic()
        world.allow(world.groups[0], "tcp", 1000)
        call = time.monotonic() - called
        seconds, spent = time.monotonic() - began, cpu_seconds(pid) - spent
        assert talk.silence < 1.0
        assert talk.echoes - echoes > seconds * 3
    after = host_status(world, "h1")
    shown = after["packet_ins"] - before["packet_ins"]
    assert shown <= 100 + 110 * seconds + 10, "the meter of the port"
    assert spent < 0.2 + 0.25 * seconds
    assert call < 2.0
    assert after["dropped"] == before["dropped"]
    assert wait_until(lambda: _seen(world) - seen_before > 3 * shown), "the switch has dropped most of what came"


def test_an_instance_that_floods_errors_leaves_its_neighbour_its_share(world, open_guest, outside_ip, wait_until):
    (flooder, public), (_, neighbour) = open_guest(), open_guest()
    opened = IP(src=outside_ip, dst=public, ttl=9) / UDP(sport=999, dport=7) / Raw(b"opens a connection")
    send(router(world), "h1", [bytes(Ether(src=GATEWAY_MAC, dst=elastic_mac(public)) / opened)])
    about = IP(src=outside_ip, dst=flooder.private_ip) / UDP(sport=999, dport=7)
    head = Ether(src=flooder.mac, dst="02:5c:e0:00:00:01") / IP(src=flooder.private_ip, dst=outside_ip)
    flood = [bytes(head / ICMP(type=3, code=3) / about)] * FLOOD
    before, began = host_status(world, "h1"), time.monotonic()
    for start in range(0, FLOOD, 5000):
        send(flooder.inside, "eth0", flood[start : start + 5000])
        assert probe(world.cloud.outside, neighbour) == said(3, 3, neighbour)
    seconds, after = time.monotonic() - began, host_status(world, "h1")
    assert 50 < after["packet_ins"] - before["packet_ins"] <= 100 + 110 * seconds + 10


def _seen(world):
    """ICMP errors for elastic IPs that the switch has had."""
    lines = world.cloud.hypervisor("h1").ofctl("dump-flows", "br-int", "table=6").splitlines()
    return sum(packets(line) for line in lines if "icmp_type=3" in line)
