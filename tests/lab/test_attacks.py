"""What an instance must not get through, sent as crafted frames."""

import contextlib

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.eap import EAPOL
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, LLC, STP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from topologies.frames import EVERY_INTERFACE, Ear, send
from topologies.layout import FABRIC, GATEWAY_MAC, ROUTER
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

ROUTER_MAC = "02:5c:e0:00:00:01"
TOKEN = b"this frame must not arrive"
MARK = b"this frame says that all before it have been dealt with"


def frame(layers):
    """Bytes of a frame that carries the token."""
    return bytes(layers / Raw(TOKEN))


def forged(attacker, victim, public_ip, other_public_ip):
    """Frames that claim what the attacker is not, by name."""
    own, to_victim = Ether(src=attacker.mac, dst=victim.mac), IP(src=attacker.private_ip, dst=victim.private_ip)
    broadcast = "ff:ff:ff:ff:ff:ff"
    offer = BOOTP(op=2, yiaddr=victim.private_ip) / DHCP(options=[("message-type", "offer"), "end"])
    return {
        "source address of nobody": own / IP(src="172.31.9.9", dst=victim.private_ip) / UDP(dport=7),
        "source address of the victim": own / IP(src=victim.private_ip, dst=victim.private_ip) / UDP(dport=7),
        "source MAC": Ether(src="02:00:00:00:00:99", dst=victim.mac) / to_victim / UDP(dport=7),
        "own elastic IP as source": own / IP(src=public_ip, dst=victim.private_ip) / UDP(dport=7),
        "elastic IP to the outside": Ether(src=attacker.mac, dst=ROUTER_MAC)
        / IP(src=public_ip, dst="203.0.113.10")
        / UDP(dport=7),
        "another's elastic IP to the outside": Ether(src=attacker.mac, dst=GATEWAY_MAC)
        / IP(src=other_public_ip, dst="203.0.113.10")
        / UDP(dport=7),
        "ARP for the victim": Ether(src=attacker.mac, dst=broadcast)
        / ARP(op=2, hwsrc=attacker.mac, psrc=victim.private_ip, pdst="172.31.0.9"),
        "ARP with a foreign hardware address": Ether(src=attacker.mac, dst=broadcast)
        / ARP(op=1, hwsrc=victim.mac, psrc=attacker.private_ip, pdst="172.31.0.9"),
        "ARP reply as itself": Ether(src=attacker.mac, dst=victim.mac)
        / ARP(op=2, hwsrc=attacker.mac, psrc=attacker.private_ip, hwdst=victim.mac, pdst=victim.private_ip),
        "ARP for an elastic IP": Ether(src=attacker.mac, dst=broadcast)
        / ARP(op=2, hwsrc=attacker.mac, psrc=other_public_ip, pdst="198.51.100.1"),
        "rogue DHCP offer": Ether(src=attacker.mac, dst=broadcast)
        / IP(src=attacker.private_ip, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / offer,
        "router advertisement": Ether(src=attacker.mac, dst="33:33:00:00:00:01")
        / IPv6(src="fe80::1", dst="ff02::1")
        / ICMPv6ND_RA(),
        "neighbour advertisement": own / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_NA(tgt="fe80::2"),
        "tagged frame": own / Dot1Q(vlan=101) / to_victim / UDP(dport=7),
        "tagged frame of VLAN 0": own / Dot1Q(vlan=0) / to_victim / UDP(dport=7),
        "twice tagged frame": own / Dot1Q(vlan=101) / Dot1Q(vlan=102) / to_victim / UDP(dport=7),
        "STP": Dot3(src=attacker.mac, dst="01:80:c2:00:00:00") / LLC() / STP(),
        "LLDP": Ether(src=attacker.mac, dst="01:80:c2:00:00:0e", type=0x88CC),
        "EAPOL": Ether(src=attacker.mac, dst="01:80:c2:00:00:03") / EAPOL(),
        "unknown ethertype": Ether(src=attacker.mac, dst=victim.mac, type=0x9000),
        "victim's address behind its MAC through the router": Ether(src=attacker.mac, dst=ROUTER_MAC)
        / IP(src="10.9.9.9", dst=victim.private_ip)
        / UDP(dport=7),
    }


def _shown(world):
    """Packets before the controller so far."""
    return sum(host["packet_ins"] for host in world.cloud.status()["hosts"])


def test_forged_frames_arrive_nowhere(world):
    group = world.group("open")
    world.allow(group, "-1")
    attacker, neighbour = world.launch([group], host="h1"), world.launch([group], host="h1")
    distant = world.launch([group], host="h2")
    public, _ = world.address(attacker)
    other_public, _ = world.address(neighbour)
    frames = [
        frame(layers)
        for victim in (neighbour, distant)
        for layers in forged(attacker, victim, public, other_public).values()
    ]
    assert len(frames) > 40
    marks = [
        bytes(Ether(src=attacker.mac, dst=mac) / IP(src=attacker.private_ip, dst=address) / UDP(dport=7) / Raw(MARK))
        for mac, address in (
            (neighbour.mac, neighbour.private_ip),
            (distant.mac, distant.private_ip),
            (ROUTER_MAC, "198.51.100.255"),  # nobody answers what goes to many, not even with an error
        )
    ]
    lab = world.cloud.lab
    places = {
        "neighbour": (neighbour.inside, "eth0"),
        "distant": (distant.inside, "eth0"),
        "fabric": (Vantage(lab.netns(FABRIC)), EVERY_INTERFACE),
        "public network": (Vantage(lab.netns(ROUTER)), EVERY_INTERFACE),
    }
    before = _shown(world)
    with contextlib.ExitStack() as stack:
        ears = {name: stack.enter_context(Ear(*place, MARK)) for name, place in places.items()}
        send(attacker.inside, "eth0", [*frames, *marks])
        heard = {name: ear.heard() for name, ear in ears.items()}
    for name, arrived in heard.items():
        assert any(MARK in one for one in arrived), f"the mark did not reach the {name}"
        assert [one.hex() for one in arrived if TOKEN in one] == [], name
    assert _shown(world) == before, "a frame was shown to the controller"


def test_a_private_address_forged_outside_is_not_taken_for_a_member(world):
    group = world.group("members")
    world.allow(group, "-1", source=group)
    world.allow(group, "udp", 7, source="203.0.113.0/24")
    member, server = world.launch([group], host="h1"), world.launch([group], host="h2")
    public, _ = world.address(server)
    gateway = Vantage(world.cloud.lab.netns(ROUTER))
    mac = "02:e1:" + ":".join(f"{int(part):02x}" for part in public.split("."))
    to_server = Ether(src=GATEWAY_MAC, dst=mac)
    attack = frame(to_server / IP(src=member.private_ip, dst=public) / UDP(dport=7))
    mark = bytes(to_server / IP(src="203.0.113.10", dst=public) / UDP(dport=7) / Raw(MARK))
    with Ear(server.inside, "eth0", MARK) as ear:
        send(gateway, "h2", [attack, mark])
        arrived = ear.heard()
    assert any(MARK in one for one in arrived)
    assert not any(TOKEN in one for one in arrived)


def test_replies_pass_without_a_rule_and_unsolicited_ones_do_not(world, outside_ip):
    group, shut_group = world.group("peer"), world.group("shut")
    peer, server = world.launch([group], host="h1"), world.launch([shut_group], host="h1")
    world.allow(group, "tcp", 80, source=shut_group)
    assert server.inside.fetch(peer.private_ip) == f"{peer.id} saw {server.private_ip}"
    world.allow(shut_group, "udp", 7)
    to_server = Ether(src=peer.mac, dst=server.mac) / IP(src=peer.private_ip, dst=server.private_ip)
    frames = [
        frame(to_server / TCP(sport=80, dport=40000, flags=flags, seq=1, ack=1))
        for flags in ("A", "SA", "PA", "FA", "R")
    ]
    frames.append(frame(to_server / ICMP(type=0, id=9)))
    frames.append(frame(to_server / UDP(sport=53, dport=40000)))
    with Ear(server.inside, "eth0", MARK) as ear:
        send(peer.inside, "eth0", [*frames, bytes(to_server / UDP(dport=7) / Raw(MARK))])
        arrived = ear.heard()
    assert any(MARK in one for one in arrived)
    assert not any(TOKEN in one for one in arrived)


def test_who_asks_for_its_own_address_hears_nothing_and_who_asks_for_a_neighbours_is_answered(world):
    """RFC 5227: an answer to a probe for one's own address would say that somebody else has it."""
    group = world.group("probing")
    one, other = world.launch([group], host="h1"), world.launch([group], host="h1")
    distant = world.launch([group], host="h2")

    def ask(who, source, hardware=one.mac):
        return bytes(
            Ether(src=one.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=hardware, psrc=source, pdst=who.private_ip)
        )

    silent = [ask(one, "0.0.0.0"), ask(one, one.private_ip)]  # a probe and an announcement
    asked = [ask(other, "0.0.0.0", "02:00:00:00:00:99"), ask(other, one.private_ip), ask(distant, one.private_ip)]
    last = ask(distant, "0.0.0.0")
    mark = bytes(map(int, distant.private_ip.split("."))) + bytes.fromhex(one.mac.replace(":", "")) + bytes(4)
    with Ear(one.inside, "eth0", mark) as ear:
        send(one.inside, "eth0", [*silent, *asked, last])
        answers = [found[ARP] for frame in ear.heard() if ARP in (found := Ether(frame))]
    said = [(found.op, found.psrc, found.hwsrc, found.pdst, found.hwdst) for found in answers]
    assert said == [
        (2, other.private_ip, other.mac, "0.0.0.0", one.mac),
        (2, other.private_ip, other.mac, one.private_ip, one.mac),
        (2, distant.private_ip, distant.mac, one.private_ip, one.mac),
        (2, distant.private_ip, distant.mac, "0.0.0.0", one.mac),
    ]
