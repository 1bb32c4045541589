"""What EC2 says must happen to the first packet of a connection, worked out by brute force.

Written apart from the compiler, so that the two can be held against each other: nothing of ``flowrules`` or
``controller`` is used here, no index is kept and no table is built; every question walks the records afresh.

Sources: "Amazon VPC User Guide", chapters "Security group rules" (a group as source stands for the private addresses of
its members' network interfaces; rules of several groups add up; connections are tracked), "Internet gateways" and
"Elastic IP addresses" (one-to-one translation, nothing leaves without a public address).  That instances may not call
addresses of the operator's own networks is this cloud's law, as RFC 6890 lists the ranges where such networks are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from random import Random
from typing import TypeVar

from econe_api.store.records import (
    AddressRecord,
    GroupRecord,
    InterfaceRecord,
    PoolRecord,
    PrefixListRecord,
    Record,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)

#: Receiver of a packet that has left for the public network.
OUTSIDE = "outside"

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_ICMP_ERRORS = (3, 4, 5, 11, 12)
_ANY = -1
_SPECIAL = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
]
_Kind = TypeVar(
    "_Kind", VpcRecord, SubnetRecord, InterfaceRecord, GroupRecord, AddressRecord, PoolRecord, PrefixListRecord
)


@dataclass(frozen=True, slots=True)
class State:
    """A cloud: the store's records, the host that each plugged interface runs on, and how the hosts are wired.

    ``tunnels`` are the hosts' own addresses on a vxlan fabric; what the operator allows and denies are networks.
    """

    records: tuple[Record, ...]
    hosts: Mapping[str, str]
    uplinks: frozenset[str]
    fabric: frozenset[str]
    tunnels: frozenset[str] = frozenset()
    allowed_destinations: tuple[str, ...] = ()
    denied_destinations: tuple[str, ...] = ()

    def all(self, kind: type[_Kind]) -> Iterator[_Kind]:
        """The records of one kind."""
        return (record for record in self.records if isinstance(record, kind))

    def interface(self, key: str) -> InterfaceRecord | None:
        """An interface that is there and plugged in, None when it is not."""
        if key not in self.hosts:
            return None
        return next((record for record in self.all(InterfaceRecord) if record.id == key), None)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: an interface, or None for a host outside; ``address`` is the source that the packet claims."""

    interface: str | None
    address: str


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """What is asked for: protocol number, and destination port (TCP, UDP) or type and code (ICMP, ICMPv6)."""

    protocol: int
    port: int = 0
    code: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who gets the packet - an interface, :data:`OUTSIDE`, nobody (None) - and the addresses it arrives with."""

    receiver: str | None
    source: str = ""
    destination: str = ""


DENIED = Verdict(None)

#: Who sends, where to, and what.
Question = tuple[Sender, str, Service]


def verdict(state: State, sender: Sender, destination: str, service: Service) -> Verdict:
    """What becomes of the first packet of a connection."""
    if sender.interface is None:
        return _from_public(state, None, sender.address, destination, service)
    interface = state.interface(sender.interface)
    version = ip_address(destination).version
    if interface is None or sender.address not in interface.addresses or ip_address(sender.address).version != version:
        return DENIED
    if not _allowed(state, interface, destination, service, egress=True, private=True):
        return DENIED
    vpc = next(record for record in state.all(VpcRecord) if record.id == interface.vpc)
    if version == 6 or IPv4Address(destination) in IPv4Network(vpc.cidr):  # elastic IPs are IPv4
        return _private(state, interface, sender.address, destination, service)
    public = next((a.public_ip for a in state.all(AddressRecord) if _stands_for(a, interface, sender.address)), None)
    if public is None or not _routed_outside(state, interface) or not _may_be_called(state, destination):
        return DENIED
    return _from_public(state, state.hosts[interface.id], public, destination, service)


def _may_be_called(state: State, destination: str) -> bool:
    """Outside the VPC, may an instance open connections to ``destination``?"""
    pools = list(state.all(PoolRecord))
    own = destination in state.tunnels or any(pool.gateway == destination for pool in pools)
    if own or _within(destination, state.denied_destinations):
        return f"{destination}/32" in state.allowed_destinations
    opened = (*state.allowed_destinations, *(pool.cidr for pool in pools))
    return _within(destination, opened) or not _within(destination, _SPECIAL)


def _within(address: str, networks: Iterable[str]) -> bool:
    return any(IPv4Address(address) in IPv4Network(network) for network in networks)


def _private(state: State, sender: InterfaceRecord, source: str, destination: str, service: Service) -> Verdict:
    """Inside a VPC: on one host, or over the fabric."""
    for receiver in state.all(InterfaceRecord):
        if receiver.vpc != sender.vpc or destination not in receiver.addresses or receiver.id not in state.hosts:
            continue
        ends = {state.hosts[sender.id], state.hosts[receiver.id]}
        if len(ends) == 2 and not ends <= state.fabric:
            return DENIED
        if _allowed(state, receiver, source, service, egress=False, private=True):
            return Verdict(receiver.id, source, destination)
    return DENIED


def _from_public(state: State, origin: str | None, source: str, destination: str, service: Service) -> Verdict:
    """With public addresses: from a host of ours (``origin``) by an elastic IP, or from outside (None)."""
    for address in state.all(AddressRecord):
        receiver = state.interface(address.interface)
        if address.public_ip != destination or receiver is None or address.private_ip not in receiver.addresses:
            continue
        host = state.hosts[receiver.id]
        if host != origin and not {host, origin or host} <= state.uplinks:
            break
        if not _routed_outside(state, receiver):
            break
        vpc = next(record for record in state.all(VpcRecord) if record.id == receiver.vpc)
        if IPv4Address(source) in IPv4Network(vpc.cidr):
            return DENIED  # nobody outside has a private address of the VPC: forged
        if _allowed(state, receiver, source, service, egress=False, private=False):
            return Verdict(receiver.id, source, address.private_ip)
        return DENIED
    leaves = origin is not None and origin in state.uplinks
    return Verdict(OUTSIDE, source, destination) if leaves else DENIED


def _routed_outside(state: State, interface: InterfaceRecord) -> bool:
    """Has the interface's subnet a route to an internet gateway?"""
    return next(record for record in state.all(SubnetRecord) if record.id == interface.subnet).public


def _stands_for(address: AddressRecord, interface: InterfaceRecord, private_ip: str) -> bool:
    return address.interface == interface.id and address.private_ip == private_ip


def _allowed(
    state: State, interface: InterfaceRecord, peer: str, service: Service, *, egress: bool, private: bool
) -> bool:
    """Does any rule of any group of ``interface`` allow the service with ``peer``?

    ``private`` = the peer is seen by its private address, the only one that a group stands for.
    """
    return any(
        rule.egress is egress
        and _covers(rule, service)
        and rule.protocol != (_ICMPV6 if ip_address(peer).version == 4 else _ICMP)
        and _means(state, rule, peer, private=private)
        for group in state.all(GroupRecord)
        if group.id in interface.groups
        for rule in group.rules
    )


def _means(state: State, rule: RuleRecord, peer: str, *, private: bool) -> bool:
    if rule.cidr is not None:
        return ip_address(peer) in ip_network(rule.cidr)  # never across versions
    if rule.prefix_list is not None:
        listed = (one for one in state.all(PrefixListRecord) if one.id == rule.prefix_list)
        return any(ip_address(peer) in ip_network(cidr) for one in listed for cidr in one.entries)
    return private and any(
        rule.group in member.groups and peer in member.addresses for member in state.all(InterfaceRecord)
    )


def _covers(rule: RuleRecord, service: Service) -> bool:
    if rule.protocol == _ANY:
        return True
    if rule.protocol != service.protocol:
        return False
    first, last = rule.from_port, rule.to_port
    if service.protocol in (_ICMP, _ICMPV6):
        return first in (None, _ANY, service.port) and (first in (None, _ANY) or last in (None, _ANY, service.code))
    if service.protocol in (_TCP, _UDP) and first is not None and last is not None:
        return first <= service.port <= last
    return True


#: Hosts outside: one inside of the ranges that tests allow, one beside it, one on a private network of the operator's.
STRANGERS = ("198.51.100.7", "198.51.100.200", "10.77.0.9")
_SPECIAL_ENDS = ("203.0.113.1", "169.254.1.1", "192.168.0.1", "240.0.0.1")


def questions(state: State, rng: Random, count: int) -> Iterator[Question]:
    """At most ``count`` random packets worth asking about: on both sides of the rules' edges, honest and forged."""
    interfaces = list(state.all(InterfaceRecord))
    own = {record.id: record.addresses for record in interfaces}
    private = sorted({address for addresses in own.values() for address in addresses})
    public = sorted(record.public_ip for record in state.all(AddressRecord))
    services = sorted(_services(state))
    honest = [Sender(key, address) for key, addresses in own.items() for address in addresses]
    strangers = [Sender(None, address) for address in (*STRANGERS, *private[:1])]
    liars = [Sender(key, address) for key in own for address in ("192.0.2.1", *private, *public)]
    anywhere = [*private, *private, *public, *public, *STRANGERS, *_SPECIAL_ENDS, "203.0.113.99", "10.0.1.200"]
    for _ in range(count):
        sender = rng.choice(rng.choice([honest or strangers] * 6 + [strangers] * 3 + [liars or strangers]))
        destination = rng.choice(public if sender.interface is None and public else anywhere)
        # What a guest sends to itself never leaves it.
        if destination != sender.address and destination not in own.get(sender.interface or "", ()):
            yield sender, destination, rng.choice(services)


def _services(state: State) -> set[Service]:
    found = {Service(_TCP, 80), Service(_UDP, 53), Service(_ICMP, 8), Service(47), Service(132)}
    for rule in (rule for group in state.all(GroupRecord) for rule in group.rules):
        if rule.protocol in (_ICMP, _ICMPV6):
            found |= {Service(rule.protocol, max(rule.from_port or 0, 0), code) for code in (0, 1, 4)}
        elif rule.protocol in (_TCP, _UDP):
            edges = {edge + step for edge in (rule.from_port, rule.to_port) if edge is not None for step in (-1, 0, 1)}
            found |= {Service(rule.protocol, port) for port in edges if 0 <= port <= 65535}
        elif rule.protocol != _ANY:
            found.add(Service(rule.protocol))
    # An error opens no connection: the tracker relates it to one or calls it invalid, which no trace of a single packet
    # can show.  tests/lab has real ones.
    return {one for one in found if one.protocol != _ICMP or one.port not in _ICMP_ERRORS}
