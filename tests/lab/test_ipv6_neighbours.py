"""Neighbour solicitations in floods, and what a trace says of IPv6."""

import re
import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from topologies.frames import send
from topologies.oracle import Sender, Service

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_traces_say_what_happens(six, trace, shut, host):
    clients, servers = six.group("clients"), six.group("servers")
    six.allow(servers, "tcp", 80, source=clients)
    six.allow(servers, "tcp", 8080)
    six.world.allow(servers, "-1")
    server, member = six.launch([servers], host="h1"), six.launch([clients], host=host)
    stranger = six.launch([six.group("strangers")], host=host)
    for client in (member, stranger):
        for port in (80, 8080, 22):
            found = trace(client.id, server.ipv6, port=str(port))
            assert found["allowed"] is (port == 8080 or (client, port) == (member, 80)), (port, found["reason"])
            if port != 22:  # nothing is there
                assert found["allowed"] is (client.inside.fetch(server.ipv6, port) != shut)
            assert trace.agrees(found, Sender(client.interface, client.ipv6), server.ipv6, Service(6, port))
            words = [rule["words"] for rule in found["rules"]]
            assert words[0] == "all traffic to ::/0"
            if found["allowed"]:
                assert len(words) == 2
                assert words[1].startswith(f"tcp {port} from ")
            else:
                assert f"no ingress rule of group servers ({servers}) allows tcp {port}" in found["reason"]
    assert trace(member.ipv6, server.id)["allowed"]
    assert not trace(member.id, server.id, "icmpv6", None)["allowed"]
    assert trace(member.id, server.id, "icmp", None)["allowed"]
    nobody = trace(member.id, server.ipv6.rsplit(":", 1)[0] + ":dead")
    assert not nobody["allowed"]
    assert trace(member.id, "2001:db8::1")["dropped"]["name"] == "ROUTE"


def solicited(switch):
    """Solicitations for which Open vSwitch has made answers."""
    lines = [line for line in switch.ofctl("dump-flows", "br-int", "table=38").splitlines() if "icmp_type=135" in line]
    return sum(int(re.search(r"n_packets=(\d+)", line)[1]) for line in lines)


def test_a_flood_of_solicitations_is_dropped_before_it_costs_the_neighbours(six, wait_until):
    group = six.group("flooding")
    six.allow(group, "icmpv6", -1, -1)
    flooder, neighbour = six.launch([group], host="h1"), six.launch([group], host="h1")
    switch = six.world.cloud.hypervisor("h1")
    many = Ether(src=flooder.mac, dst="33:33:ff:00:00:01") / IPv6(src=flooder.ipv6, dst="ff02::1:ff00:1")
    slla = ICMPv6NDOptSrcLLAddr(lladdr=flooder.mac)
    flood = [
        bytes(many / ICMPv6ND_NS(tgt=neighbour.ipv6) / slla)
    ] * 1000  # more at once would be lost before the switch has them
    before, began = solicited(switch), time.monotonic()
    for _ in range(8):
        send(flooder.inside, "eth0", flood)
        neighbour.inside.run("ip", "-6", "neigh", "flush", "dev", "eth0")
        assert neighbour.inside.run("ping", "-6", "-c", "1", "-W", "1", flooder.ipv6).returncode == 0
    most = 100 + 110 * (time.monotonic() - began) + 20  # the flooder's meter, and the neighbour's few
    assert wait_until(lambda: metered(switch, flooder) > 3 * most), "the meter has dropped most of it"
    assert 90 < solicited(switch) - before < most
    # The drop is the datapath's own: what comes to the slow path has passed the meter in an earlier lap.
    laps = [line for line in switch.unixctl("dpctl/dump-flows").splitlines() if "icmpv6(type=135" in line]
    assert any("recirc_id(0)" in line and "meter(" in line and "slow_path" not in line for line in laps), laps
    assert all("recirc_id(0)" not in line for line in laps if "slow_path" in line), laps


def metered(switch, guest):
    """Packets that the meter of a guest's port has dropped."""
    found = switch.vsctl("--bare", "--columns=ofport", "find", "Interface", f"external_ids:iface-id={guest.interface}")
    said = switch.ofctl("meter-stats", "br-int", f"meter={0x10000 + int(found)}")
    return int(re.search(r"0: packet_count:(\d+)", said)[1])
