"""Who asks is known by host and port, and what it is told by the store alone."""

from dataclasses import replace

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from controller.bindings import Binding, HostPorts
from controller.dhcp import dhcp_handler, lease_of, mtus
from controller.index import Place
from controller.packet_in import Unanswerable
from controller.world import World
from econe_api.config import DhcpConfig, Hypervisor
from econe_api.store.records import Batch, Change, InterfaceRecord, Kind, SubnetRecord, VpcRecord
from flowrules import tables
from flowrules.actions import Output
from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.dhcp import Lease
from flowrules.fields import IN_PORT
from flowrules.packet_in import BY_ACTION, PacketIn, packet_out

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
SETTINGS = DhcpConfig(dns=("192.0.2.53",), domain="cloud.example", mtu=1500, lease=600)
RECORDS = {
    (Kind.VPC, "vpc-1"): VpcRecord("vpc-1", 1, "10.0.0.0/16", 101),
    (Kind.SUBNET, "subnet-1"): SubnetRecord("subnet-1", "vpc-1", "10.0.16.0/22", "10.0.16.1"),
    (Kind.INTERFACE, "eni-1"): InterfaceRecord(
        "eni-1", "i-1", "vpc-1", "subnet-1", MACS[0], ("fd00::4", "10.0.16.4", "10.0.16.9"), ()
    ),
    (Kind.INTERFACE, "eni-2"): InterfaceRecord("eni-2", "i-2", "vpc-1", "subnet-1", MACS[1], ("10.0.16.5",), ()),
}
LEASE = Lease(
    mac=mac_to_int(MACS[0]),
    address=ipv4_to_int("10.0.16.4"),
    prefix_length=22,
    gateway=ipv4_to_int("10.0.16.1"),
    mtu=1450,
    seconds=600,
    hostname="ip-10-0-16-4",
    domain="cloud.example",
    dns=(ipv4_to_int("192.0.2.53"),),
)


@pytest.fixture
def index():
    """hv1 has eni-1 at port 3; hv2 has eni-2 at port 3, eni-1 (which is at hv1) at port 4, and a stranger at 5."""
    return build(RECORDS)


def build(records):
    world = World()
    world.apply(Batch(1, full=True, changes=tuple(Change(kind, key, one) for (kind, key), one in records.items())))
    first, second = (Binding(3, mac_to_int(mac)) for mac in MACS)
    world.bind("hv1", HostPorts(1, "br-int", interfaces={"eni-1": first}))
    moving, stranger = Binding(4, mac_to_int(MACS[0])), Binding(5, mac_to_int(MACS[0]))
    world.bind("hv2", HostPorts(2, "br-int", interfaces={"eni-2": second, "eni-1": moving, "eni-9": stranger}))
    return world.index


def shown(in_port, mac):
    body = BOOTP(xid=7, chaddr=bytes.fromhex(mac.replace(":", ""))) / DHCP(
        options=[("message-type", "discover"), "end"]
    )
    head = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    return PacketIn(BY_ACTION, tables.DHCP, 0, {IN_PORT.header: in_port}, bytes(head / body))


def test_an_interface_is_told_what_the_store_holds(index):
    assert lease_of(index, Place("hv1", 3), SETTINGS, 1450) == LEASE
    assert lease_of(index, Place("hv2", 3), SETTINGS, 1450).address == ipv4_to_int("10.0.16.5")


@pytest.mark.parametrize("place", [Place("hv1", 4), Place("hv3", 3), Place("hv2", 4), Place("hv2", 5)])
def test_a_port_that_nobody_knows_or_that_is_not_the_place_yet_gets_nothing(index, place):
    assert lease_of(index, place, SETTINGS, 1500) is None
    with pytest.raises(Unanswerable):
        dhcp_handler(SETTINGS, {})(index, place.host, shown(place.ofport, MACS[0]))


@pytest.mark.parametrize("missing", [(Kind.VPC, "vpc-1"), (Kind.SUBNET, "subnet-1"), (Kind.INTERFACE, "eni-1")])
def test_what_is_not_known_whole_gets_nothing(missing):
    index = build({key: record for key, record in RECORDS.items() if key != missing})
    assert lease_of(index, Place("hv1", 3), SETTINGS, 1500) is None


def test_a_vpc_without_dns_support_names_no_servers():
    vpc = replace(RECORDS[Kind.VPC, "vpc-1"], dns_support=False)
    index = build(RECORDS | {(Kind.VPC, "vpc-1"): vpc})
    assert lease_of(index, Place("hv1", 3), SETTINGS, 1450) == replace(LEASE, dns=())


def test_the_answer_leaves_by_the_port_that_asked(index):
    handle = dhcp_handler(SETTINGS, {"hv1": 1450})
    (message,) = handle(index, "hv1", shown(3, MACS[0]))
    start = packet_out([Output(3)], b"")
    assert message[4:].startswith(start[4:])
    answer = Ether(message[len(start) :])
    assert answer[BOOTP].yiaddr == "10.0.16.4"
    assert ("interface-mtu", 1450) in answer[DHCP].options


def test_who_says_to_be_another_gets_nothing(index):
    with pytest.raises(Unanswerable):
        dhcp_handler(SETTINGS, {})(index, "hv1", shown(3, MACS[1]))


def test_hosts_with_an_mtu_of_their_own():
    hosts = [Hypervisor(name, "a", 1, 1, options) for name, options in (("hv1", {"mtu": "1450"}), ("hv2", {}))]
    assert mtus(hosts) == {"hv1": 1450}
