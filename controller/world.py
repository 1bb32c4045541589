"""Keeps the index and says which fragments of which bridges a change may touch.

Marking is generous, never sparing: :func:`controller.projection.resolve` decides what a marked fragment is now, and an
equal intent costs nothing more.  What must hold (tested over random histories): after any sequence of changes, a bridge
that resolved only its marked fragments knows exactly what a bridge that resolves everything from scratch knows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from controller.bindings import HostPorts
from controller.index import Index, Place, Remote, has_ipv6, join, part, references, rules_of
from controller.keys import (
    BridgeKey,
    DestinationsKey,
    ElasticKey,
    EntryKey,
    GatewayKey,
    GroupKey,
    Ipv6Key,
    Key,
    MemberKey,
    MetadataClientKey,
    MetadataKey,
    NeighbourKey,
    NetworkKey,
    PeerKey,
    PortKey,
    PrefixKey,
)
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    PrefixListRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.intent import Direction

Dirty = dict[str, set[Key]]


class World:
    """The present state, and the marks of the change being applied."""

    def __init__(self) -> None:
        self.index = Index()
        self.revision = 0
        self._dirty: defaultdict[str, set[Key]] = defaultdict(set)
        # Which (VPC or group) was on which host when the change began, noted at the first touch.
        self._vpc_was: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        self._group_was: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        self._setters: dict[Kind, Callable[[str, Any], None]] = {
            Kind.VPC: self._set_vpc,
            Kind.SUBNET: self._set_subnet,
            Kind.POOL: self._set_pool,
            Kind.PREFIX_LIST: self._set_prefix_list,
            Kind.INTERFACE: self._set_interface,
            Kind.GROUP: self._set_group,
            Kind.ADDRESS: self._set_address,
            Kind.HOST: lambda name, record: _put(self.index.enrolled, name, record),
        }

    def apply(self, batch: Batch) -> Dirty:
        """Take the changes of a batch in; returns which fragments they may touch, by host."""
        changes: Iterable[Change] = batch.changes
        if batch.full:
            changes = [*batch.changes, *self._forgotten(batch)]
        for change in changes:
            self._setters[change.kind](change.key, change.record)
        self.revision = batch.revision
        return self._finish()

    def bind(self, host: str, ports: HostPorts | None) -> Dirty:
        """Take an agent's snapshot in (None: the host is no more); returns what it may touch, by host."""
        index = self.index
        old = index.hosts.get(host)
        before = old.interfaces if old else {}
        after = ports.interfaces if ports else {}
        moved = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        for interface in moved:
            self._leave(interface)
        if ports is None:
            index.hosts.pop(host, None)
        else:
            index.hosts[host] = ports
        for interface in moved:
            (join if interface in after else part)(index.plugged, interface, host)
            self._enter(interface)
        if old is None or ports is None or _wiring(old) != _wiring(ports):
            self._dirty[host].update(self.keys(host))
            self._mark(index.hosts, [PeerKey(host), DestinationsKey()])
            for interface in index.placed[host]:
                record = index.interfaces[interface]
                self._mark(self._vpc_audience(record.vpc), self._neighbour_keys(interface))
        if old is not None and ports is not None and old.gateways != ports.gateways:
            for interface in index.placed[host]:
                self._mark([host], (ElasticKey(public_ip) for public_ip in index.addresses_of.get(interface, ())))
        return self._finish()

    def keys(self, host: str) -> Iterator[Key]:
        """The names of all fragments that ``host`` may have now."""
        index = self.index
        yield BridgeKey()
        yield DestinationsKey()
        yield Ipv6Key()
        yield MetadataKey()
        yield from (PeerKey(other) for other in index.hosts if other != host)
        for vpc in [vpc for vpc, hosts in index.vpc_hosts.items() if hosts[host]]:
            yield from self._vpc_keys(vpc)
        for group in [group for group, hosts in index.group_hosts.items() if hosts[host]]:
            yield from self._group_keys(group)
        for interface in index.placed[host]:
            yield from self._port_keys(interface)

    # What belongs to what.

    def _vpc_keys(self, vpc: str) -> Iterator[Key]:
        yield NetworkKey(vpc)
        for subnet in self.index.subnets_of[vpc]:
            yield GatewayKey(subnet)
        for interface in self.index.interfaces_of[vpc]:
            yield from self._neighbour_keys(interface)

    def _neighbour_keys(self, interface: str) -> Iterator[Key]:
        for address in self.index.interfaces[interface].addresses:
            yield NeighbourKey(interface, address)

    def _group_keys(self, group: str) -> Iterator[Key]:
        yield from (GroupKey(group, direction) for direction in Direction)
        yield from self._remotes_keys(references(self.index.groups.get(group)))

    def _remotes_keys(self, remotes: Iterable[tuple[Direction, Remote]]) -> Iterator[Key]:
        for direction, remote in remotes:
            yield from self._remote_keys(direction, remote)

    def _remote_keys(self, direction: Direction, remote: Remote) -> Iterator[Key]:
        if "/" in remote:
            yield PrefixKey(remote, direction)
            return
        record = self.index.prefix_lists.get(remote)
        if record is not None:
            yield from (EntryKey(remote, cidr, direction) for cidr in record.entries)
        for interface in self.index.members[remote]:
            for address in self.index.interfaces[interface].addresses:
                yield MemberKey(remote, interface, address, direction)

    def _port_keys(self, interface: str) -> Iterator[Key]:
        yield PortKey(interface)
        yield MetadataClientKey(interface)
        for public_ip in self.index.addresses_of.get(interface, ()):
            yield ElasticKey(public_ip)

    # Marks.

    def _mark(self, hosts: Iterable[str], keys: Iterable[Key]) -> None:
        marks = tuple(keys)
        for host in hosts:
            self._dirty[host].update(marks)

    def _vpc_audience(self, vpc: str) -> set[str]:
        """Hosts that see the VPC, or saw it when the change began."""
        return _audience(self.index.vpc_hosts[vpc], self._vpc_was.get(vpc, {}))

    def _group_audience(self, group: str) -> set[str]:
        """Hosts with the group, or that had it when the change began."""
        return _audience(self.index.group_hosts[group], self._group_was.get(group, {}))

    def _mark_memberships(self, record: InterfaceRecord) -> None:
        for group in record.groups:
            for direction in Direction:
                referrers = self.index.referrers.get((direction, group))
                if referrers:
                    keys = [MemberKey(group, record.id, address, direction) for address in record.addresses]
                    self._mark({host for one in referrers for host in self._group_audience(one)}, keys)

    def _finish(self) -> Dirty:
        """Hosts where a VPC or a group has come or gone; then hand the marks over."""
        for vpc, hosts in self._vpc_was.items():
            if changed := [host for host, was in hosts.items() if was != bool(self.index.vpc_hosts[vpc][host])]:
                self._mark(changed, self._vpc_keys(vpc))
        for group, hosts in self._group_was.items():
            if changed := [host for host, was in hosts.items() if was != bool(self.index.group_hosts[group][host])]:
                self._mark(changed, self._group_keys(group))
        dirty = {host: keys for host, keys in self._dirty.items() if keys}
        self._dirty = defaultdict(set)
        self._vpc_was, self._group_was = defaultdict(dict), defaultdict(dict)
        return dirty

    def _forgotten(self, batch: Batch) -> Iterator[Change]:
        """What a full batch does not name any more, dependants first."""
        named = {(change.kind, change.key) for change in batch.changes}
        index = self.index
        present: tuple[tuple[Kind, dict[str, Any]], ...] = (
            (Kind.ADDRESS, index.addresses),
            (Kind.INTERFACE, index.interfaces),
            (Kind.GROUP, index.groups),
            (Kind.PREFIX_LIST, index.prefix_lists),
            (Kind.SUBNET, index.subnets),
            (Kind.VPC, index.vpcs),
            (Kind.POOL, index.pools),
            (Kind.HOST, index.enrolled),
        )
        for kind, records in present:
            yield from [Change(kind, key, None) for key in records if (kind, key) not in named]

    # Interfaces enter and leave the index as a whole.

    def _leave(self, interface: str) -> None:
        index = self.index
        record = index.interfaces.get(interface)
        if record is None:
            return
        place = index.places.pop(interface, None)
        if place is not None:
            index.placed[place.host].discard(interface)
        self._touch(record, place, -1)
        index.interfaces_of[record.vpc].discard(interface)
        for group in record.groups:
            index.members[group].discard(interface)

    def _enter(self, interface: str) -> None:
        index = self.index
        record = index.interfaces.get(interface)
        if record is None:
            return
        index.interfaces_of[record.vpc].add(interface)
        for group in record.groups:
            index.members[group].add(interface)
        place = index.place(interface)
        if place is not None:
            index.places[interface] = place
            index.placed[place.host].add(interface)
        self._touch(record, place, 1)

    def _touch(self, record: InterfaceRecord, place: Place | None, step: int) -> None:
        """Count an interface in or out and mark what sees it; hosts are marked both with and without it."""
        index = self.index
        neighbours = [NeighbourKey(record.id, address) for address in record.addresses]
        if place is not None:
            self._vpc_was[record.vpc].setdefault(place.host, bool(index.vpc_hosts[record.vpc][place.host]))
            index.vpc_hosts[record.vpc][place.host] += step
            for group in record.groups:
                self._group_was[group].setdefault(place.host, bool(index.group_hosts[group][place.host]))
                index.group_hosts[group][place.host] += step
            if has_ipv6(record):
                self._touch_ipv6(record, place.host, step)
            self._mark([place.host], self._port_keys(record.id))
            self._mark([place.host], neighbours)
        self._mark(self._vpc_audience(record.vpc), neighbours)
        self._mark_memberships(record)

    def _touch_ipv6(self, record: InterfaceRecord, host: str, step: int) -> None:
        """Only where an interface has IPv6 are there flows for it."""
        self.index.ipv6_hosts[host] += step
        self._mark([host], [Ipv6Key()])
        for group in record.groups:
            self.index.group_ipv6_hosts[group][host] += step
            self._mark([host], (GroupKey(group, direction) for direction in Direction))

    # One setter per kind of record.

    def _set_interface(self, key: str, record: InterfaceRecord | None) -> None:
        self._leave(key)
        if record is None:
            self.index.interfaces.pop(key, None)
            return
        self.index.interfaces[key] = record
        self._enter(key)

    def _set_vpc(self, key: str, record: VpcRecord | None) -> None:
        _put(self.index.vpcs, key, record)
        self._mark(self._vpc_audience(key), self._vpc_keys(key))
        for interface in self.index.interfaces_of[key]:
            self._mark_port(interface)

    def _set_subnet(self, key: str, record: SubnetRecord | None) -> None:
        old = self.index.subnets.get(key)
        for vpc in {item.vpc for item in (old, record) if item}:
            self._mark(self._vpc_audience(vpc), [GatewayKey(key)])
        if old:
            self.index.subnets_of[old.vpc].discard(key)
        _put(self.index.subnets, key, record)
        if record:
            self.index.subnets_of[record.vpc].add(key)
        for interface in self._interfaces_in(old, record):
            for public_ip in self.index.addresses_of.get(interface, ()):
                self._mark_elastic(self.index.addresses.get(public_ip))
        # The virtual router works between subnets only, so their number matters to every neighbour.
        for vpc in {item.vpc for item in (old, record) if item}:
            self._mark(self._vpc_audience(vpc), self._vpc_keys(vpc))

    def _interfaces_in(self, old: SubnetRecord | None, new: SubnetRecord | None) -> list[str]:
        """The interfaces in a subnet whose way to the outside has come or gone."""
        if (old is not None and old.public) == (new is not None and new.public):
            return []
        subnet = old or new
        interfaces = self.index.interfaces
        inside = self.index.interfaces_of[subnet.vpc] if subnet else ()
        return [key for key in inside if subnet and interfaces[key].subnet == subnet.id]

    def _set_pool(self, key: str, record: PoolRecord | None) -> None:
        _put(self.index.pools, key, record)
        self._mark(self.index.hosts, [DestinationsKey()])
        for public_ip in self.index.addresses_in[key]:
            self._mark_elastic(self.index.addresses.get(public_ip))

    def _set_prefix_list(self, key: str, record: PrefixListRecord | None) -> None:
        """Only the entries that came or went; rules name the list by its number, which stays."""
        old = self.index.prefix_lists.get(key)
        self.index.rules.clear()
        _put(self.index.prefix_lists, key, record)
        before = self.index.entries.pop(key, frozenset())
        after = frozenset(record.entries if record else ())
        if record is not None:
            self.index.entries[key] = after
        same = old is not None and record is not None and _name(old) == _name(record)
        moved = before ^ after if same else before | after
        for direction in Direction:
            for referrer in self.index.referrers.get((direction, key), ()):
                keys: list[Key] = [EntryKey(key, cidr, direction) for cidr in moved]
                self._mark(self._group_audience(referrer), keys if same else [*keys, GroupKey(referrer, direction)])

    def _set_group(self, key: str, record: GroupRecord | None) -> None:
        """The rules, and the members of what they refer to from now on or no longer: not of what they go on to."""
        old = self.index.groups.get(key)
        hosts = self._group_audience(key)
        before, after = set(references(old)), set(references(record))
        moved = before ^ after
        # Both times: what a rule refers to may be changed by this very record.
        self._mark(hosts, self._remotes_keys(moved))
        for reference in before - after:
            self.index.referrers[reference].discard(key)
        _put(self.index.groups, key, record)
        for reference in after - before:
            self.index.referrers[reference].add(key)
        self._mark(hosts, self._remotes_keys(moved))
        renumbered = old is None or record is None or old.number != record.number
        self.index.rules.clear()  # others may refer to this one
        turned = [one for one in Direction if renumbered or rules_of(old, one) != rules_of(record, one)]
        self._mark(hosts, (GroupKey(key, direction) for direction in turned))
        if renumbered:
            # Ports and members carry the group's number.
            for interface in self.index.members[key]:
                self._mark_memberships(self.index.interfaces[interface])
                self._mark_port(interface)
            for direction in Direction:
                for referrer in self.index.referrers.get((direction, key), ()):
                    self._mark(self._group_audience(referrer), [GroupKey(referrer, direction)])

    def _set_address(self, key: str, record: AddressRecord | None) -> None:
        old = self.index.addresses.get(key)
        if old:
            self._mark_elastic(old)
            part(self.index.addresses_of, old.interface, key)
            self.index.addresses_in[old.pool].discard(key)
        _put(self.index.addresses, key, record)
        if record:
            join(self.index.addresses_of, record.interface, key)
            self.index.addresses_in[record.pool].add(key)
            self._mark_elastic(record)

    def _mark_port(self, interface: str) -> None:
        place = self.index.places.get(interface)
        if place:
            self._mark([place.host], self._port_keys(interface))

    def _mark_elastic(self, record: AddressRecord | None) -> None:
        place = self.index.places.get(record.interface) if record else None
        if record and place:
            self._mark([place.host], [ElasticKey(record.public_ip)])


def _audience(present: Counter[str], was: dict[str, bool]) -> set[str]:
    return {host for host, count in present.items() if count} | {host for host, there in was.items() if there}


def _wiring(ports: HostPorts) -> tuple[object, ...]:
    """What the ways to and from a host depend on."""
    return ports.uplink, ports.fabric, ports.mode, ports.tunnel_ip, ports.metadata


def _name(record: PrefixListRecord) -> tuple[int, int]:
    """What the rules that refer to a list are compiled to."""
    return record.number, record.version


def _put(records: dict[str, Any], key: str, record: Any) -> None:
    if record is None:
        records.pop(key, None)
    else:
        records[key] = record
