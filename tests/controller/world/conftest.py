"""A store's and its agents' histories, told to a world; what it keeps up to date is compared with one from scratch."""

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
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
from flowrules import tables
from flowrules.addresses import mac_to_int

HOSTS = ("hv1", "hv2", "hv3")
VPCS = {"vpc-1": 1, "vpc-2": 2}
SUBNETS = {"subnet-11": "vpc-1", "subnet-12": "vpc-1", "subnet-21": "vpc-2"}
GROUPS = {"sg-11": "vpc-1", "sg-12": "vpc-1", "sg-13": "vpc-1", "sg-21": "vpc-2", "sg-22": "vpc-2"}
INTERFACES = tuple(f"eni-{number}" for number in range(6))
PUBLIC = tuple(f"203.0.113.{number}" for number in (10, 11, 12))
POOLS = ("public", "other")
CIDRS = ("0.0.0.0/0", "10.0.0.0/16", "fd00:10::/32")
LISTS = {"pl-4": ("0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24"), "pl-6": ("::/0", "fd00:10::/32")}
OFPORTS = (10, 11, 12)
#: Revision of the worlds that are built at once.
SCRATCH = -1
#: Dependants come first when things go and last when they come.
ORDER = (Kind.VPC, Kind.SUBNET, Kind.POOL, Kind.PREFIX_LIST, Kind.GROUP, Kind.INTERFACE, Kind.ADDRESS)

services = st.sampled_from([(-1, None, None), (6, 80, 80), (6, 22, 443), (17, 53, 53), (1, 8, -1), (58, 128, -1)])


def scratch(records, bindings):
    """A world that was told the end state once, and its bridges."""
    world = World()
    changes = [Change(kind, key, record) for (kind, key), record in records.items()]
    world.revision = SCRATCH
    world.apply(Batch(SCRATCH, full=True, changes=tuple(changes)))
    for host, ports in bindings.items():
        world.bind(host, ports)
    return world, {host: everything(world, host) for host in HOSTS}


def everything(world, host):
    desired = Desired(host)
    desired.update(world.index, set(world.keys(host)))
    return desired


class Histories(RuleBasedStateMachine):
    """Records come, change and go; agents report; batches carry one or many changes, in any order, or everything."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.desired = {host: Desired(host) for host in HOSTS}
        self.told = {}  # what the world has been told, by (kind, key)
        self.records = {}  # what the store holds
        self.bindings = {}
        self.revision = 0
        self.hasty = True  # does every change come in a batch of its own?

    # What the store does.

    def put(self, kind, key, record):
        if record is None:
            self.records.pop((kind, key), None)
        else:
            self.records[kind, key] = record

    @rule()
    def one_change_at_a_time(self):
        self.hasty = True

    @rule()
    def many_changes_in_one_batch(self):
        self.hasty = False

    @initialize(rng=st.randoms(use_true_random=True))
    def a_busy_cloud(self, rng):
        """Start where most of what may be forgotten is there to be forgotten."""
        for key, number in VPCS.items():
            self.put(Kind.VPC, key, VpcRecord(key, number, "10.0.0.0/16", 100 + number))
        for key in SUBNETS:
            self.subnet(key, there=True, gateway=1)
        for key in POOLS:
            self.pool(key, "02:00:00:00:00:fe")
        for key, entries in LISTS.items():
            self.prefix_list(key, list(entries), renumbered=False)
        for key, vpc in GROUPS.items():
            others = [group for group, other in GROUPS.items() if other == vpc]
            service = (6, 80, 80)
            self.group(key, [(egress, service, rng.choice(others)) for egress in (False, True)], renumbered=False)
        for number, key in enumerate(INTERFACES):
            subnet = rng.choice([*SUBNETS, "subnet-11"])
            groups = rng.sample([group for group, vpc in GROUPS.items() if vpc == SUBNETS[subnet]], 1)
            self.interface(key, subnet, [10 + number % 4], groups, other_mac=False)
        for number, key in enumerate(PUBLIC):
            self.address(key, rng.choice(POOLS), (INTERFACES[number], 0))
        self.deliver(full=True)
        for number, host in enumerate(HOSTS):
            self.agent(host, INTERFACES[2 * number : 2 * number + 2], OFPORTS, False, 1, 2)

    @rule(key=st.sampled_from(sorted(VPCS)), vlan=st.sampled_from([None, 0, 101, 102]))
    def vpc(self, key, vlan):
        # Tags are one VPC's own; on a flat fabric there are none.
        number = VPCS[key]
        record = None if vlan is None else VpcRecord(key, number, "10.0.0.0/16", 0 if vlan == 0 else 100 + number)
        self.put(Kind.VPC, key, record)

    @rule(
        key=st.sampled_from(sorted(SUBNETS)),
        there=st.booleans(),
        gateway=st.sampled_from([1, 2]),
        public=st.sampled_from([True, True, False]),
    )
    def subnet(self, key, there, gateway, public=True):
        network = f"10.0.{key[-1]}"
        six = (f"fd00:10:0:{key[-1]}::/64", f"fd00:10:0:{key[-1]}::{gateway}")
        record = SubnetRecord(key, SUBNETS[key], f"{network}.0/24", f"{network}.{gateway}", *six, public)
        self.put(Kind.SUBNET, key, record if there else None)

    @rule(key=st.sampled_from(POOLS), mac=st.sampled_from([None, "02:00:00:00:00:fe", "02:00:00:00:00:ff"]))
    def pool(self, key, mac):
        record = PoolRecord(key, "203.0.113.0/24", "203.0.113.1", mac) if mac else None
        self.put(Kind.POOL, key, record)

    @rule(
        key=st.sampled_from(INTERFACES),
        subnet=st.sampled_from(sorted(SUBNETS)),
        numbers=st.lists(st.integers(10, 13), min_size=1, max_size=3, unique=True),
        groups=st.lists(st.sampled_from(sorted(GROUPS)), max_size=3, unique=True),
        other_mac=st.booleans(),
    )
    def interface(self, key, subnet, numbers, groups, other_mac):
        vpc = SUBNETS[subnet]
        mine = {f"10.0.{subnet[-1]}.{number}" for number in numbers}
        others = (record for (kind, _), record in self.records.items() if kind is Kind.INTERFACE)
        taken = {address for other in others if other.vpc == vpc and other.id != key for address in other.addresses}
        groups = tuple(group for group in groups if GROUPS[group] == vpc)
        free = tuple(sorted(mine - taken))
        # Two interfaces have IPv6 at times, the others never.
        if free and key in INTERFACES[:2] and 10 in numbers:
            free += (f"fd00:10:0:{subnet[-1]}::1{key[-1]}",)
        if free:
            mac = f"02:00:00:00:{2 if other_mac else 1:02x}:{INTERFACES.index(key):02x}"
            self.put(Kind.INTERFACE, key, InterfaceRecord(key, None, vpc, subnet, mac, free, groups))

    @rule(
        key=st.sampled_from(sorted(LISTS)),
        chosen=st.none() | st.sets(st.integers(0, 2)),
        renumbered=st.booleans(),
    )
    def entries(self, key, chosen, renumbered):
        here = [cidr for number, cidr in enumerate(LISTS[key]) if number in (chosen or ())]
        self.prefix_list(key, None if chosen is None else here, renumbered)

    def prefix_list(self, key, entries, renumbered):
        number, version = (101 if renumbered else 1), int(key[-1])
        record = None
        if entries is not None:
            record = PrefixListRecord(key, number + version, version, tuple(sorted(entries)))
        self.put(Kind.PREFIX_LIST, key, record)

    @rule(key=st.sampled_from(INTERFACES))
    def interface_gone(self, key):
        self.put(Kind.INTERFACE, key, None)

    @rule(
        key=st.sampled_from(sorted(GROUPS)),
        rules=st.none()
        | st.lists(
            st.tuples(st.booleans(), services, st.sampled_from([*CIDRS, *GROUPS, *LISTS])), max_size=4, unique=True
        ),
        renumbered=st.booleans(),
    )
    def group(self, key, rules, renumbered):
        if rules is None:
            self.put(Kind.GROUP, key, None)
            return
        number = 10 + sorted(GROUPS).index(key) + (100 if renumbered else 0)
        records = []
        for egress, service, remote in rules:
            cidr = remote if "/" in remote else None
            group, listed = (remote if remote in known else None for known in (GROUPS, LISTS))
            if group is None or GROUPS[group] == GROUPS[key]:
                records.append(RuleRecord(f"sgr-{len(records)}", egress, *service, cidr, group, listed))
        self.put(Kind.GROUP, key, GroupRecord(key, number, GROUPS[key], key, tuple(records)))

    @rule(
        key=st.sampled_from(PUBLIC),
        pool=st.sampled_from(POOLS),
        holder=st.none() | st.tuples(st.sampled_from(INTERFACES), st.integers(0, 2)),
    )
    def address(self, key, pool, holder):
        interface = self.records.get((Kind.INTERFACE, holder[0])) if holder else None
        if interface is None:
            self.put(Kind.ADDRESS, key, None)
            return
        own = [address for address in interface.addresses if ":" not in address]
        private = own[holder[1] % len(own)]
        self.put(Kind.ADDRESS, key, AddressRecord(key, pool, interface.id, private))
        for (kind, other), record in list(self.records.items()):
            # A private address has one elastic IP: another one that stood for it ends.
            if kind is Kind.ADDRESS and other != key and (record.interface, record.private_ip) == (holder[0], private):
                self.put(kind, other, None)

    # What reaches the controller.

    def take(self, dirty):
        for host, keys in dirty.items():
            self.desired[host].update(self.world.index, keys)

    @rule(full=st.sampled_from([False, False, False, True]), order=st.randoms(use_true_random=False))
    def batch(self, full, order):
        self.deliver(full, order)

    def deliver(self, full, order=None):
        """A batch says how things are; it may name what has not changed, and in any order."""
        self.revision += 1
        keys = sorted(self.records if full else self.records.keys() | self.told.keys())
        changes = [
            Change(*key, self.records.get(key))
            for key in keys
            if full or self.records.get(key) != self.told.get(key) or (order and order.random() < 0.1)
        ]
        if order:
            order.shuffle(changes)
        self.take(self.world.apply(Batch(self.revision, full, tuple(changes))))
        self.told = dict(self.records)

    @rule(
        host=st.sampled_from(HOSTS),
        interface=st.sampled_from(INTERFACES),
        ofport=st.sampled_from(OFPORTS),
        wrong_mac=st.sampled_from([False, False, False, True]),
    )
    def plug(self, host, interface, ofport, wrong_mac):
        """One port comes, at the expense of what had its number."""
        known = self.bindings.get(host, HostPorts(HOSTS.index(host) + 1, "br-int", 1, 2, {}))
        bindings = {key: b for key, b in known.interfaces.items() if key != interface and b.ofport != ofport}
        record = self.records.get((Kind.INTERFACE, interface))
        bindings[interface] = Binding(ofport, 1 if wrong_mac or record is None else mac_to_int(record.mac))
        self.bind(host, HostPorts(known.dpid, known.bridge, known.uplink, known.fabric, bindings))

    @rule(
        host=st.sampled_from(HOSTS),
        plugged=st.lists(st.sampled_from(INTERFACES), max_size=3, unique=True),
        ports=st.permutations(OFPORTS),
        wrong_mac=st.booleans(),
        uplink=st.sampled_from([1, 1, 3, None]),
        fabric=st.sampled_from([2, 2, 4, None]),
    )
    def agent(self, host, plugged, ports, wrong_mac, uplink, fabric):
        bindings = {}
        for key, ofport in zip(plugged, ports, strict=False):
            record = self.records.get((Kind.INTERFACE, key))
            mac = mac_to_int(record.mac) if record and not wrong_mac else 1
            bindings[key] = Binding(ofport, mac)
        self.bind(host, HostPorts(HOSTS.index(host) + 1, "br-int", uplink, fabric, bindings))

    @rule(host=st.sampled_from(HOSTS))
    def agent_gone_for_good(self, host):
        self.bind(host, None)

    def bind(self, host, ports):
        self.take(self.world.bind(host, ports))
        self.bindings.pop(host, None)
        if ports is not None:
            self.bindings[host] = ports

    # What must hold.

    @invariant()
    def equals_one_from_scratch(self):
        if self.hasty:
            self.deliver(full=False)
        self.compare()

    def compare(self):
        world, fresh = scratch(self.told, self.bindings)
        for host in HOSTS:
            assert self.desired[host].intents() == fresh[host].intents(), host
            assert self.desired[host].flows == fresh[host].flows, host
            assert self.desired[host].problems == fresh[host].problems == {}, host
            assert set(self.world.keys(host)) == set(world.keys(host)), host
            for flow in self.desired[host].flows.values():
                tables.check(flow)


class Stepwise(Histories):
    """As a bridge with much to do: drafts are prepared in parts, changes come in between, one in three is adopted."""

    def __init__(self):
        super().__init__()
        self.marks = {host: set() for host in HOSTS}
        self.drafts = {host: {} for host in HOSTS}
        self.looks = 0

    def take(self, dirty):
        for host in HOSTS:
            self.marks[host] |= dirty.get(host, set())
            part = sorted(self.marks[host], key=repr)[::2]
            self.marks[host].difference_update(part)
            self.desired[host].prepare(self.world.index, part, self.drafts[host])

    @invariant()
    def equals_one_from_scratch(self):
        self.looks += 1
        if self.looks % 3:
            return
        self.deliver(full=False)
        for host in HOSTS:
            self.desired[host].prepare(self.world.index, self.marks[host], self.drafts[host])
            self.desired[host].adopt(self.drafts[host])
            self.marks[host], self.drafts[host] = set(), {}
        self.compare()


def one_change_of_each_kind(machine):
    """A history of its own: what every mark is for happens at least once, and the bridges are compared after it."""
    everyone = [
        (False, (17, 53, 53), "10.0.0.0/16"),
        (True, (-1, None, None), "0.0.0.0/0"),
        (False, (6, 443, 443), "pl-4"),
        (True, (58, 128, -1), "pl-6"),
    ]
    changes = [
        *(lambda key=key: machine.vpc(key, 0) for key in VPCS),
        *(lambda key=key: machine.pool(key, "02:00:00:00:00:ff") for key in POOLS),
        *(lambda key=key: machine.group(key, [*everyone, (False, (6, 80, 80), key)], False) for key in GROUPS),
        *(lambda key=key: machine.group(key, [*everyone, (False, (6, 80, 80), key)], True) for key in GROUPS),
        *(lambda key=key: machine.prefix_list(key, LISTS[key][1:], False) for key in LISTS),
        *(lambda key=key: machine.prefix_list(key, LISTS[key][:2], True) for key in LISTS),
        *(lambda key=key: _joins_all_groups(machine, key) for key in INTERFACES),
        *(lambda n=n, key=key: machine.address(key, "other", (INTERFACES[-1 - n], 0)) for n, key in enumerate(PUBLIC)),
        *(lambda n=n: machine.agent(HOSTS[n], INTERFACES[n::3], OFPORTS, False, 3, 4) for n in range(len(HOSTS))),
        *(lambda key=key: machine.subnet(key, there=True, gateway=1, public=False) for key in SUBNETS),
        *(lambda key=key: machine.subnet(key, there=False, gateway=1) for key in SUBNETS),
        *(lambda key=key: machine.interface_gone(key) for key in INTERFACES),
    ]
    for change in changes:
        change()
        machine.equals_one_from_scratch()


def _joins_all_groups(machine, key):
    record = machine.records.get((Kind.INTERFACE, key))
    if record is None:
        return
    subnet = record.subnet
    groups = [group for group, vpc in GROUPS.items() if vpc == SUBNETS[subnet]]
    machine.interface(key, subnet, [10, 11, 12, 13], groups, other_mac=False)


@pytest.fixture
def histories():
    """The state machine, for hypothesis to run."""
    return Histories


@pytest.fixture
def stepwise():
    """The state machine of drafts that are prepared in parts."""
    return Stepwise


@pytest.fixture
def busy():
    """A history that has begun with a busy cloud."""
    machine = Histories()
    machine.a_busy_cloud(random.Random(1))
    return machine


@pytest.fixture
def go_on():
    """Go on with a history: ``go_on(machine)`` is one change of each kind, compared after each."""
    return one_change_of_each_kind


@pytest.fixture
def from_scratch():
    """``from_scratch(records, bindings)``: the flows by host of a world that was told them at once."""

    def build(records, bindings):
        return {host: desired.flows for host, desired in scratch(records, bindings)[1].items()}

    return build


@pytest.fixture
def scratch_revision():
    """The revision of the worlds that are built at once."""
    return SCRATCH
