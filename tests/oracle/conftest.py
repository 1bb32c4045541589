"""Random clouds, compiled by the product and installed on a private Open vSwitch with one bridge per hypervisor."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

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
from flowrules.addresses import mac_to_int
from flowrules.text import flow_text
from topologies.dummy_switch import DummySwitch
from topologies.oracle import State
from topologies.verdicts import BridgePorts, Tracer, Wiring, guests

HOSTS = ("hv1", "hv2", "hv3")
UPLINK, FABRIC, FIRST = 1, 2, 10
INTERFACES = 6
ROUTER_MAC = "02:00:00:00:00:fe"
KINDS = {
    VpcRecord: (Kind.VPC, "id"),
    SubnetRecord: (Kind.SUBNET, "id"),
    PoolRecord: (Kind.POOL, "name"),
    PrefixListRecord: (Kind.PREFIX_LIST, "id"),
    InterfaceRecord: (Kind.INTERFACE, "id"),
    GroupRecord: (Kind.GROUP, "id"),
    AddressRecord: (Kind.ADDRESS, "public_ip"),
}

_BOUNDS = st.sampled_from([0, 1, 22, 79, 80, 81, 443, 1023, 1024, 8080, 65534, 65535])
_SPANS = st.tuples(_BOUNDS, _BOUNDS).map(lambda pair: (min(pair), max(pair)))
_SERVICES = (
    st.just((-1, None, None))
    | st.tuples(st.sampled_from([6, 17]), _SPANS).map(lambda pair: (pair[0], *pair[1]))
    | st.sampled_from([6, 17, 47, 132]).map(lambda protocol: (protocol, None, None))
    | st.tuples(st.just(1), st.sampled_from([-1, 0, 3, 8]), st.sampled_from([-1, 0, 4])).map(
        lambda icmp: (1, -1, -1) if icmp[1] == -1 else icmp
    )
)
_CIDRS = st.sampled_from(
    [
        "0.0.0.0/0",
        "198.51.100.0/24",
        "198.51.100.7/32",
        "203.0.113.0/24",
        "203.0.113.11/32",
        "10.0.0.0/8",
        "10.0.1.0/24",
        "10.0.1.10/31",
    ]
)


@st.composite
def _rules(draw, group, siblings):
    rules = []
    if draw(st.integers(0, 3)):
        rules.append(RuleRecord(f"sgr-{group}-default", True, -1, None, None, "0.0.0.0/0", None))
    for number in range(draw(st.integers(1, 5))):
        reference = draw(st.none() | st.sampled_from(siblings))
        cidr = draw(_CIDRS) if reference is None else None
        listed = None
        if cidr is not None and not draw(st.integers(0, 3)):
            cidr, listed = None, "pl-1"
        egress = draw(st.sampled_from([False, False, True]))
        rules.append(RuleRecord(f"sgr-{group}-{number}", egress, *draw(_SERVICES), cidr, reference, listed))
    return rules


@st.composite
def _states(draw):
    flat, same = draw(st.booleans()), draw(st.booleans())
    vpcs = [VpcRecord("vpc-1", 1, "10.0.0.0/16", 0 if flat else 101)]
    if draw(st.booleans()):
        vpcs.append(VpcRecord("vpc-2", 2, "10.0.0.0/16" if same else "10.1.0.0/16", 0 if flat else 102))
    records = [*vpcs, PoolRecord("public", "203.0.113.0/24", "203.0.113.1", ROUTER_MAC)]
    entries = draw(st.sets(_CIDRS, max_size=3))
    records.append(PrefixListRecord("pl-1", 3, 4, tuple(sorted(entries))))
    subnets, groups = {}, {}
    for vpc in vpcs:
        network = vpc.cidr.removesuffix(".0.0/16")
        subnets[vpc.id] = [
            SubnetRecord(f"subnet-{vpc.number}{number}", vpc.id, f"{network}.{number}.0/24", f"{network}.{number}.1")
            for number in range(1, draw(st.integers(2, 3)))
        ]
        groups[vpc.id] = [f"sg-{vpc.number}{number}" for number in range(draw(st.integers(1, 3)))]
        for number, group in enumerate(groups[vpc.id]):
            rules = tuple(draw(_rules(group, groups[vpc.id])))
            records.append(GroupRecord(group, 10 * vpc.number + number, vpc.id, group, rules))
        records += subnets[vpc.id]
    hosts, taken, host = {}, 0, None
    for number in range(draw(st.integers(3, INTERFACES))):
        vpc = draw(st.sampled_from(vpcs))
        subnet = draw(st.sampled_from(subnets[vpc.id]))
        network = subnet.cidr.removesuffix(".0/24")
        addresses = [f"{network}.{first + number}" for first in (10, 100, 200)][: draw(st.integers(1, 3))]
        mine = draw(st.lists(st.sampled_from(groups[vpc.id]), min_size=1, max_size=3, unique=True))
        key, mac = f"eni-{number}", f"02:00:00:00:01:{number:02x}"
        # Every third one is a further interface of the instance before, on the same host.
        instance = f"i-{number - (number % 3 == 2)}"
        records.append(InterfaceRecord(key, instance, vpc.id, subnet.id, mac, tuple(addresses), tuple(mine)))
        for address in addresses:
            if draw(st.integers(0, 2)):
                records.append(AddressRecord(f"203.0.113.{10 + taken}", "public", key, address))
                taken += 1
        if number % 3 != 2:
            host = draw(st.sampled_from([*HOSTS[:2], *HOSTS, None]))
        if host:
            hosts[key] = host
    wired = st.sampled_from([frozenset(HOSTS)] * 4 + [frozenset(HOSTS[:2])])
    allowed = draw(st.sampled_from([(), (), ("10.77.0.0/16",), ("203.0.113.1/32", "10.0.0.0/8", "0.0.0.0/0")]))
    denied = draw(st.sampled_from([(), (), ("198.51.100.0/25",), ("198.51.100.7/32", "10.77.0.0/24")]))
    return State(tuple(records), hosts, draw(wired), draw(wired), frozenset(), allowed, denied)


def _host_ports(state):
    interfaces = {record.id: record for record in state.all(InterfaceRecord)}
    for number, host in enumerate(HOSTS, 1):
        bindings = {
            key: Binding(FIRST + int(key.removeprefix("eni-")), mac_to_int(interfaces[key].mac))
            for key, where in state.hosts.items()
            if where == host
        }
        uplink, fabric = UPLINK if host in state.uplinks else None, FABRIC if host in state.fabric else None
        yield host, HostPorts(number, host, uplink, fabric, bindings)


def _compile(state):
    world = World()
    world.index.allowed_destinations = state.allowed_destinations
    world.index.denied_destinations = state.denied_destinations
    changes = []
    for record in state.records:
        kind, name = KINDS[type(record)]
        changes.append(Change(kind, getattr(record, name), record))
    world.apply(Batch(1, full=True, changes=tuple(changes)))
    for host, ports in _host_ports(state):
        world.bind(host, ports)
    flows = {}
    for host in HOSTS:
        desired = Desired(host)
        desired.update(world.index, set(world.keys(host)))
        assert not desired.problems
        flows[host] = [*desired.flows.values()]
    return flows


class Stage:
    """Installs the flows of a state and gives a tracer for it."""

    def __init__(self, switch):
        self.switch = switch
        for host in HOSTS:
            switch.add_bridge(host, [UPLINK, FABRIC, *range(FIRST, FIRST + INTERFACES)])

    def install(self, flows):
        for host, lines in flows.items():
            self.switch.replace_flows(host, [flow_text(flow) for flow in lines])

    def tracer(self, state):
        bridges = {host: BridgePorts(host, ports.uplink, ports.fabric) for host, ports in _host_ports(state)}
        ofports = {key: FIRST + int(key.removeprefix("eni-")) for key in state.hosts}
        return Tracer(self.switch, Wiring(bridges, guests(state, ofports), ROUTER_MAC))


def _rule(name, protocol, first, last, remote, *, egress=False):
    cidr, group = (remote, None) if "/" in remote else (None, remote)
    return RuleRecord(f"sgr-{name}", egress, protocol, first, last, cidr, group)


def _group(key, number, vpc, *rules):
    return GroupRecord(key, number, vpc, key, (_rule(f"{key}-out", -1, None, None, "0.0.0.0/0", egress=True), *rules))


@pytest.fixture(scope="session")
def small_cloud():
    """Two VPCs with the same addresses on three hosts: a web server, its client, a database, and a stranger.

    ======  ======  ===========  ==============  ==============
    eni     host    address      elastic IP      groups
    ======  ======  ===========  ==============  ==============
    eni-0   hv1     10.0.1.10    203.0.113.10    web
    eni-1   hv1     10.0.2.11    203.0.113.11    client
    eni-2   hv2     10.0.1.12                    database
    eni-3   hv2     10.0.1.10    203.0.113.13    other (vpc-2)
    eni-4   hv3     10.0.1.14                    silent
    eni-5   (none)  10.0.1.15    203.0.113.15    web
    ======  ======  ===========  ==============  ==============
    """
    web = _group("sg-web", 10, "vpc-1", _rule("1", 6, 80, 81, "0.0.0.0/0"), _rule("2", 1, 8, -1, "sg-client"))
    client = _group("sg-client", 11, "vpc-1", _rule("3", 17, 53, 53, "203.0.113.10/32"))
    database = _group("sg-database", 12, "vpc-1", _rule("4", 6, 5432, 5432, "sg-web"))
    other = _group("sg-other", 20, "vpc-2", _rule("5", -1, None, None, "sg-other"), _rule("6", 6, 22, 22, "0.0.0.0/0"))
    groups = (web, client, database, other, GroupRecord("sg-silent", 13, "vpc-1", "sg-silent", ()))
    plugged = [
        ("vpc-1", "subnet-1", "10.0.1.10", "sg-web"),
        ("vpc-1", "subnet-2", "10.0.2.11", "sg-client"),
        ("vpc-1", "subnet-1", "10.0.1.12", "sg-database"),
        ("vpc-2", "subnet-3", "10.0.1.10", "sg-other"),
        ("vpc-1", "subnet-1", "10.0.1.14", "sg-silent"),
        ("vpc-1", "subnet-1", "10.0.1.15", "sg-web"),
    ]
    interfaces = [
        InterfaceRecord(f"eni-{number}", None, vpc, subnet, f"02:00:00:00:01:0{number}", (address,), (group,))
        for number, (vpc, subnet, address, group) in enumerate(plugged)
    ]
    addresses = [
        AddressRecord(f"203.0.113.1{number}", "public", f"eni-{number}", plugged[number][2]) for number in (0, 1, 3, 5)
    ]
    records = (
        VpcRecord("vpc-1", 1, "10.0.0.0/16", 101),
        VpcRecord("vpc-2", 2, "10.0.0.0/16", 102),
        SubnetRecord("subnet-1", "vpc-1", "10.0.1.0/24", "10.0.1.1"),
        SubnetRecord("subnet-2", "vpc-1", "10.0.2.0/24", "10.0.2.1"),
        SubnetRecord("subnet-3", "vpc-2", "10.0.1.0/24", "10.0.1.1"),
        PoolRecord("public", "203.0.113.0/24", "203.0.113.1", ROUTER_MAC),
        *groups,
        *interfaces,
        *addresses,
    )
    hosts = {"eni-0": "hv1", "eni-1": "hv1", "eni-2": "hv2", "eni-3": "hv2", "eni-4": "hv3"}
    return State(records, hosts, frozenset(HOSTS), frozenset(HOSTS))


@pytest.fixture(scope="session")
def random_states():
    """A Hypothesis strategy of clouds."""
    return _states()


@pytest.fixture(scope="session")
def compiled():
    """The flows of every host of a state, by the product."""
    return _compile


@pytest.fixture(scope="session")
def stage():
    folder = Path(tempfile.mkdtemp(prefix="sluice-oracle-"))
    try:
        with DummySwitch(folder) as switch:
            yield Stage(switch)
    finally:
        shutil.rmtree(folder)
