"""The store's records and the agents' bindings, indexed the ways that the projection asks for them.

Every index is a function of records and bindings alone; ``tests/controller`` compares each one kept up to date over
random histories with one built from the end state.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.bindings import HostPorts
from econe_api.store.records import (
    AddressRecord,
    GroupRecord,
    HostRecord,
    InterfaceRecord,
    PoolRecord,
    PrefixListRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.addresses import mac_to_int, version_of
from flowrules.intent import Direction, Revocation, Rule


@dataclass(frozen=True, slots=True)
class Place:
    """Where an interface is: host and OpenFlow port."""

    host: str
    ofport: int


#: What rules refer to: the id of a group or a prefix list, or a CIDR; never confused (``sg-``, ``pl-``, a slash).
Remote = str
#: What belongs to what, where it is nearly always one: tuples in order, each a quarter of a set.
Few = dict[str, tuple[str, ...]]


@dataclass(slots=True)
class Index:
    """Records by id, and who belongs to whom."""

    vpcs: dict[str, VpcRecord] = field(default_factory=dict)
    subnets: dict[str, SubnetRecord] = field(default_factory=dict)
    pools: dict[str, PoolRecord] = field(default_factory=dict)
    interfaces: dict[str, InterfaceRecord] = field(default_factory=dict)
    groups: dict[str, GroupRecord] = field(default_factory=dict)
    addresses: dict[str, AddressRecord] = field(default_factory=dict)
    prefix_lists: dict[str, PrefixListRecord] = field(default_factory=dict)
    hosts: dict[str, HostPorts] = field(default_factory=dict)
    #: What the store says of hosts, whether they have been heard or not.
    enrolled: dict[str, HostRecord] = field(default_factory=dict)
    revocation: Revocation = Revocation.CUT
    #: The operator's networks that instances may reach by elastic IPs, or may not, beyond what is so by default.
    allowed_destinations: tuple[str, ...] = ()
    denied_destinations: tuple[str, ...] = ()

    subnets_of: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    interfaces_of: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    members: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    addresses_of: Few = field(default_factory=dict)
    #: The entries of prefix lists, for the question whether one is there.
    entries: defaultdict[str, frozenset[str]] = field(default_factory=lambda: defaultdict(frozenset))
    addresses_in: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    referrers: defaultdict[tuple[Direction, Remote], set[str]] = field(default_factory=lambda: defaultdict(set))
    plugged: Few = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    #: The interfaces that have their place on a host.
    placed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    vpc_hosts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    group_hosts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    #: The rules of groups in one direction as the flow compiler takes them: the same for every host that has the group.
    rules: dict[tuple[str, Direction], frozenset[Rule]] = field(default_factory=dict)
    #: As ``group_hosts``, counting interfaces with IPv6 only, and the same over all groups.
    group_ipv6_hosts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ipv6_hosts: Counter[str] = field(default_factory=Counter)

    def place(self, interface: str) -> Place | None:
        """Where the interface is plugged in with the MAC that the store gave it.

        While an instance moves, it is plugged in at two hosts.  One of them is the place: one whose link is up before
        one whose link is down, then the host that the store names for the instance, then the first by name.  So the
        place stays while memory is copied, and changes once: when the store names the new host, or the old port goes.
        """
        record = self.interfaces.get(interface)
        if record is None:
            return None
        mac = mac_to_int(record.mac)
        bindings = {host: self.hosts[host].interfaces.get(interface) for host in self.plugged.get(interface, ())}
        found = [
            (not binding.link_up, host != record.host, host, binding.ofport)
            for host, binding in bindings.items()
            if binding is not None and binding.mac == mac
        ]
        return Place(*min(found)[2:]) if found else None

    def reaches_outside(self, interface: InterfaceRecord) -> bool:
        """Is the interface's subnet routed to an internet gateway?  Without that its elastic IPs are dark."""
        subnet = self.subnets.get(interface.subnet)
        return subnet is not None and subnet.public

    def unresolved(self, host: str) -> list[str]:
        """Gateways of pools without a configured MAC whose MAC ``host``, which has an uplink, does not know."""
        ports = self.hosts[host]
        wanted = {pool.gateway for pool in self.pools.values() if not pool.gateway_mac}
        return sorted(wanted - ports.gateways.keys()) if ports.uplink is not None else []

    def interested(self, host: str, direction: Direction, remote: Remote) -> bool:
        """Does a group of a local port of ``host`` have a rule of that direction that refers to ``remote``?"""
        return any(self.group_hosts[group][host] for group in self.referrers.get((direction, remote), ()))


def join(few: Few, key: str, one: str) -> None:
    """``one`` belongs to ``key``."""
    few[key] = tuple(sorted({*few.get(key, ()), one}))


def part(few: Few, key: str, one: str) -> None:
    """``one`` does not belong to ``key`` any more."""
    others = tuple(other for other in few.pop(key, ()) if other != one)
    if others:
        few[key] = others


def has_ipv6(record: InterfaceRecord) -> bool:
    """Has the interface an IPv6 address?"""
    return any(version_of(address) == 6 for address in record.addresses)


def remote_of(rule: RuleRecord) -> Remote:
    """What a rule refers to; the store guarantees that it is exactly one thing."""
    remote = rule.cidr or rule.group or rule.prefix_list
    if remote is None:
        raise ValueError(f"rule {rule.id} refers to nothing")
    return remote


def direction_of(rule: RuleRecord) -> Direction:
    """Ingress or egress."""
    return Direction.EGRESS if rule.egress else Direction.INGRESS


def rules_of(group: GroupRecord | None, direction: Direction) -> tuple[RuleRecord, ...]:
    """The rules of a group in one direction."""
    return tuple(rule for rule in group.rules if direction_of(rule) is direction) if group else ()


def references(group: GroupRecord | None) -> Iterator[tuple[Direction, Remote]]:
    """What the rules of a group refer to."""
    for rule in group.rules if group else ():
        yield direction_of(rule), remote_of(rule)
