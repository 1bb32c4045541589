"""With 8,000 instances a change takes the very steps that it takes with 200: calls of functions counted, no seconds."""

import gc
import sys

import pytest

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.keys import ElasticKey, GroupKey, MemberKey, PortKey
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
from flowrules.addresses import ipv4_to_text
from flowrules.intent import Direction

PER_HOST = 16
TENANT = 96  # six hosts
GATEWAY_MAC = "02:00:00:00:00:fe"
WEB = RuleRecord("sgr-1", False, 6, 80, 80, "0.0.0.0/0", None)
CROWD = [RuleRecord(f"sgr-{egress}", egress, 6, 22, 22, None, "sg-0-crowd") for egress in (False, True)]


class Cloud:
    """Tenants of 96 instances, 16 a host; all instances of a tenant are in its group ``crowd``, one in ``watch``.

    The first tenant has ``stopped`` more, which are on no host.
    """

    def __init__(self, vms, stopped=0):
        self.world = World()
        self.vms = vms
        changes = [Change(Kind.POOL, "public", PoolRecord("public", "198.18.0.0/16", "198.18.0.1", GATEWAY_MAC))]
        for tenant in range(-(-vms // TENANT)):
            vpc, subnet = f"vpc-{tenant}", f"subnet-{tenant}"
            changes += [
                Change(Kind.VPC, vpc, VpcRecord(vpc, tenant + 1, "172.31.0.0/16", tenant + 100)),
                Change(Kind.SUBNET, subnet, SubnetRecord(subnet, vpc, "172.31.0.0/16", "172.31.0.1", public=True)),
            ]
            for number, (name, rules) in enumerate((("crowd", (WEB,)), ("watch", tuple(CROWD)))):
                known = rules if tenant == 0 else ()
                group = GroupRecord(f"sg-{tenant}-{name}", 2 * tenant + number + 1, vpc, name, known)
                changes.append(Change(Kind.GROUP, group.id, group))
        changes += [Change(Kind.INTERFACE, f"eni-{number}", self.interface(number)) for number in range(vms)]
        changes += [Change(Kind.INTERFACE, f"eni-s{number}", self.stopped(number)) for number in range(stopped)]
        self.world.apply(Batch(1, full=True, changes=tuple(changes)))
        for host in range(-(-vms // PER_HOST)):
            mine = range(PER_HOST * host, min(PER_HOST * (host + 1), vms))
            bindings = {f"eni-{number}": Binding(10 + number % PER_HOST, number + 1) for number in mine}
            self.world.bind(f"h{host}", HostPorts(host + 1, "br-int", 1, 2, bindings))

    def interface(self, number, *groups):
        tenant = number // TENANT
        mac = ":".join(f"{byte:02x}" for byte in (number + 1).to_bytes(6, "big"))
        address = ipv4_to_text(0xAC1F0010 + number % TENANT)
        known = groups or (f"sg-{tenant}-watch",) if number % TENANT == 0 else groups or (f"sg-{tenant}-crowd",)
        return InterfaceRecord(f"eni-{number}", None, f"vpc-{tenant}", f"subnet-{tenant}", mac, (address,), known)

    @staticmethod
    def stopped(number):
        mac, address = f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}", ipv4_to_text(0xAC1F1000 + number)
        return InterfaceRecord(f"eni-s{number}", None, "vpc-0", "subnet-0", mac, (address,), ("sg-0-crowd",))

    def change(self, *changes):
        """Apply; returns the marks by host, and how many functions were called for it."""
        counted = 0

        def count(_frame, event, _argument):
            nonlocal counted
            counted += event in ("call", "c_call")

        batch = Batch(self.world.revision + 1, False, changes)
        gc.disable()  # others have asked to be called when it runs
        sys.setprofile(count)
        try:
            dirty = self.world.apply(batch)
        finally:
            sys.setprofile(None)
            gc.enable()
        return dirty, counted

    def bridge(self, host):
        desired = Desired(host)
        desired.update(self.world.index, self.world.keys(host))
        return desired


@pytest.fixture(scope="module")
def clouds():
    return Cloud(200), Cloud(8000)


@pytest.fixture(scope="module")
def crowds():
    return Cloud(TENANT, stopped=10), Cloud(TENANT, stopped=1_000)


def cost(cloud, change):
    """Marks by host, functions called, and what each host compiles and how many flows that touches."""
    before = {f"h{number}": cloud.bridge(f"h{number}") for number in range(TENANT // PER_HOST)}
    compiled = {host: desired.counters.compiled for host, desired in before.items()}
    dirty, calls = cloud.change(change)
    touched = {host: len(before[host].update(cloud.world.index, keys)) for host, keys in dirty.items()}
    work = {host: (before[host].counters.compiled - compiled[host], flows) for host, flows in touched.items()}
    return dirty, calls, work


def both(clouds, change):
    """The same change in the small and the large cloud: the same marks, calls and flows."""
    small, large = (cost(cloud, change(cloud)) for cloud in clouds)
    assert small == large
    return large


def test_an_elastic_ip_compiles_one_fragment_of_four_flows(clouds):
    address = AddressRecord("198.18.1.0", "public", "eni-20", "172.31.0.36")
    dirty, _, work = both(clouds, lambda _: Change(Kind.ADDRESS, address.public_ip, address))
    assert dirty == {"h1": {ElasticKey(address.public_ip)}}
    assert work == {"h1": (1, 4)}


def test_a_rule_compiles_one_direction_on_the_hosts_of_its_group(clouds):
    def more(cloud):
        group = cloud.world.index.groups["sg-0-crowd"]
        fresh = RuleRecord("sgr-9", False, 6, 443, 443, "0.0.0.0/0", None)
        return Change(Kind.GROUP, group.id, GroupRecord(group.id, group.number, group.vpc, group.name, (WEB, fresh)))

    dirty, _, work = both(clouds, more)
    assert dirty == {f"h{number}": {GroupKey("sg-0-crowd", Direction.INGRESS)} for number in range(6)}
    assert set(work.values()) == {(1, 2)}  # the whole group is one fragment; the switch is sent the one new flow


def test_a_member_is_one_flow_in_each_direction_where_a_rule_asks_for_it(clouds):
    both(clouds, lambda cloud: Change(Kind.INTERFACE, "eni-20", cloud.interface(20, "sg-0-watch")))
    dirty, _, work = both(clouds, lambda cloud: Change(Kind.INTERFACE, "eni-20", cloud.interface(20, "sg-0-crowd")))
    watching = {key for key in dirty["h0"] if isinstance(key, MemberKey)}
    assert {(key.interface, key.direction) for key in watching} == {("eni-20", one) for one in Direction}
    assert work["h0"] == (2, 2)
    assert {host for host, (compiled, _) in work.items() if compiled} == {"h0", "h1"}
    assert PortKey("eni-20") in dirty["h1"]


def test_to_join_a_thousand_members_takes_the_steps_of_joining_a_hundred(crowds):
    both(crowds, lambda cloud: Change(Kind.INTERFACE, "eni-20", cloud.interface(20, "sg-0-idle")))
    _, _, work = both(crowds, lambda cloud: Change(Kind.INTERFACE, "eni-20", cloud.interface(20, "sg-0-crowd")))
    assert work["h0"] == (2, 2)
