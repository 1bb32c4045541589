"""A change costs what it touches: counters, not seconds.  And the path leaves no trace in the flows."""

import random
from dataclasses import replace

import pytest

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.keys import BridgeKey, GroupKey, PortKey
from controller.world import World
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    PrefixListRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.addresses import mac_to_int
from flowrules.encode import flow_add
from flowrules.intent import Direction
from flowrules.text import flow_text

HOSTS = [f"hv{number:02}" for number in range(12)]
PER_HOST = 4
SELF = RuleRecord("sgr-1", False, -1, None, None, None, "sg-default")
OUT = RuleRecord("sgr-2", True, -1, None, None, "0.0.0.0/0", None)
WEB = RuleRecord("sgr-3", False, 6, 80, 80, "0.0.0.0/0", None)


def interface(number, *groups):
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    address = f"10.0.{1 + number // 200}.{10 + number % 200}"
    return InterfaceRecord(f"eni-{number:04}", None, "vpc-1", "subnet-1", mac, (address,), groups)


def base():
    """Twelve hosts with four instances each, all in the group sg-default, which admits its own members."""
    return [
        Change(Kind.VPC, "vpc-1", VpcRecord("vpc-1", 1, "10.0.0.0/16", 101)),
        Change(Kind.SUBNET, "subnet-1", SubnetRecord("subnet-1", "vpc-1", "10.0.0.0/16", "10.0.0.1")),
        Change(Kind.POOL, "public", PoolRecord("public", "203.0.113.0/24", "203.0.113.1", "02:00:00:00:00:fe")),
        Change(Kind.GROUP, "sg-default", GroupRecord("sg-default", 1, "vpc-1", "default", (SELF, OUT))),
        Change(Kind.GROUP, "sg-web", GroupRecord("sg-web", 2, "vpc-1", "web", (WEB,))),
        *(
            Change(Kind.INTERFACE, record.id, record)
            for record in (interface(number, "sg-default") for number in range(len(HOSTS) * PER_HOST))
        ),
    ]


def ports(number):
    mine = [interface(number * PER_HOST + nth) for nth in range(PER_HOST)]
    bindings = {record.id: Binding(10 + nth, mac_to_int(record.mac)) for nth, record in enumerate(mine)}
    return HostPorts(number + 1, "br-int", 1, 2, bindings)


class Cloud:
    """A world with a bridge per host, and what the last change cost there."""

    def __init__(self):
        self.world = World()
        self.desired = {host: Desired(host) for host in HOSTS}
        self.revision = 0
        self.batch(*base(), full=True)
        for number, host in enumerate(HOSTS):
            self.bind(host, ports(number))

    def batch(self, *changes, full=False):
        self.revision += 1
        return self._take(self.world.apply(Batch(self.revision, full, tuple(changes))))

    def bind(self, host, known):
        return self._take(self.world.bind(host, known))

    def _take(self, dirty):
        """Fragments compiled and flows touched, by host; hosts that had nothing to look at are left out."""
        cost = {}
        for host, keys in dirty.items():
            desired = self.desired[host]
            before = desired.counters.compiled
            touched = desired.update(self.world.index, keys)
            cost[host] = (len(keys), desired.counters.compiled - before, len(touched))
            assert not desired.problems
        return cost


@pytest.fixture
def cloud():
    return Cloud()


def test_associating_an_address(cloud):
    """One host looks at one fragment of four flows."""
    change = Change(Kind.ADDRESS, "203.0.113.10", AddressRecord("203.0.113.10", "public", "eni-0000", "10.0.1.10"))
    assert cloud.batch(change) == {"hv00": (1, 1, 4)}


def test_moving_an_address(cloud):
    record = AddressRecord("203.0.113.10", "public", "eni-0000", "10.0.1.10")
    cloud.batch(Change(Kind.ADDRESS, record.public_ip, record))
    moved = replace(record, interface="eni-0005", private_ip="10.0.1.15")
    assert cloud.batch(Change(Kind.ADDRESS, record.public_ip, moved)) == {"hv00": (1, 0, 4), "hv01": (1, 1, 4)}


def test_a_rule(cloud):
    """Only hosts with the group compile it, and only the direction that has changed."""
    group = GroupRecord("sg-default", 1, "vpc-1", "default", (SELF, OUT, WEB))
    cost = cloud.batch(Change(Kind.GROUP, group.id, group))
    assert {host: (compiled, flows) for host, (_, compiled, flows) in cost.items()} == dict.fromkeys(HOSTS, (1, 2))
    assert cloud.batch(Change(Kind.GROUP, "sg-web", replace(group, id="sg-web", number=2, rules=()))) == {}


def test_an_entry_of_a_prefix_list(cloud):
    """One flow on the hosts whose rules refer to the list, nothing else anywhere."""
    office = PrefixListRecord("pl-1", 1, 4, ("198.51.100.0/24", "203.0.113.0/24"))
    assert cloud.batch(Change(Kind.PREFIX_LIST, office.id, office)) == {}
    named = RuleRecord("sgr-4", False, 6, 22, 22, None, None, office.id)
    group = GroupRecord("sg-web", 2, "vpc-1", "web", (WEB, named))
    assert cloud.batch(Change(Kind.GROUP, group.id, group)) == {}
    cost = cloud.batch(Change(Kind.INTERFACE, "eni-0005", interface(5, "sg-default", "sg-web")))
    assert [host for host, (_, compiled, _) in cost.items() if compiled] == ["hv01"]
    grown = replace(office, entries=(*office.entries, "192.0.2.0/24"))
    assert cloud.batch(Change(Kind.PREFIX_LIST, office.id, grown)) == {"hv01": (1, 1, 1)}
    assert cloud.batch(Change(Kind.PREFIX_LIST, office.id, replace(grown, entries=()))) == {"hv01": (3, 0, 3)}
    assert cloud.batch(Change(Kind.PREFIX_LIST, office.id, replace(office, entries=()))) == {}


def test_a_member_joins(cloud):
    """A port on its own host, one member on each host whose rules refer to the group, nothing elsewhere."""
    cloud.batch(Change(Kind.INTERFACE, "eni-0000", interface(0, "sg-web")))
    cost = cloud.batch(Change(Kind.INTERFACE, "eni-0000", interface(0, "sg-default", "sg-web")))
    assert cost.keys() == set(HOSTS)
    assert all(keys <= 3 and (compiled, flows) == (1, 1) for keys, compiled, flows in (cost[h] for h in HOSTS[1:]))
    assert cost["hv00"][1] <= 2


def test_an_instance_starts(cloud):
    """Every host of the VPC learns one neighbour and one member; its own host its port as well."""
    fresh = interface(100, "sg-default")
    cost = cloud.batch(Change(Kind.INTERFACE, fresh.id, fresh))
    assert {compiled for _, compiled, _ in cost.values()} == {2}
    known = ports(3)
    bindings = {**known.interfaces, fresh.id: Binding(77, mac_to_int(fresh.mac))}
    cost = cloud.bind("hv03", replace(known, interfaces=bindings))
    assert {compiled for host, (_, compiled, _) in cost.items() if host != "hv03"} == {1}
    assert cost["hv03"][1] == 2


def test_what_has_not_changed_costs_nothing(cloud):
    cost = cloud.batch(*base(), full=True)
    assert {(compiled, flows) for _, compiled, flows in cost.values()} <= {(0, 0)}
    assert cloud.bind("hv05", ports(5)) == {}


def test_a_fault_in_one_fragment_leaves_the_others_alone(cloud, monkeypatch):
    """What cannot be compiled keeps its last good flows and is reported; the rest goes on."""
    desired = cloud.desired["hv00"]
    key = PortKey("eni-0000")
    before = dict(desired.flows)
    cloud.world.index.interfaces["eni-0000"] = replace(interface(0, "sg-default"), mac="nonsense")
    desired.update(cloud.world.index, [key, BridgeKey()])
    assert "nonsense" in desired.problems[key]
    assert desired.flows == before
    cloud.world.index.interfaces["eni-0000"] = interface(0, "sg-default")
    desired.update(cloud.world.index, [key])
    assert not desired.problems


def test_a_group_that_fits_no_message_allows_nothing_and_is_named(cloud):
    """Its older rules, of which some may have been revoked, do not stay either; whatever else there is can be sent."""
    key = GroupKey("sg-default", Direction.INGRESS)
    more = [
        RuleRecord(f"sgr-{number}", False, 6, 80, 80, f"198.{18 + number // 256}.{number % 256}.1/32", None)
        for number in range(1501)
    ]
    desired = cloud.desired["hv00"]

    def have(*rules):
        changed = Change(Kind.GROUP, "sg-default", GroupRecord("sg-default", 1, "vpc-1", "default", rules))
        cloud.world.apply(Batch(cloud.revision, False, (changed,)))
        desired.update(cloud.world.index, [key])
        assert all(flow_add(flow) for flow in desired.flows.values())
        return key in desired.fragments

    assert have(OUT, *more[:1500])
    assert not have(OUT, *more)
    assert "1501 remotes of one port" in desired.problems[key]
    assert have(SELF, OUT)
    assert not desired.problems


@pytest.mark.parametrize("seed", range(10))
def test_every_path_gives_the_same_bytes(seed):
    """Split, squashed, reversed, repeated, agents before or after: the same flows, cookies included."""
    rng = random.Random(seed)
    straight, winding = Cloud(), Cloud.__new__(Cloud)
    winding.world, winding.revision = World(), 0
    winding.desired = {host: Desired(host) for host in HOSTS}
    steps = [("batch", change) for change in base()] + [("bind", number) for number in range(len(HOSTS))]
    rng.shuffle(steps)
    detours = [Change(Kind.INTERFACE, f"eni-{number:04}", interface(number, "sg-web")) for number in range(5)]
    for step, argument in [*[("batch", change) for change in detours], *steps, *rng.sample(steps, 10)]:
        if step == "bind":
            winding.bind(HOSTS[argument], ports(argument))
        else:
            winding.batch(argument)
    for host in HOSTS:
        one, other = straight.desired[host].flows, winding.desired[host].flows
        assert sorted(map(flow_text, one.values())) == sorted(map(flow_text, other.values()))
        assert sorted(map(flow_add, one.values())) == sorted(map(flow_add, other.values()))
