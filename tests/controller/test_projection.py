"""What one host has to know of an object, and what it must not."""

from dataclasses import replace

import pytest

from controller.bindings import Binding, HostPorts
from controller.index import Index, remote_of
from controller.keys import (
    BridgeKey,
    DestinationsKey,
    ElasticKey,
    GatewayKey,
    GroupKey,
    MemberKey,
    MetadataClientKey,
    MetadataKey,
    NeighbourKey,
    NetworkKey,
    PortKey,
    PrefixKey,
)
from controller.projection import prefix, resolve
from controller.world import World
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.intent import (
    ANYWHERE,
    Bridge,
    Destinations,
    Direction,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Local,
    Member,
    Metadata,
    MetadataClient,
    Neighbour,
    Network,
    Port,
    Prefix,
    Remote,
    Rule,
)

MACS = [mac_to_int(f"02:00:00:00:00:0{number}") for number in range(3)]
IPS = [ipv4_to_int(f"10.0.1.1{number}") for number in range(3)]
GATEWAY_MAC = "02:00:00:00:00:fe"
VPC = VpcRecord("vpc-1", 5, "10.0.0.0/16", 105)
RULES = (
    RuleRecord("sgr-1", False, 6, 80, 80, None, "sg-db"),
    RuleRecord("sgr-2", False, 6, 22, 22, "198.51.100.0/24", None),
    RuleRecord("sgr-3", True, -1, None, None, "0.0.0.0/0", None),
)
WEB = GroupRecord("sg-web", 7, "vpc-1", "web", RULES)
INTERFACES = [
    InterfaceRecord(
        f"eni-{number}", None, "vpc-1", "subnet-1", f"02:00:00:00:00:0{number}", (f"10.0.1.1{number}",), (group,)
    )
    for number, group in enumerate(["sg-web", "sg-db", "sg-db"])
]
OFFICE = "198.51.100.0/24"


@pytest.fixture
def world():
    """eni-0 (sg-web) on hv1, eni-1 (sg-db) on hv2, eni-2 (sg-db) nowhere; hv3 is empty."""
    known = World()
    records = [
        (Kind.VPC, VPC),
        (Kind.SUBNET, SubnetRecord("subnet-1", "vpc-1", "10.0.1.0/24", "10.0.1.1")),
        (Kind.GROUP, WEB),
        (Kind.GROUP, GroupRecord("sg-db", 8, "vpc-1", "db", ())),
        *((Kind.INTERFACE, record) for record in INTERFACES),
    ]
    changes = [Change(kind, record.id, record) for kind, record in records]
    changes.append(Change(Kind.POOL, "public", PoolRecord("public", "203.0.113.0/24", "203.0.113.1", GATEWAY_MAC)))
    address = AddressRecord("203.0.113.9", "public", "eni-0", "10.0.1.10")
    known.apply(Batch(1, True, (*changes, Change(Kind.ADDRESS, address.public_ip, address))))
    known.bind("hv1", HostPorts(1, "br-int", 1, 2, {"eni-0": Binding(10, MACS[0])}))
    known.bind("hv2", HostPorts(2, "br-int", 1, 3, {"eni-1": Binding(11, MACS[1])}))
    known.bind("hv3", HostPorts(3, "br-int", None, None))
    return known


def seen(world, host, key):
    return resolve(world.index, host, key)


def change(world, kind, key, record):
    world.apply(Batch(world.revision + 1, False, (Change(kind, key, record),)))


def test_what_a_host_with_a_port_knows(world):
    web, db = GroupMembers(7), GroupMembers(8)
    office = Prefix(ipv4_to_int("198.51.100.0"), 24)
    rules = frozenset({Rule(6, 80, 80, db), Rule(6, 22, 22, office)})
    expected = {
        BridgeKey(): Bridge(1, 2),
        DestinationsKey(): Destinations(frozenset({prefix("203.0.113.0/24")}), frozenset({prefix("203.0.113.1/32")})),
        PortKey("eni-0"): Port(10, MACS[0], (IPS[0],), 5, (7,)),
        NetworkKey("vpc-1"): Network(5, Prefix(ipv4_to_int("10.0.0.0"), 16), 105),
        GatewayKey("subnet-1"): Gateway(5, ipv4_to_int("10.0.1.1")),
        NeighbourKey("eni-0", "10.0.1.10"): Neighbour(5, IPS[0], MACS[0], Local(10), False),
        NeighbourKey("eni-1", "10.0.1.11"): Neighbour(5, IPS[1], MACS[1], Remote(2, 105), False),
        NeighbourKey("eni-2", "10.0.1.12"): Neighbour(5, IPS[2], MACS[2], None, False),
        GroupKey("sg-web", Direction.INGRESS): Group(7, Direction.INGRESS, rules),
        GroupKey("sg-web", Direction.EGRESS): Group(7, Direction.EGRESS, frozenset({Rule(-1, None, None, ANYWHERE)})),
        MemberKey("sg-db", "eni-1", "10.0.1.11", Direction.INGRESS): Member(db, Prefix(IPS[1], 32), Direction.INGRESS),
        MemberKey("sg-db", "eni-2", "10.0.1.12", Direction.INGRESS): Member(db, Prefix(IPS[2], 32), Direction.INGRESS),
        PrefixKey(OFFICE, Direction.INGRESS): Member(office, office, Direction.INGRESS),
        ElasticKey("203.0.113.9"): ElasticIp(
            ipv4_to_int("203.0.113.9"), IPS[0], 10, MACS[0], 5, mac_to_int(GATEWAY_MAC)
        ),
    }
    assert {key: seen(world, "hv1", key) for key in expected} == expected
    assert {key for key in world.keys("hv1") if seen(world, "hv1", key) is not None} == set(expected)
    assert web not in {getattr(intent, "remote", None) for intent in expected.values()}


def test_the_metadata_service_and_who_may_ask_it(world):
    host, client = MetadataKey(), MetadataClientKey("eni-0")
    assert (seen(world, "hv1", host), seen(world, "hv1", client)) == (None, None)
    wired = HostPorts(1, "br-int", 1, 2, {"eni-0": Binding(10, MACS[0])}, metadata=4)
    assert {host, client} <= world.bind("hv1", wired)["hv1"]
    assert seen(world, "hv1", host) == Metadata(4)
    assert seen(world, "hv1", client) == MetadataClient(10, MACS[0], IPS[0])
    assert seen(world, "hv1", MetadataClientKey("eni-1")) is None
    assert {host, client} <= set(world.keys("hv1"))
    dark = replace(INTERFACES[0], addresses=("fd00::4",))
    change(world, Kind.INTERFACE, "eni-0", dark)
    assert seen(world, "hv1", client) is None


def test_destinations_follow_pools_tunnels_and_the_operator(world):
    world.index.allowed_destinations = ("10.20.0.0/16", "10.20.0.1/32")
    world.index.denied_destinations = ("192.0.2.0/24",)
    change(world, Kind.POOL, "office", PoolRecord("office", "10.9.0.0/24", "10.9.0.1", ""))
    dirty = world.bind("hv2", replace(world.index.hosts["hv2"], mode="vxlan", tunnel_ip=ipv4_to_int("100.64.0.2")))
    assert all(DestinationsKey() in dirty[host] for host in world.index.hosts)
    found = seen(world, "hv1", DestinationsKey())
    assert found.open == {prefix(one) for one in ("10.20.0.0/16", "10.20.0.1/32", "203.0.113.0/24", "10.9.0.0/24")}
    assert found.closed == {prefix(one) for one in ("192.0.2.0/24", "203.0.113.1/32", "10.9.0.1/32", "100.64.0.2/32")}
    change(world, Kind.POOL, "office", None)
    assert prefix("10.9.0.0/24") not in seen(world, "hv1", DestinationsKey()).open


def test_what_others_need_not_know(world):
    """A group's rules and the members that they refer to are known where the group has a port, and only there."""
    for key in (
        PortKey("eni-0"),
        ElasticKey("203.0.113.9"),
        GroupKey("sg-web", Direction.INGRESS),
        MemberKey("sg-db", "eni-1", "10.0.1.11", Direction.INGRESS),
        PrefixKey(OFFICE, Direction.INGRESS),
    ):
        assert seen(world, "hv2", key) is None
    assert seen(world, "hv1", MemberKey("sg-db", "eni-1", "10.0.1.11", Direction.EGRESS)) is None
    assert seen(world, "hv1", PrefixKey("0.0.0.0/0", Direction.EGRESS)) is None
    assert [key for key in world.keys("hv3") if seen(world, "hv3", key) is not None] == [BridgeKey(), DestinationsKey()]
    assert seen(world, "hv9", BridgeKey()) is None


def test_a_port_stays_dark(world):
    """Until its group and VPC are known, and when the hypervisor has attached another MAC."""
    port = PortKey("eni-0")
    change(world, Kind.GROUP, "sg-web", None)
    assert seen(world, "hv1", port) is None
    change(world, Kind.GROUP, "sg-web", WEB)
    change(world, Kind.VPC, "vpc-1", None)
    assert seen(world, "hv1", port) is None
    change(world, Kind.VPC, "vpc-1", VPC)
    assert seen(world, "hv1", port) is not None
    world.bind("hv1", HostPorts(1, "br-int", 1, 2, {"eni-0": Binding(10, MACS[2])}))
    assert seen(world, "hv1", port) is None
    assert seen(world, "hv1", ElasticKey("203.0.113.9")) is None


def test_an_interface_seen_twice_is_in_one_place(world):
    world.bind("hv2", HostPorts(2, "br-int", 1, 3, {"eni-0": Binding(12, MACS[0])}))
    assert seen(world, "hv2", PortKey("eni-0")) is None
    assert seen(world, "hv1", PortKey("eni-0")).ofport == 10
    world.bind("hv1", HostPorts(1, "br-int", 1, 2))
    assert seen(world, "hv1", PortKey("eni-0")) is None
    assert seen(world, "hv2", PortKey("eni-0")).ofport == 12


def test_a_flat_fabric(world):
    change(world, Kind.VPC, "vpc-1", replace(VPC, vlan=0))
    assert seen(world, "hv1", PortKey("eni-0")).flat
    assert seen(world, "hv1", NetworkKey("vpc-1")).vlan is None
    assert seen(world, "hv1", NeighbourKey("eni-1", "10.0.1.11")).via == Remote(2, None)


def test_a_second_subnet_brings_the_router(world):
    change(world, Kind.SUBNET, "subnet-2", SubnetRecord("subnet-2", "vpc-1", "10.0.2.0/24", "10.0.2.1"))
    assert seen(world, "hv1", NeighbourKey("eni-1", "10.0.1.11")).routed


def test_a_rule_that_refers_to_a_group_that_is_gone_allows_nobody(world):
    change(world, Kind.GROUP, "sg-db", None)
    found = seen(world, "hv1", GroupKey("sg-web", Direction.INGRESS))
    assert {rule.first for rule in found.rules} == {22}


def test_an_address_of_another_private_address_is_nowhere(world):
    change(world, Kind.ADDRESS, "203.0.113.9", AddressRecord("203.0.113.9", "public", "eni-0", "10.0.1.99"))
    assert seen(world, "hv1", ElasticKey("203.0.113.9")) is None


def test_an_address_in_a_subnet_without_a_way_out_is_nowhere(world):
    closed = SubnetRecord("subnet-1", "vpc-1", "10.0.1.0/24", "10.0.1.1", public=False)
    assert seen(world, "hv1", ElasticKey("203.0.113.9")) is not None
    for record in (closed, None):
        change(world, Kind.SUBNET, "subnet-1", record)
        assert seen(world, "hv1", ElasticKey("203.0.113.9")) is None


def test_a_rule_refers_to_something():
    with pytest.raises(ValueError, match="sgr-9 refers to nothing"):
        remote_of(RuleRecord("sgr-9", False, -1, None, None, None, None))
    assert resolve(Index(), "hv1", BridgeKey()) is None
