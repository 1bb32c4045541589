"""Twenty thousand mutated frames: nothing falls over, nothing forbidden arrives, nobody else suffers."""

import ipaddress
import os
import random
import re
import struct
import threading
import time

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from channel.client import request
from econe_api.store.records import InterfaceRecord
from topologies import truth_cloud
from topologies.frames import Ear, send
from topologies.layout import GATEWAY_MAC, OUTSIDE_IP, ROUTER
from topologies.mutated_frames import mutated
from topologies.oracle import Sender, Service, verdict
from topologies.ovs import SWITCH
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

FROM_INSTANCE, FROM_UPLINK = 14_000, 6_000
RATE = 2500  # a second
SEED = int(os.environ.get("SLUICE_MUTATED_SEED", "20"))
ROUTER_MAC = "02:5c:e0:00:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"
MARK = b"this frame says that all before it have been dealt with"
GOOD_RATE, GOOD_SECONDS, GOOD_PORT = 200, 12, 5001
METER = 100  # packets a second of one port that may come before the controller, and as many at once


def raw(address):
    """MAC or IPv4 address as bytes."""
    return bytes.fromhex(address.replace(":", "")) if ":" in address else ipaddress.IPv4Address(address).packed


def elastic_mac(public):
    return "02:e1:" + ":".join(f"{int(part):02x}" for part in public.split("."))


def sound(mac, to_mac, source, destination):
    """Frames that are as they should be, of every kind that the pipeline looks into."""
    ether = Ether(src=mac, dst=to_mac)
    ip, everyone = IP(src=source, dst=destination), Ether(src=mac, dst=BROADCAST)
    six, quoted = IPv6(src="fd00::1", dst="fd00::2"), IP(src=destination, dst=source) / UDP(sport=7, dport=9)
    request_ = BOOTP(op=1, chaddr=raw(mac)) / DHCP(options=[("message-type", "discover"), "end"])
    solicit = ICMPv6ND_NS(tgt="fd00::2") / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return [
        bytes(layers)
        for layers in (
            *(
                ether / ip / TCP(sport=4000, dport=port, flags=flags)
                for port in (22, 80, 81)
                for flags in ("S", "A", "R")
            ),
            *(ether / ip / UDP(sport=4000, dport=port) / Raw(bytes(40)) for port in (53, 67, 68, 4789)),
            *(ether / ip / ICMP(type=kind) for kind in (0, 8, 13)),
            *(ether / ip / ICMP(type=kind, code=4) / quoted for kind in (3, 11, 12)),
            *(
                ether / IP(src=source, dst=destination, proto=number) / Raw(bytes(40))
                for number in (2, 4, 41, 47, 50, 132)
            ),
            *(everyone / ARP(op=op, hwsrc=mac, psrc=source, pdst=destination) for op in (1, 2, 3)),
            everyone / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / request_,
            everyone / IP(src=source, dst="255.255.255.255") / UDP(sport=67, dport=68) / request_,
            ether / six / TCP(dport=80),
            ether / six / ICMPv6EchoRequest(),
            ether / six / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::3"]) / UDP(dport=53),
            everyone / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_RA(),
            everyone / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_NA(tgt="fd00::2"),
            everyone / IPv6(src="fd00::1", dst="ff02::1:ff00:2", hlim=255) / solicit,
        )
    ]


class Judge:
    """Says of each frame that the victim got whether the oracle lets it have it."""

    def __init__(self, world, victim, public):
        self.state = truth_cloud.read_state(world.cloud, truth_cloud.ports(world.cloud))
        self.victim, self.public = victim, public
        self.owners = {address: record.id for record in self.state.all(InterfaceRecord) for address in record.addresses}

    def forbids(self, frame):
        """Why the victim must not have got this; None = it may have."""
        if raw(self.victim.mac) != frame[:6]:
            return "not for its MAC"
        if frame[12:14] == b"\x08\x06":
            return None if frame[20:22] == b"\x00\x02" else "ARP that is no answer of the switch"
        if frame[12:14] != b"\x08\x00" or frame[30:34] != raw(self.victim.private_ip):
            return "not IPv4 to its address"
        if struct.unpack_from("!H", frame, 20)[0] & 0x1FFF:
            return "a later fragment, which has no ports"
        protocol, payload = frame[23], frame[14 + (frame[14] & 15) * 4 :]
        if protocol == 1 and payload[0] in (3, 11, 12):
            return None if payload[20:24] == raw(self.victim.private_ip) else "an error about what it never sent"
        return self._refused(str(ipaddress.IPv4Address(frame[26:30])), protocol, payload)

    def _refused(self, source, protocol, payload):
        service = Service(protocol)
        if protocol in (6, 17):
            service = Service(protocol, struct.unpack_from("!H", payload, 2)[0])
        elif protocol == 1:
            service = Service(1, payload[0], payload[1])
        if source in self.owners:
            found = verdict(self.state, Sender(self.owners[source], source), self.victim.private_ip, service)
        else:
            found = verdict(self.state, Sender(None, source), self.public, service)
        return None if found.receiver == self.victim.interface else f"{source} may not send {service}"


def tracebacks(world):
    """Lines of the logs so far that tell of a crash."""
    logs = [*world.cloud.plan.state.glob("*.log"), *world.cloud.plan.state.glob("*/*.log")]
    words = ("Traceback", "assertion", "|EMER|", "segmentation")
    return [
        line for log in logs for line in log.read_text(errors="replace").splitlines() if any(w in line for w in words)
    ]


def test_twenty_thousand_mutated_frames(world, outside_ip, wait_until, record_property):
    open_, shut = world.group("attacker"), world.group("victim")
    attacker, victim = world.launch([open_], host="h1"), world.launch([shut], host="h1")
    neighbour = world.launch([open_], host="h1")
    public, _ = world.address(victim)
    for protocol, port in (("tcp", 80), ("udp", 7)):
        world.allow(shut, protocol, port)
    world.allow(shut, "icmp", 8, -1)
    world.allow(shut, "udp", GOOD_PORT, source=f"{neighbour.private_ip}/32")
    world.allow(shut, "tcp", 9000, source=f"{neighbour.private_ip}/32")
    judge = Judge(world, victim, public)
    rng = random.Random(SEED)
    claims = [raw(each) for each in (victim.mac, victim.private_ip, neighbour.mac, neighbour.private_ip, public)]
    claims += [raw(each) for each in (ROUTER_MAC, GATEWAY_MAC, BROADCAST, "127.0.0.1", "224.0.0.1", "10.255.0.1")]
    inside = [
        *sound(attacker.mac, victim.mac, attacker.private_ip, victim.private_ip),
        *sound(attacker.mac, ROUTER_MAC, attacker.private_ip, public),
        *sound(attacker.mac, ROUTER_MAC, attacker.private_ip, outside_ip),
    ]
    outside = sound(GATEWAY_MAC, elastic_mac(public), OUTSIDE_IP, public)
    gateway, hypervisor = Vantage(world.cloud.lab.netns(ROUTER)), world.cloud.hypervisor("h1")
    mark = Ether(src=attacker.mac, dst=victim.mac) / IP(src=attacker.private_ip, dst=victim.private_ip) / UDP(dport=7)
    pids = {name: world.cloud.pid(name) for name in world.cloud.daemons} | {SWITCH: hypervisor.pid(SWITCH)}
    flows, crashes, shown = world.flows(), tracebacks(world), packet_ins(world)
    seen, begun = looked_up(hypervisor), time.monotonic()
    found, good, heard = {}, {}, []
    threads = [
        threading.Thread(target=count, args=(victim.inside, found)),
        threading.Thread(target=pour, args=(neighbour.inside, victim.private_ip, good)),
    ]
    threads[0].start()
    assert wait_until(lambda: str(GOOD_PORT) in victim.inside.run("ss", "-Hlun").stdout)
    with neighbour.inside.converse(victim.private_ip, 9000) as talk, Ear(victim.inside, "eth0", MARK, 60.0) as ear:
        assert wait_until(lambda: talk.echoes > 2)
        threads.append(threading.Thread(target=lambda: heard.extend(ear.heard())))
        for thread in threads[1:]:
            thread.start()
        send(attacker.inside, "eth0", mutated(inside, claims, rng, FROM_INSTANCE), RATE)
        send(gateway, "h1", mutated(outside, claims, rng, FROM_UPLINK), RATE)
        seconds = time.monotonic() - begun
        assert talk.silence < 1.0, "a connection of the neighbour's goes on"
        send(attacker.inside, "eth0", [bytes(mark / Raw(MARK))])
        for thread in threads:
            thread.join()
    assert MARK in heard[-1], "the last frame has come: so have all before it"
    forbidden = [(judge.forbids(frame), frame.hex()) for frame in heard if judge.forbids(frame)]
    record_property(
        "mutated", f"{len(heard)} heard, {packet_ins(world) - shown} shown, {seconds:.1f} s, {good} {found}"
    )
    assert forbidden == []
    assert sum(frame[26:30] == raw(attacker.private_ip) for frame in heard) > 40, "what may arrive does"
    assert sum(frame[26:30] == raw(OUTSIDE_IP) for frame in heard) > 40
    sent = FROM_INSTANCE + FROM_UPLINK
    assert wait_until(lambda: looked_up(hypervisor) - seen > 0.95 * sent), "the switch has looked at nearly all of them"
    assert found["seen"] == good["sent"] > GOOD_RATE * (GOOD_SECONDS - 1), "the neighbour has lost nothing"
    assert packet_ins(world) - shown <= 3 * METER * (seconds + 2)
    assert {name: world.cloud.pid(name) for name in world.cloud.daemons} | {SWITCH: hypervisor.pid(SWITCH)} == pids
    assert all(daemon.status is None for daemon in world.cloud.daemons.values())
    assert world.flows() == flows
    assert audit(world)["findings"] == []
    assert tracebacks(world) == crashes


def count(vantage, found):
    done = vantage.run(
        "python3", "-m", "topologies.streams", "count-udp", str(GOOD_PORT), str(GOOD_SECONDS + 30), seconds=60
    )
    found["seen"] = int(done.stdout.split()[-1])


def pour(vantage, host, good):
    what = ("pour-udp", host, str(GOOD_PORT), str(GOOD_RATE), str(GOOD_SECONDS))
    done = vantage.run("python3", "-m", "topologies.streams", *what, seconds=GOOD_SECONDS + 20)
    good["sent"] = int(done.stdout.split()[1])


def looked_up(hypervisor):
    """Frames that have come to the first table so far."""
    return int(re.search(r"lookup=(\d+)", hypervisor.ofctl("dump-tables", "br-int"))[1])


def packet_ins(world):
    """Packets that the controller has been shown so far."""
    return sum(host["packet_ins"] for host in world.cloud.status()["hosts"])


def audit(world):
    message = {"op": "audit", "host": None, "repair": False, "foreign": False}
    return request(world.cloud.config.controller.socket, message, 60.0)


def test_the_same_seed_makes_the_same_frames():
    """And there is every kind among them: too short, tagged, with options, in fragments."""
    frames = sound("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2")
    one, other = (list(mutated(frames, [raw("10.0.0.9")], random.Random(1), 3000)) for _ in range(2))
    assert one == other
    assert len(set(one)) > 2500
    assert any(len(frame) < 34 for frame in one)
    assert any(frame[12:14] in (b"\x81\0", b"\x88\xa8") for frame in one)
    assert any(frame[12:14] == b"\x08\0" and frame[14] > 0x45 for frame in one if len(frame) > 60)
    assert any(frame[12:14] == b"\x08\0" and frame[20] & 0x3F for frame in one if len(frame) > 60)
