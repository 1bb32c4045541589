"""Every single difference between store, controller and switch is named as what it is: values in, findings out."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.findings import HEALED, HostView, Kind, find, stale_zones, zones_of
from controller.mending import Mending, flow_mods
from controller.world import World
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    PoolRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from econe_api.store.records import Kind as Record
from flowrules.addresses import mac_to_int
from flowrules.live import as_live, compare

MACS = ("02:00:00:00:00:03", "02:00:00:00:00:04")


def changes():
    rules = (
        RuleRecord("sgr-out", True, -1, None, None, "0.0.0.0/0", None),
        RuleRecord("sgr-web", False, 6, 80, 80, "0.0.0.0/0", None),
        RuleRecord("sgr-own", False, 17, 5000, 5010, None, "sg-1"),
    )
    records = [
        (Record.VPC, VpcRecord("vpc-1", 1, "10.0.0.0/16", 101)),
        (Record.SUBNET, SubnetRecord("subnet-1", "vpc-1", "10.0.1.0/24", "10.0.1.1")),
        (Record.GROUP, GroupRecord("sg-1", 1, "vpc-1", "web", rules)),
    ]
    yield Change(Record.POOL, "public", PoolRecord("public", "203.0.113.0/24", "203.0.113.1", "02:00:00:00:00:fe"))
    yield from (Change(kind, record.id, record) for kind, record in records)
    for number, mac in enumerate(MACS):
        record = InterfaceRecord(
            f"eni-{number}", f"i-{number}", "vpc-1", "subnet-1", mac, (f"10.0.1.1{number}",), ("sg-1",), f"hv{number}"
        )
        yield Change(Record.INTERFACE, record.id, record)
    yield Change(Record.ADDRESS, "203.0.113.10", AddressRecord("203.0.113.10", "public", "eni-0", "10.0.1.10"))


def ports(number, **changed):
    bindings = {f"eni-{number}": Binding(3, mac_to_int(MACS[number]), name=f"tap{number}")}
    return replace(HostPorts(number + 1, "br-int", 1, 2, bindings), **changed)


def cloud(*hosts):
    world = World()
    world.apply(Batch(1, True, tuple(changes())))
    for number, host in enumerate(hosts or (ports(0), ports(1))):
        world.bind(f"hv{number}", host)
    return world


def view(world, host, **changed):
    desired = Desired(host)
    desired.update(world.index, set(world.keys(host)))
    number = int(host[-1])
    made = HostView(host, world.index.hosts[host], agent=True, switch=True, owners=desired.owners)
    made.live_ports, made.zones = {f"tap{number}": 3, "ext0": 1}, {3: 5}
    made.answers = frozenset({"203.0.113.10"} if number == 0 else set())
    for name, value in changed.items():
        setattr(made, name, value)
    return made, desired


def kinds(world, *views):
    return [(one.host, one.kind) for one in find(world.index, views)]


def both(world, **changed):
    return [view(world, "hv0", **changed)[0], view(world, "hv1")[0]]


def test_a_cloud_in_order_has_no_findings():
    world = cloud()
    assert kinds(world, *both(world)) == []


@given(st.data())
def test_one_spoilt_flow_is_one_finding_that_names_its_object_and_is_healed_by_its_flow_mods(data):
    world = cloud()
    made, desired = view(world, "hv0")
    live = [as_live(flow) for flow in desired.flows.values()]
    number = data.draw(st.integers(0, len(live) - 1))
    spoilt = data.draw(
        st.sampled_from(
            [
                (Kind.MISSING, []),
                (Kind.ALTERED, [live[number]._replace(instructions=live[number - 1].instructions)]),
                (Kind.ALTERED, [live[number]._replace(cookie=7)]),
                (Kind.EXTRA, [live[number], live[number]._replace(priority=12345)]),
                (Kind.FOREIGN, [live[number], live[number]._replace(priority=12345, cookie=7)]),
            ]
        )
    )
    kind, instead = spoilt
    if instead == [live[number]]:
        return  # the neighbour does the same
    made.differences = compare(desired.flows, [*live[:number], *instead, *live[number + 1 :]])
    (found,) = find(world.index, [made])
    assert (found.host, found.kind) == ("hv0", kind)
    assert found.cause
    assert "sluice audit --repair" in found.mend
    mending = Mending(
        frozenset(one.wanted.key for one in made.differences if one.wanted),
        tuple(one.live.installed for one in made.differences if one.wanted is None),
    )
    deletes, adds = flow_mods(mending, desired.flows)
    assert (len(deletes), len(adds)) == ((0, 1) if kind in (Kind.MISSING, Kind.ALTERED) else (1, 0))


def test_what_is_gone_again_is_not_mended():
    world = cloud()
    _, desired = view(world, "hv0")
    flow = next(iter(desired.flows.values()))
    assert flow_mods(Mending(frozenset([flow.key])), {}) == ([], [])
    assert flow_mods(Mending(strays=(as_live(flow).installed,)), desired.flows) == ([], [])


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"live_ports": {"tap0": 9}}, Kind.WRONG_OFPORT, "port 9"),
        ({"live_ports": {}}, Kind.WRONG_OFPORT, "has no such port"),
        ({"zones": {3: 1, 8: 2}}, Kind.STALE_CONNTRACK, "2 connections in conntrack zone 8"),
        ({"switch": False}, Kind.NOT_CONNECTED, "OpenFlow"),
        ({"agent": False}, Kind.NOT_CONNECTED, "agent"),
        ({"unseen": ["it is busy"]}, Kind.NOT_EXAMINED, "busy"),
        ({"uncompiled": ["no such thing"]}, Kind.NOT_COMPILED, "no such thing"),
        ({"unacknowledged": 3}, Kind.ACKNOWLEDGED, "3 flows"),
        ({"undesired": 4}, Kind.DESIRED, "4 desired"),
    ],
)
def test_each_state_of_a_host_is_named(changed, kind, words):
    world = cloud()
    (found,) = find(world.index, both(world, **changed))
    assert (found.host, found.kind) == ("hv0", kind)
    assert words in found.what


PROBLEM = "bridge br-int has fail_mode standalone; to mend, which may empty its flow tables: ovs-vsctl set-fail-mode"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (ports(0, interfaces={}), [("hv0", Kind.NO_PORT)]),
        (ports(0, interfaces={"eni-0": Binding(3, 1, name="tap0")}), [("hv0", Kind.WRONG_MAC)]),
        (ports(0, interfaces={**ports(0).interfaces, "eni-9": Binding(4, 1)}), [("hv0", Kind.NO_INTERFACE)]),
        (ports(0, problems=(PROBLEM,)), [("hv0", Kind.BRIDGE_SETTING)]),
        (ports(0, problems=("port x passes nothing",)), [("hv0", Kind.PORT_PROBLEM)]),
        (
            ports(0, interfaces={**ports(0).interfaces, "eni-1": Binding(4, mac_to_int(MACS[1]), name="tap9")}),
            [("hv0", Kind.WRONG_OFPORT), ("hv0", Kind.PLUGGED_TWICE)],
        ),
    ],
    ids=["no port", "wrong MAC", "no interface", "setting", "port", "twice"],
)
def test_each_fault_of_ports_is_named(host, expected):
    world = cloud(host, ports(1))
    zones = {} if not host.interfaces else {3: 5}
    assert kinds(world, *both(world, zones=zones)) == expected


def test_a_setting_is_told_with_the_command_that_mends_it():
    world = cloud(ports(0, problems=(PROBLEM,)), ports(1))
    (found,) = find(world.index, both(world))
    assert found.what == "bridge br-int has fail_mode standalone"
    assert found.mend == "ovs-vsctl set-fail-mode (may empty its flow tables)"


def test_an_interface_on_the_wrong_host_and_one_that_moved_away():
    world = cloud(ports(0, interfaces={}), ports(1, interfaces={**ports(1).interfaces, **ports(0).interfaces}))
    one, other = view(world, "hv0", zones={})[0], view(world, "hv1", live_ports=None)[0]
    assert kinds(world, one, other) == [("hv1", Kind.WRONG_HOST)]


def test_two_owners_of_an_elastic_ip():
    world = cloud()
    one, other = both(world)
    other.answers = one.answers
    (found,) = find(world.index, [one, other])
    assert found.kind is Kind.TWO_OWNERS
    assert found.what == "hv0 and hv1 both answer ARP for elastic IP 203.0.113.10"


def test_a_host_that_was_never_heard_is_not_blamed_for_its_ports():
    world = World()
    world.apply(Batch(1, True, tuple(changes())))
    found = find(world.index, [HostView("hv0")])
    assert [one.kind for one in found] == [Kind.NOT_CONNECTED, Kind.NOT_CONNECTED]


def test_zones_are_counted():
    text = (
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(...),zone=3,protoinfo=(state=ESTABLISHED)\n"
        "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(...),zone=3\n"
        "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=1,type=8,code=0),reply=(...)\n"
    )
    assert zones_of(text) == {3: 2}
    world = cloud()
    assert stale_zones(view(world, "hv0", zones=zones_of(text))[0]) == []
    assert Kind.STALE_CONNTRACK in HEALED
