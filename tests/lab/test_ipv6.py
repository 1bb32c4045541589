"""IPv6 between real namespaces: rules, neighbour discovery by real kernels, and frames that must arrive nowhere."""

import contextlib
import re

import pytest
from scapy.layers.dhcp6 import DHCP6_Advertise
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from topologies.frames import EVERY_INTERFACE, Ear, send
from topologies.layout import FABRIC, ROUTER
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

ROUTER_MAC = "02:5c:e0:00:00:01"
TOKEN = b"this frame must not arrive"
MARK = b"this frame says that all before it have been dealt with"


def seen(guest, client):
    return f"{guest.id} saw {client.ipv6}"


def gateway_of(guest):
    """The address that the guest's default route names."""
    shown = guest.inside.run("ip", "-6", "route", "show", "default").stdout
    return re.search(r"via (\S+)", shown)[1]


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_private_traffic_follows_group_membership(six, shut, host):
    clients, servers = six.group("clients"), six.group("servers")
    server = six.launch([servers], host="h1")
    member = six.launch([clients], host=host)
    stranger = six.launch([six.group("strangers")], host=host)
    six.allow(servers, "tcp", 80, source=clients)
    assert member.inside.fetch(server.ipv6) == seen(server, member)
    assert member.inside.fetch(server.ipv6, 8080) == shut
    assert stranger.inside.fetch(server.ipv6) == shut
    assert server.inside.fetch(member.ipv6) == shut
    # The reference covers both versions.
    assert member.inside.fetch(server.private_ip) == f"{server.id} saw {member.private_ip}"
    six.revoke(servers, "tcp", 80, source=clients)
    assert member.inside.fetch(server.ipv6) == shut


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_ranges_speak_of_their_own_version(six, shut, host):
    servers = six.group("servers")
    server, client = six.launch([servers], host="h1"), six.launch([six.group("clients")], host=host)
    six.world.allow(servers, "-1", source="0.0.0.0/0")
    assert client.inside.fetch(server.private_ip) == f"{server.id} saw {client.private_ip}"
    assert client.inside.fetch(server.ipv6) == shut
    six.allow(servers, "tcp", 80, source=f"{client.ipv6}/128")
    assert client.inside.fetch(server.ipv6) == seen(server, client)
    six.revoke(servers, "tcp", 80, source=f"{client.ipv6}/128")
    assert client.inside.fetch(server.ipv6) == shut
    six.allow(servers, "tcp", 79, 80, source="fc00::/7")
    assert client.inside.fetch(server.ipv6) == seen(server, client)
    assert client.inside.fetch(server.ipv6, 8080) == shut
    six.revoke(servers, "tcp", 79, 80, source="fc00::/7")
    six.allow(servers, "-1", source="2001:db8::/32")
    assert client.inside.fetch(server.ipv6) == shut
    six.allow(servers, "-1")
    assert client.inside.fetch(server.ipv6, 8080) == seen(server, client)


def test_egress_rules(six, shut):
    group = six.group("both")
    six.allow(group, "-1")
    six.world.allow(group, "-1")
    one, other = six.launch([group], host="h1"), six.launch([group], host="h2")
    assert one.inside.fetch(other.ipv6) == seen(other, one)
    six.world.revoke_egress(group, "-1", destination="::/0")
    assert one.inside.fetch(other.ipv6) == shut
    assert one.inside.fetch(other.private_ip) == f"{other.id} saw {one.private_ip}"
    six.world.allow_egress(group, "tcp", 80, destination=f"{other.ipv6}/128")
    assert one.inside.fetch(other.ipv6) == seen(other, one)
    assert other.inside.fetch(one.ipv6) == shut


def test_icmpv6_by_type_and_code(six):
    group = six.group("pinged")
    one, other = six.launch([group], host="h1"), six.launch([group], host="h2")

    def answers():
        return one.inside.run("ping", "-6", "-c", "1", "-W", "1", other.ipv6).returncode == 0

    assert not answers()
    six.allow(group, "icmpv6", 129, -1)
    assert not answers()
    six.allow(group, "icmpv6", 128, 1)
    assert not answers()
    six.allow(group, "icmpv6", 128, 0)
    assert answers()
    six.revoke(group, "icmpv6", 128, 0)
    assert not answers()
    six.allow(group, "icmpv6", -1, -1, source=group)
    assert answers()


def test_a_revoked_rule_cuts_the_connection_and_the_rule_again_resumes_it(six, wait_until):
    group = six.group("cut")
    one, other = six.launch([group], host="h1"), six.launch([group], host="h1")
    six.allow(group, "tcp", 9000)
    with one.inside.converse(other.ipv6, 9000) as talk:
        assert wait_until(lambda: talk.echoes > 3)
        six.revoke(group, "tcp", 9000)
        assert wait_until(lambda: talk.silence > 1.0)
        before = talk.echoes
        six.allow(group, "tcp", 9000)
        assert wait_until(lambda: talk.echoes > before, 30)


def test_real_kernels_find_their_neighbours_and_no_duplicate(six, wait_until):
    group = six.group("neighbours")
    six.allow(group, "icmpv6", -1, -1)
    one, other = six.launch([group], host="h1"), six.launch([group], host="h2")
    inside = one.inside
    assert inside.run("ping", "-6", "-c", "1", "-W", "1", other.ipv6).returncode == 0
    shown = inside.run("ip", "-6", "neigh", "show", other.ipv6, "dev", "eth0").stdout
    assert f"lladdr {other.mac}" in shown
    # The virtual router answers as well, and is known as reachable: the answer was solicited.
    gateway = gateway_of(one)
    inside.run("ping", "-6", "-c", "1", "-W", "1", gateway)
    shown = inside.run("ip", "-6", "neigh", "show", gateway, "dev", "eth0").stdout
    assert f"lladdr {ROUTER_MAC}" in shown
    assert "REACHABLE" in shown
    # Nobody answers for what nobody has.
    nobody = gateway.removesuffix("1") + "dead"
    inside.run("ping", "-6", "-c", "1", "-W", "1", nobody)
    assert "lladdr" not in inside.run("ip", "-6", "neigh", "show", nobody, "dev", "eth0").stdout
    # The kernel probes for its own address (RFC 4862) and finds that nobody else has it.
    assert inside.run("ip", "-6", "address", "del", f"{one.ipv6}/64", "dev", "eth0").returncode == 0
    assert inside.run("ip", "-6", "address", "add", f"{one.ipv6}/64", "dev", "eth0").returncode == 0
    assert "tentative" in inside.run("ip", "-6", "address", "show", "dev", "eth0", "scope", "global").stdout
    show = ("ip", "-6", "address", "show", "dev", "eth0")
    assert wait_until(lambda: "tentative" not in inside.run(*show).stdout)
    assert "dadfailed" not in inside.run(*show).stdout
    assert inside.run("ping", "-6", "-c", "1", "-W", "1", other.ipv6).returncode == 0


def forged(attacker, victim):
    """Frames that claim what the attacker is not, or may not say, by name."""
    link_local, all_nodes = "fe80::1", "ff02::1"
    own = Ether(src=attacker.mac, dst=victim.mac)
    many = Ether(src=attacker.mac, dst="33:33:00:00:00:01")
    routed = Ether(src=attacker.mac, dst=ROUTER_MAC)
    mine, his = attacker.ipv6, victim.ipv6
    nearby = victim.ipv6.rpartition(":")[0] + ":beef"
    slla, tlla = ICMPv6NDOptSrcLLAddr(lladdr=attacker.mac), ICMPv6NDOptDstLLAddr(lladdr=attacker.mac)
    router = ICMPv6ND_RA(routerlifetime=1800) / slla / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64)
    advertised = {}
    for name, source in (("itself", mine), ("a link-local address", link_local), ("the victim", his)):
        advertised |= {
            f"router advertisement to all from {name}": many / IPv6(src=source, dst=all_nodes) / router,
            f"router advertisement to the victim from {name}": own / IPv6(src=source, dst=his) / router,
            f"advertisement of the victim from {name}": many
            / IPv6(src=source, dst=all_nodes)
            / ICMPv6ND_NA(tgt=his, R=0, S=0, O=1)
            / tlla,
            f"advertisement to the victim from {name}": own
            / IPv6(src=source, dst=his)
            / ICMPv6ND_NA(tgt=mine, R=0, S=1, O=1)
            / tlla,
            f"redirect from {name}": own / IPv6(src=source, dst=his) / ICMPv6ND_Redirect(tgt=mine, dst="2001:db8::1"),
            f"router solicitation from {name}": many / IPv6(src=source, dst="ff02::2") / ICMPv6ND_RS() / slla,
            f"solicitation from {name} to the victim": own / IPv6(src=source, dst=his) / ICMPv6ND_NS(tgt=nearby) / slla,
        }
    hidden = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
    return advertised | {
        "source of nobody": own / IPv6(src="2001:db8::9", dst=his) / UDP(dport=7),
        "source near by": own / IPv6(src=nearby, dst=his) / UDP(dport=7),
        "source of the victim": own / IPv6(src=his, dst=his) / UDP(dport=7),
        "no source": own / IPv6(src="::", dst=his) / UDP(dport=7),
        "link-local source": own / IPv6(src=link_local, dst=his) / UDP(dport=7),
        "link-local source, echo": own / IPv6(src=link_local, dst=his) / ICMPv6EchoRequest(),
        "IPv4-mapped source": own / IPv6(src=f"::ffff:{attacker.private_ip}", dst=his) / UDP(dport=7),
        "foreign MAC": Ether(src="02:00:00:00:00:99", dst=victim.mac) / IPv6(src=mine, dst=his) / UDP(dport=7),
        "victim's source through the router": routed / IPv6(src=his, dst=his) / UDP(dport=7),
        "to the outside": routed / IPv6(src=mine, dst="2001:db8::1") / UDP(dport=7),
        "all nodes": many / IPv6(src=mine, dst=all_nodes) / UDP(dport=7),
        "listener report": many / IPv6(src=mine, dst="ff02::16") / ICMPv6MLReport2(),
        "DHCPv6 server": own / IPv6(src=mine, dst=his) / UDP(sport=547, dport=546) / DHCP6_Advertise(),
        "solicitation with a foreign link-layer address": many
        / IPv6(src=mine, dst=all_nodes)
        / ICMPv6ND_NS(tgt=his)
        / ICMPv6NDOptSrcLLAddr(lladdr=victim.mac),
        "probe for the victim's address": many / IPv6(src="::", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=his),
        "router advertisement behind a hop-by-hop header": own / IPv6(src=mine, dst=his) / hidden / router,
        "router advertisement behind destination options": own
        / IPv6(src=mine, dst=his)
        / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
        / router,
        "router advertisement in a first fragment": own
        / IPv6(src=mine, dst=his)
        / IPv6ExtHdrFragment(offset=0, m=1, id=7)
        / router,
    }


def test_forged_frames_arrive_nowhere(six):
    group = six.group("open")
    six.allow(group, "-1")
    attacker, neighbour = six.launch([group], host="h1"), six.launch([group], host="h1")
    distant = six.launch([group], host="h2")
    frames = [
        bytes(layers / Raw(TOKEN)) for victim in (neighbour, distant) for layers in forged(attacker, victim).values()
    ]
    marks = [
        bytes(Ether(src=attacker.mac, dst=to.mac) / IPv6(src=attacker.ipv6, dst=to.ipv6) / UDP(dport=7) / Raw(MARK))
        for to in (neighbour, distant)
    ]
    lab = six.world.cloud.lab
    places = {
        "neighbour": (neighbour.inside, "eth0"),
        "distant": (distant.inside, "eth0"),
        "fabric": (Vantage(lab.netns(FABRIC)), EVERY_INTERFACE),
    }
    before = _shown(six)
    with contextlib.ExitStack() as stack:
        ears = {name: stack.enter_context(Ear(*place, MARK)) for name, place in places.items()}
        public = stack.enter_context(Ear(Vantage(lab.netns(ROUTER)), EVERY_INTERFACE, MARK, 3))
        send(attacker.inside, "eth0", [*frames, *marks])
        heard = {name: ear.heard() for name, ear in ears.items()}
        heard_outside = public.heard()
    for name, arrived in heard.items():
        assert any(MARK in one for one in arrived), f"the mark did not reach the {name}"
        assert [one.hex() for one in arrived if TOKEN in one] == [], name
    assert [one.hex() for one in heard_outside if TOKEN in one] == []
    assert neighbour.inside.fetch(distant.ipv6) == seen(distant, neighbour)  # no cache was poisoned
    assert _shown(six) == before


def _shown(six):
    """Packets before the controller so far."""
    return sum(host["packet_ins"] for host in six.world.cloud.status()["hosts"])


def _routing(kind, left):
    return IPv6ExtHdrRouting(type=kind, segleft=left, addresses=["2001:db8::5"])


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_rules_see_through_extension_headers(six, host):
    group = six.group("headers")
    six.allow(group, "udp", 7)
    sender, receiver = six.launch([six.group("sender")], host="h1"), six.launch([group], host=host)
    head = Ether(src=sender.mac, dst=receiver.mac) / IPv6(src=sender.ipv6, dst=receiver.ipv6)
    padding = [PadN(optdata=b"\0" * 4)]
    chains = {
        "hop-by-hop": IPv6ExtHdrHopByHop(options=padding),
        "destination options": IPv6ExtHdrDestOpt(options=padding),
        "routing type 0": _routing(0, 0),
        "routing type 4": _routing(4, 0),
        "all of them": IPv6ExtHdrHopByHop(options=padding) / IPv6ExtHdrDestOpt(options=padding) / _routing(4, 0),
    }
    # A checksum that counts the last stop of a journey to go on is not one of a packet to this receiver.
    onward = {f"to go on, type {kind}": _routing(kind, 1) for kind in (0, 4)}
    frames = [bytes(head / chain.copy() / UDP(sport=1, dport=8) / Raw(TOKEN)) for chain in chains.values()]
    frames += [bytes(head / chain / UDP(sport=1, dport=7) / Raw(TOKEN)) for chain in onward.values()]
    frames += [
        bytes(head / chain.copy() / UDP(sport=1, dport=7) / Raw(f"honoured: {name}!")) for name, chain in chains.items()
    ]
    mark = bytes(head / UDP(dport=7) / Raw(MARK))
    with Ear(receiver.inside, "eth0", MARK) as ear:
        send(sender.inside, "eth0", [*frames, mark])
        arrived = ear.heard()
    assert any(MARK in one for one in arrived)
    assert not any(TOKEN in one for one in arrived)
    honoured = {name for name in chains if any(f"honoured: {name}!".encode() in one for one in arrived)}
    assert honoured == set(chains)


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_what_is_forbidden_does_not_pass_in_fragments(six, host):
    """What the rules forbid does not pass in pieces."""
    group = six.group("pieces")
    six.allow(group, "udp", 7)
    sender, receiver = six.launch([six.group("sender")], host="h1"), six.launch([group], host=host)
    head = Ether(src=sender.mac, dst=receiver.mac) / IPv6(src=sender.ipv6, dst=receiver.ipv6)

    def pieces(number, text, port, cut):
        whole = bytes(IPv6(src=sender.ipv6, dst=receiver.ipv6) / UDP(sport=5, dport=port) / Raw(text * 60))[40:]
        return [
            bytes(head / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=number) / Raw(whole[:cut])),
            bytes(head / IPv6ExtHdrFragment(nh=17, offset=cut // 8, m=0, id=number) / Raw(whole[cut:])),
        ]

    frames = [
        *pieces(1, TOKEN, 8, 256),  # forbidden, in pieces smaller than any link's
        *pieces(2, TOKEN, 8, 1400),  # forbidden
        pieces(3, TOKEN, 7, 1400)[1],  # an end without a beginning
        pieces(4, TOKEN, 8, 1400)[0],  # a beginning without an end
    ]
    mark = bytes(head / UDP(dport=7) / Raw(MARK))
    with Ear(receiver.inside, "eth0", MARK) as ear:
        send(sender.inside, "eth0", [*frames, mark])
        arrived = ear.heard()
    assert any(MARK in one for one in arrived)
    assert not any(TOKEN in one for one in arrived)


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_large_packets_pass_in_fragments_where_everything_may(six, host):
    group = six.group("large")
    six.allow(group, "-1")
    six.world.allow(group, "icmp", -1, -1)  # IPv4 says the protocol in every piece
    sender, receiver = six.launch([six.group("sender")], host="h1"), six.launch([group], host=host)
    for address in (receiver.ipv6, receiver.private_ip):
        pinged = sender.inside.run("ping", "-s", "4000", "-c", "3", "-i", "0.2", "-W", "2", address)
        assert pinged.returncode == 0, pinged.stdout
