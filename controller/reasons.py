"""Why a traced packet passed or ended: flows that were hit, said as rules of groups.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from controller.index import Index, remote_of
from controller.keys import EntryKey, GroupKey, Key, MemberKey, PrefixKey
from controller.trace_text import Step
from controller.words import group_words, interface_words, rule_words, service_words
from econe_api.store.records import InterfaceRecord, RuleRecord
from flowrules import tables as t
from flowrules.addresses import ipv4_to_text

_ANYONE = {4: "0.0.0.0/0", 6: "::/0"}
_ICMP = (1, 58)
_VERDICT = "load:0x1->NXM_NX_REG5[0]"
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Service:
    """What is asked for: IANA protocol number; port, or ICMP type and code; None where the protocol has none."""

    protocol: int
    port: int | None = None
    code: int | None = None

    @property
    def words(self) -> str:
        """``tcp 80``."""
        return service_words(self.protocol, self.port, self.code if self.protocol in _ICMP else self.port)


@dataclass(frozen=True, slots=True)
class Allowing:
    """A rule that let the packet through."""

    egress: bool
    group: str
    rule: RuleRecord


@dataclass(frozen=True, slots=True)
class Journey:
    """What the reasons need to know of a packet: its ends, with the addresses that it has now."""

    service: Service
    source: str
    destination: str
    sender: str | None
    receiver: str | None


def covers(rule: RuleRecord, service: Service) -> bool:
    """Does the rule speak of the service?"""
    if rule.protocol == -1:
        return True
    if rule.protocol != service.protocol:
        return False
    first, last = rule.from_port, rule.to_port
    if service.protocol in _ICMP:
        return first in (None, -1, service.port) and (first in (None, -1) or last in (None, -1, service.code))
    if service.port is None or first is None or last is None:
        return True
    return first <= service.port <= last


def allowing(
    index: Index, steps: Sequence[Step], owners: Mapping[int, Key], service: Service, version: int = 4
) -> Iterator[Allowing]:
    """The rules behind the flows that said yes to a packet of that IP version, in the order in which they were hit."""
    group: GroupKey | None = None
    for step in steps:
        owner = owners.get(step.cookie)
        remotes: tuple[str, ...] = ()
        if isinstance(owner, GroupKey):
            group = owner
            remotes = (_ANYONE[version],) if _VERDICT in step.actions else ()
        elif isinstance(owner, MemberKey):
            remotes = (owner.group,)
        elif isinstance(owner, PrefixKey):
            remotes = (owner.cidr,)
        elif isinstance(owner, EntryKey):
            remotes = (owner.prefix_list,)
        record = index.groups.get(group.group) if group and remotes else None
        if group is None or record is None:
            continue
        egress = group.direction.value == "egress"
        for rule in record.rules:
            if rule.egress is egress and remote_of(rule) in remotes and covers(rule, service):
                yield Allowing(egress, group.group, rule)


def ending(steps: Sequence[Step]) -> Step | None:
    """The step that decided that the packet ends: the last one, or the one that gave the verdict for it.

    A closed destination goes to EGRESS_ACT at once, which treats it as what no rule allows.
    """
    last = steps[-1] if steps else None
    if last is not None and last.table == t.EGRESS_ACT and len(steps) > 1 and steps[-2].table == t.DESTINATIONS:
        return steps[-2]
    return last


def denial(index: Index, step: Step | None, journey: Journey) -> str:
    """Why the packet ended at ``step``, the one that decided it (:func:`ending`)."""
    if step is None:
        return "the switch gave no answer that can be read"
    words = _DENIALS.get(step.table)
    if words is not None:
        return words(index, journey)
    table = t.TABLES.get(step.table)
    return f"it ends there: {table.purpose}" if table else "it ends in a table that Sluice does not use"


def _no_port(index: Index, journey: Journey) -> str:
    return (
        f"the switch does not know the port or the MAC of {_end(index, journey.sender, journey.source)}: "
        "its instance is just starting, or its flows are missing (see 'sluice audit')"
    )


def _spoofed(index: Index, journey: Journey) -> str:
    return f"{_end(index, journey.sender, journey.source)} may not send as {journey.source}"


def _no_route(index: Index, journey: Journey) -> str:
    return f"no interface of the VPC that is plugged in has the address {journey.destination}"


def closed_subnet(index: Index, record: InterfaceRecord) -> str:
    """Why an elastic IP of an interface in a subnet without a way to the outside is dark."""
    return (
        f"the subnet {record.subnet} of {interface_words(index, record.id)} has no route to an internet gateway; "
        "add 0.0.0.0/0 to the route table that it uses"
    )


def _closed(index: Index, journey: Journey) -> str:
    what, mend = _why_closed(index, journey.destination)
    return f"{what}, and instances may not open connections to that; {mend} opens it"


def _why_closed(index: Index, address: str) -> tuple[str, str]:
    """What an address is that is closed, and what would open it."""
    by_name = f"{address}/32 among allowed_destinations in [controller]"
    for pool in index.pools.values():
        if pool.gateway == address:
            return f"{address} is the gateway of pool {pool.name}", by_name
    for host, ports in index.hosts.items():
        if ports.tunnel_ip is not None and ipv4_to_text(ports.tunnel_ip) == address:
            return f"{address} is where host {host} takes tunnel packets", by_name
    for cidr in index.denied_destinations:
        if inside(cidr, address):
            return f"{address} is in {cidr} of denied_destinations", by_name
    return (
        f"{address} is in a private or special range outside the VPC, where the cloud's own hosts may be",
        "an entry among allowed_destinations in [controller]",
    )


def _no_elastic(index: Index, journey: Journey) -> str:
    record = index.interfaces.get(journey.sender or "")
    if record is not None and index.addresses_of.get(record.id) and not index.reaches_outside(record):
        return closed_subnet(index, record)
    return (
        f"{_end(index, journey.sender, journey.source)} has no elastic IP, and without one nothing leaves the VPC; "
        "give it one with AssociateAddress"
    )


def _not_here(index: Index, journey: Journey) -> str:
    return f"no elastic IP {journey.destination} is on this host"


def _forged(index: Index, journey: Journey) -> str:
    return f"it came by an elastic IP and claims the private address {journey.source}: forged"


def _no_egress(index: Index, journey: Journey) -> str:
    return _no_rule(index, journey.sender, journey, egress=True)


def _no_ingress(index: Index, journey: Journey) -> str:
    return _no_rule(index, journey.receiver, journey, egress=False)


def _no_rule(index: Index, interface: str | None, journey: Journey, *, egress: bool) -> str:
    record = index.interfaces.get(interface or "")
    groups = [group for group in record.groups if group in index.groups] if record else []
    way, peer = ("egress", f"to {journey.destination}") if egress else ("ingress", f"from {journey.source}")
    named = " or ".join(group_words(index, group) for group in groups) or "no group"
    rules = [rule for group in groups for rule in index.groups[group].rules if rule.egress is egress]
    text = f"no {way} rule of {named} allows {journey.service.words} {peer}"
    if not rules:
        return f"{text}: there is no {way} rule at all"
    near = sorted(
        rules, key=lambda rule: (not covers(rule, journey.service), rule.protocol != journey.service.protocol)
    )
    shown = "; ".join(f"{rule.id} {rule_words(index, rule)}" for rule in near[:_SHOWN])
    more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
    return f"{text}. It has: {shown}{more}{_hint(index, near, journey, egress=egress)}"


def _hint(index: Index, rules: list[RuleRecord], journey: Journey, *, egress: bool) -> str:
    """A rule that names a group sees private addresses only: the usual surprise behind an elastic IP."""
    peer = journey.receiver if egress else journey.sender
    record: InterfaceRecord | None = index.interfaces.get(peer or "")
    meant = [rule for rule in rules if record and rule.group in record.groups and covers(rule, journey.service)]
    address = journey.destination if egress else journey.source
    if not meant or record is None or address in record.addresses:
        return ""
    return (
        f". Rule {meant[0].id} means {interface_words(index, record.id)} by its private address; the packet has its "
        f"elastic IP {address}: use the private address, or allow {address}/32"
    )


def _end(index: Index, interface: str | None, address: str) -> str:
    return interface_words(index, interface) if interface else address


_DENIALS = {
    t.CLASSIFY: _no_port,
    t.EXTERNAL_IN: _not_here,
    t.SPOOF: _spoofed,
    t.ARP: _no_route,
    t.DESTINATIONS: _closed,
    t.EGRESS_ACT: _no_egress,
    t.ROUTE: _no_route,
    t.ELASTIC_OUT: _no_elastic,
    t.INGRESS_TRACK: _forged,
    t.INGRESS_ACT: _no_ingress,
}


def inside(cidr: str, address: str) -> bool:
    """Is the address within the prefix?  One of another IP version is not."""
    return ip_address(address) in ip_network(cidr)
