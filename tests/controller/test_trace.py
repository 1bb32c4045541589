"""Reading traces, naming rules and reasons: values in, words out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.bindings import HostPorts
from controller.index import Index
from controller.keys import EntryKey, GroupKey, MemberKey
from controller.reasons import Journey, Service, allowing, covers, denial, ending
from controller.trace_ends import TraceError, read_destination, read_service, read_source, read_version
from controller.trace_text import IN_PORT, Step, read_trace
from controller.words import key_objects, key_words, rule_words
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
from flowrules import tables
from flowrules.intent import Direction
from topologies.oracle import Service as OracleService
from topologies.oracle import _covers

TRACE = """\
Flow: tcp,in_port=3,vlan_tci=0x0000,nw_src=10.0.1.10,nw_dst=10.0.1.11,nw_ttl=64

bridge("br-int")
----------------
 0. in_port=3,vlan_tci=0x0000/0x1fff, priority 100, cookie 0x51ce000000000001
    load:0x3->NXM_NX_REG0[]
    resubmit(,10)
15. ip, priority 1, cookie 0x51ce000000000002
    ct(table=20,zone=NXM_NX_REG0[0..15])
    drop
     -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 20.

Final flow: unchanged
Megaflow: recirc_id=0,eth
Datapath actions: ct(zone=3),recirc(0x1)

===============================================================================
recirc(0x1) - resume conntrack with ct_state=new|trk
===============================================================================

Flow: recirc_id=0x1,ct_state=new|trk,tcp,nw_src=10.0.1.10

bridge("br-int")
----------------
    thaw
        Resuming from table 20
    22. No match.
            drop
23. priority 1
    drop
50. priority 1, cookie 0x51ce000000000003
    load:0->NXM_OF_IN_PORT[]
    output:NXM_NX_REG1[0..15]
     -> output port is 4

Final flow: tcp,dl_vlan=101,nw_src=198.51.100.64,nw_ttl=63
Megaflow: recirc_id=0x1
Datapath actions: 5
"""


def test_a_trace_is_read_lap_by_lap():
    reading = read_trace(TRACE)
    assert [(step.table, step.priority, step.cookie & 0xFF) for step in reading.steps] == [
        (0, 100, 1),
        (15, 1, 2),
        (22, None, 0),
        (23, 1, 0),
        (50, 1, 3),
    ]
    assert [step.drops for step in reading.steps] == [False, False, True, True, False]
    assert reading.outputs == (4,)
    assert (reading.field("nw_src"), reading.field("dl_vlan"), reading.field("arp_sha")) == ("198.51.100.64", "101", "")


def test_outputs_are_ports_and_the_way_back():
    lines = 'bridge("b")\n 0. priority 1\n    output:7\n    IN_PORT\n    set_field:0x65->tun_id\n    output:8\n'
    reading = read_trace(lines)
    assert (reading.outputs, reading.tunnel) == ((7, IN_PORT, 8), 0x65)


@given(st.text())
def test_whatever_is_said_can_be_read(text):
    read_trace(text)
    read_trace(f'bridge("b")\n{text}')


services = st.one_of(
    st.builds(Service, st.sampled_from([6, 17]), st.integers(0, 6)),
    st.builds(Service, st.just(1), st.integers(0, 4), st.integers(0, 2)),
    st.builds(Service, st.sampled_from([47, 50])),
)
bounds = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted)


@given(services, st.sampled_from([-1, 1, 6, 17, 47]), bounds, st.booleans(), st.booleans())
def test_what_a_rule_covers_is_what_the_oracle_says(service, protocol, ports, whole, any_code):
    first, last = ports if protocol in (6, 17) and not whole else (None, None)
    if protocol == 1:
        first, last = (-1, -1) if whole else (ports[0], -1 if any_code else ports[1])
    rule = RuleRecord("sgr-1", False, protocol, first, last, "0.0.0.0/0", None)
    asked = OracleService(service.protocol, service.port or 0, service.code or 0)
    assert covers(rule, service) is _covers(rule, asked)


@pytest.fixture
def index() -> Index:
    rules = (
        RuleRecord("sgr-all", False, 6, 80, 80, "0.0.0.0/0", None),
        RuleRecord("sgr-wide", False, 6, 1, 100, "0.0.0.0/0", None),
        RuleRecord("sgr-own", False, 6, 22, 22, None, "sg-1"),
        RuleRecord("sgr-list", False, 17, 53, 53, None, None, "pl-1"),
    )
    records = [
        (Kind.VPC, "vpc-1", VpcRecord("vpc-1", 1, "10.0.0.0/16", 101)),
        (Kind.VPC, "vpc-2", VpcRecord("vpc-2", 2, "10.0.0.0/16", 102)),
        (Kind.POOL, "public", PoolRecord("public", "203.0.113.0/24", "203.0.113.1", "02:00:00:00:00:fe")),
        (Kind.GROUP, "sg-1", GroupRecord("sg-1", 1, "vpc-1", "web", rules)),
        (Kind.ADDRESS, "203.0.113.10", AddressRecord("203.0.113.10", "public", "eni-0", "10.0.1.10")),
        (Kind.ADDRESS, "203.0.113.20", AddressRecord("203.0.113.20", "public", "eni-5", "10.0.1.15")),
    ]
    for number, vpc, address in [(0, "vpc-1", 10), (1, "vpc-1", 11), (2, "vpc-2", 11)]:
        mac, groups = f"02:00:00:00:00:0{number}", ("sg-1",) if vpc == "vpc-1" else ()
        key = f"eni-{number}"
        record = InterfaceRecord(key, f"i-{number}", vpc, "subnet", mac, (f"10.0.1.{address}",), groups)
        records.append((Kind.INTERFACE, key, record))
    world = World()
    world.apply(Batch(1, True, tuple(Change(*record) for record in records)))
    return world.index


def test_the_rules_behind_the_flows_that_said_yes(index):
    owners = {
        1: GroupKey("sg-1", Direction.INGRESS),
        2: MemberKey("sg-1", "eni-1", "10.0.1.11", Direction.INGRESS),
        3: EntryKey("pl-1", "192.0.2.0/24", Direction.INGRESS),
    }
    rules, remotes = tables.INGRESS_RULES, tables.INGRESS_REMOTES
    anyone = [Step(rules, "", 40, 1, ("load:0x1->NXM_NX_REG5[0]",))]
    assert [one.rule.id for one in allowing(index, anyone, owners, Service(6, 80))] == ["sgr-all", "sgr-wide"]
    member = [Step(rules, "", 40, 1, ("resubmit(,44)",)), Step(remotes, "", 10, 2, ("load:0x1->NXM_NX_REG5[0]",))]
    assert [one.rule.id for one in allowing(index, member, owners, Service(6, 22))] == ["sgr-own"]
    entry = [member[0], Step(remotes, "", 10, 3, ("load:0x1->NXM_NX_REG5[0]",))]
    assert [one.rule.id for one in allowing(index, entry, owners, Service(17, 53))] == ["sgr-list"]
    assert rule_words(index, index.groups["sg-1"].rules[3]) == "udp 53 from pl-1"
    assert key_words(index, owners[3]) == "192.0.2.0/24 as an entry of pl-1"
    assert key_objects(owners[3]) == ("pl-1", "192.0.2.0/24")
    assert list(allowing(index, [Step(rules, "", None, 0, ("drop",))], owners, Service(6, 80))) == []


def test_every_reason_names_what_it_is_about(index):
    journey = Journey(Service(6, 443), "198.51.100.7", "10.0.1.10", None, "eni-0")
    ended = denial(index, Step(tables.INGRESS_ACT, "", 1, 9, ("drop",)), journey)
    assert ended.startswith(
        "no ingress rule of group web (sg-1) allows tcp 443 from 198.51.100.7. It has: sgr-all tcp 80"
    )
    for table in tables.TABLES:
        assert denial(index, Step(table, "", None, 0, ()), journey)
    assert "does not use" in denial(index, Step(99, "", None, 0, ()), journey)
    assert denial(index, None, journey)


NATIVE_TUNNEL = """\
Flow: tcp,in_port=3

bridge("br-int")
----------------
 0. in_port=3, priority 100, cookie 0x51ce000000000001
    set_field:0x1->tun_id
    set_field:10.254.0.12->tun_dst
    output:2
     -> output to native tunnel
     -> tunneling to 10.254.0.12 via br-phy

bridge("br-phy")
----------------
 0. priority 0
    output:1

Final flow: tcp,in_port=3
Megaflow: tcp,in_port=3
Datapath actions: 2
"""


def test_the_bridge_that_carries_tunnels_is_not_the_one_asked_about():
    found = read_trace(NATIVE_TUNNEL)
    assert [step.table for step in found.steps] == [0]
    assert found.steps[0].cookie == 0x51CE000000000001
    assert (found.outputs, found.tunnel) == ((2,), 1)


def test_the_ip_version_follows_the_ends():
    interface, four, six = {"interface": "eni-0"}, {"address": "192.0.2.1"}, {"address": "2001:db8::1"}
    assert read_version(interface, interface, Service(6, 80)) == 4
    assert read_version(interface, interface, Service(58, 128, 0)) == 6
    assert read_version(interface, six, Service(6, 80)) == 6
    assert read_version(four, interface, Service(1, 8, 0)) == 4
    for source, destination, service in [
        (four, six, Service(6, 80)),
        (interface, six, Service(1, 8, 0)),
        (four, interface, Service(58, 128, 0)),
    ]:
        with pytest.raises(TraceError):
            read_version(source, destination, service)


def test_a_closed_destination_is_blamed_on_what_it_is(index):
    closed, act = Step(tables.DESTINATIONS, "", 10, 7, ("resubmit(,23)",)), Step(tables.EGRESS_ACT, "", 1, 9, ("drop",))
    ruled = Step(tables.EGRESS_GROUPS, "", 10, 8, ())
    assert ending([closed, act]) is closed
    assert ending([closed, ruled, act]) is act
    assert ending([]) is None
    index.hosts["hv1"] = HostPorts(1, "br-int", tunnel_ip=0x0A_FE_00_0B)
    index.denied_destinations = ("198.51.100.0/24",)
    for address, words in [
        ("203.0.113.1", "203.0.113.1 is the gateway of pool public, and"),
        ("10.254.0.11", "10.254.0.11 is where host hv1 takes tunnel packets"),
        ("198.51.100.7", "198.51.100.7 is in 198.51.100.0/24 of denied_destinations"),
        ("192.168.1.1", "192.168.1.1 is in a private or special range outside the VPC"),
    ]:
        said = denial(index, closed, Journey(Service(6, 22), "10.0.1.10", address, "eni-0", None))
        assert said.startswith(words)
        assert (f"{address}/32 among allowed_destinations" in said) is ("special range" not in words)


def test_the_surprise_of_a_group_behind_an_elastic_ip_is_explained(index):
    journey = Journey(Service(6, 22), "203.0.113.10", "10.0.1.11", "eni-0", "eni-1")
    ended = denial(index, Step(tables.INGRESS_ACT, "", 1, 9, ("drop",)), journey)
    assert "Rule sgr-own means eni-0 (i-0, 10.0.1.10) by its private address" in ended
    assert "allow 203.0.113.10/32" in ended


def test_a_subnet_without_a_way_out_is_named(index):
    journey = Journey(Service(6, 80), "10.0.1.10", "198.51.100.7", "eni-0", None)
    ended = denial(index, Step(tables.ELASTIC_OUT, "", None, 0, ()), journey)
    assert ended.startswith("the subnet subnet of eni-0 (i-0, 10.0.1.10) has no route to an internet gateway; add 0.0.")
    index.subnets["subnet"] = SubnetRecord("subnet", "vpc-1", "10.0.1.0/24", "10.0.1.1")
    for sender in ("eni-0", "eni-1"):
        journey = Journey(Service(6, 80), "10.0.1.11", "198.51.100.7", sender, None)
        ended = denial(index, Step(tables.ELASTIC_OUT, "", None, 0, ()), journey)
        assert "has no elastic IP" in ended


def test_ends_are_who_the_user_means(index):
    assert read_source(index, {"address": "203.0.113.10"}).interface == "eni-0"
    assert read_source(index, {"address": "10.0.1.10"}).interface == "eni-0"
    assert read_source(index, {"address": "192.0.2.1"}).interface is None
    source = read_source(index, {"interface": "eni-0"})
    assert read_destination(index, {"address": "10.0.1.11"}, source).interface == "eni-1"
    assert read_destination(index, {"interface": "eni-1"}, source).address == "10.0.1.11"
    other = read_source(index, {"interface": "eni-2"})
    assert read_destination(index, {"interface": "eni-0"}, other).address == "203.0.113.10"
    assert "in another VPC and has no elastic IP" in read_destination(index, {"interface": "eni-2"}, source).problem
    outside = read_source(index, {"address": "192.0.2.1"})
    assert "needs an elastic IP" in read_destination(index, {"address": "10.0.1.10"}, outside).problem


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"interface": "eni-9"}, "does not know eni-9"),
        ({"address": "10.0.1.11"}, "several interfaces"),
        ({"address": "10.0.9.9"}, "nobody has 10.0.9.9"),
        ({"address": "203.0.113.77"}, "not associated"),
        ({"address": "203.0.113.20"}, "eni-5, which is attached to no instance"),
        ({"address": "web"}, "neither an address nor an instance"),
        ({"address": "2001:db8::1"}, "nobody comes in by IPv6"),
    ],
)
def test_ends_that_nobody_is_are_errors(index, spec, error):
    with pytest.raises(TraceError, match=error):
        read_source(index, spec)


@pytest.mark.parametrize(
    ("message", "service"),
    [
        ({"protocol": 6, "port": 80}, Service(6, 80)),
        ({"protocol": 1}, Service(1, 8, 0)),
        ({"protocol": 58}, Service(58, 128, 0)),
        ({"protocol": 1, "port": 3, "code": 4}, Service(1, 3, 4)),
        ({"protocol": 47, "port": 1}, Service(47)),
        ({"protocol": 6}, None),
        ({"protocol": 256}, None),
        ({"protocol": "tcp", "port": 80}, None),
        ({"protocol": 1, "port": 256}, None),
    ],
)
def test_services(message, service):
    if service is None:
        with pytest.raises(TraceError):
            read_service(message)
    else:
        assert read_service(message) == service
