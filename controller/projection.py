"""What a fragment of a bridge is now: the index seen from one host, as intent values.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.index import Index, Place, remote_of, rules_of
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
from econe_api.store.records import InterfaceRecord, RuleRecord, VpcRecord
from flowrules.addresses import ipv4_to_int, ipv6_to_int, mac_to_int, version_of
from flowrules.intent import (
    ANYWHERE,
    ANYWHERE_IPV6,
    Bridge,
    Destinations,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Intent,
    Ipv6Bridge,
    Local,
    Member,
    Metadata,
    MetadataClient,
    Neighbour,
    Network,
    Peer,
    Port,
    Prefix,
    PrefixList,
    Remote,
    RemoteSet,
    Rule,
    Tunnelled,
)


def resolve(index: Index, host: str, key: Key) -> Intent | None:
    """The intent behind ``key`` on ``host``; None when there is nothing (any more)."""
    if host not in index.hosts:
        return None
    return _RESOLVERS[type(key)](index, host, key)


def prefix(cidr: str) -> Prefix:
    """``"10.0.0.0/8"`` or ``"2001:db8::/32"`` as a value."""
    address, length = cidr.split("/")
    return _prefix_at(address, int(length))


def _prefix_at(address: str, length: int | None = None) -> Prefix:
    """A prefix; ``length`` None = the address alone."""
    version = version_of(address)
    whole = 32 if version == 4 else 128
    return Prefix(_to_int(address), whole if length is None else length, version)


def _to_int(address: str) -> int:
    return ipv4_to_int(address) if version_of(address) == 4 else ipv6_to_int(address)


def _of_version(record: InterfaceRecord, version: int) -> tuple[int, ...]:
    return tuple(sorted(_to_int(address) for address in record.addresses if version_of(address) == version))


def _bridge(index: Index, host: str, _key: BridgeKey) -> Intent:
    ports = index.hosts[host]
    # By a tunnel port come only packets of known peers, which are fragments of their own.
    return Bridge(ports.uplink, None if ports.mode == "vxlan" else ports.fabric, index.revocation)


def _destinations(index: Index, _host: str, _key: DestinationsKey) -> Intent:
    """A pool's own network is open, for there are the elastic IPs; its gateway and the hosts' tunnels are not."""
    pools = index.pools.values()
    open_ = {*index.allowed_destinations, *(pool.cidr for pool in pools)}
    ends = {ports.tunnel_ip for ports in index.hosts.values() if ports.tunnel_ip is not None}
    closed = {*(prefix(cidr) for cidr in index.denied_destinations), *(_prefix_at(pool.gateway) for pool in pools)}
    return Destinations(
        frozenset(one for cidr in open_ if (one := prefix(cidr)).version == 4),
        frozenset(one for one in closed if one.version == 4) | {Prefix(end, 32) for end in ends},
    )


def _peer(index: Index, host: str, key: PeerKey) -> Intent | None:
    here, there = index.hosts[host], index.hosts.get(key.host)
    if here.mode != "vxlan" or here.fabric is None or key.host == host or there is None or there.tunnel_ip is None:
        return None
    return Peer(here.fabric, there.tunnel_ip)


def _ipv6(index: Index, host: str, _key: Ipv6Key) -> Intent | None:
    return Ipv6Bridge() if index.ipv6_hosts[host] else None


def _port(index: Index, host: str, key: PortKey) -> Intent | None:
    record, place = index.interfaces.get(key.interface), index.places.get(key.interface)
    if record is None or place is None or place.host != host:
        return None
    vpc = index.vpcs.get(record.vpc)
    # A port whose groups are not all known would be judged by half its rules: it stays dark until they are.
    if vpc is None or any(group not in index.groups for group in record.groups):
        return None
    return Port(
        place.ofport,
        mac_to_int(record.mac),
        _of_version(record, 4),
        vpc.number,
        tuple(sorted(index.groups[group].number for group in record.groups)),
        flat=index.hosts[host].mode == "flat" or (index.hosts[host].mode == "vlan" and vpc.vlan == 0),
        ipv6=_of_version(record, 6),
    )


def _neighbour(index: Index, host: str, key: NeighbourKey) -> Intent | None:
    record = index.interfaces.get(key.interface)
    vpc = index.vpcs.get(record.vpc) if record else None
    if record is None or vpc is None or key.address not in record.addresses or not index.vpc_hosts[vpc.id][host]:
        return None
    place = index.places.get(key.interface)
    via = _way(index, host, place, vpc) if place is not None else None
    routed = len(index.subnets_of[vpc.id]) > 1
    version = version_of(key.address)
    return Neighbour(vpc.number, _to_int(key.address), mac_to_int(record.mac), via, routed, version)


def _way(index: Index, host: str, place: Place, vpc: VpcRecord) -> Local | Remote | Tunnelled | None:
    """The way from ``host`` to ``place``; None when there is none."""
    if place.host == host:
        return Local(place.ofport)
    here, there = index.hosts[host], index.hosts[place.host]
    if here.fabric is None or here.mode != there.mode:
        return None
    if here.mode != "vxlan":
        return Remote(here.fabric, (vpc.vlan or None) if here.mode == "vlan" else None)
    return None if there.tunnel_ip is None else Tunnelled(here.fabric, vpc.number, there.tunnel_ip)


def _network(index: Index, host: str, key: NetworkKey) -> Intent | None:
    vpc = index.vpcs.get(key.vpc)
    if vpc is None or not index.vpc_hosts[key.vpc][host]:
        return None
    mode = index.hosts[host].mode
    vlan = (vpc.vlan or None) if mode == "vlan" else None
    return Network(vpc.number, prefix(vpc.cidr), vlan, vpc.number if mode == "vxlan" else None)


def _gateway(index: Index, host: str, key: GatewayKey) -> Intent | None:
    subnet = index.subnets.get(key.subnet)
    vpc = index.vpcs.get(subnet.vpc) if subnet else None
    if subnet is None or vpc is None or not index.vpc_hosts[vpc.id][host]:
        return None
    ipv6 = None if subnet.ipv6_gateway is None else ipv6_to_int(subnet.ipv6_gateway)
    return Gateway(vpc.number, ipv4_to_int(subnet.gateway), ipv6)


def _group(index: Index, host: str, key: GroupKey) -> Intent | None:
    group = index.groups.get(key.group)
    if group is None or not index.group_hosts[key.group][host]:
        return None
    rules = index.rules.get((key.group, key.direction))
    if rules is None:
        found = (_rule(index, record) for record in rules_of(group, key.direction))
        rules = index.rules[key.group, key.direction] = frozenset(rule for rule in found if rule is not None)
    ipv6 = bool(index.group_ipv6_hosts[key.group][host])
    return Group(group.number, key.direction, rules, ipv6) if rules else None


def _rule(index: Index, record: RuleRecord) -> Rule | None:
    remote = remote_of(record)
    source: RemoteSet
    if "/" in remote:
        source = prefix(remote)
    elif remote in index.groups:
        source = GroupMembers(index.groups[remote].number)
    elif remote in index.prefix_lists:
        source = _prefix_list(index, remote)
    else:
        return None
    return Rule(record.protocol, record.from_port, record.to_port, source)


def _member(index: Index, host: str, key: MemberKey) -> Intent | None:
    record, group = index.interfaces.get(key.interface), index.groups.get(key.group)
    if record is None or group is None or key.group not in record.groups or key.address not in record.addresses:
        return None
    if not index.interested(host, key.direction, key.group):
        return None
    return Member(GroupMembers(group.number), _prefix_at(key.address), key.direction)


def _prefix(index: Index, host: str, key: PrefixKey) -> Intent | None:
    remote = prefix(key.cidr)
    if remote in (ANYWHERE, ANYWHERE_IPV6) or not index.interested(host, key.direction, key.cidr):
        return None
    return Member(remote, remote, key.direction)


def _prefix_list(index: Index, key: str) -> PrefixList:
    record = index.prefix_lists[key]
    return PrefixList(record.number, record.version)


def _entry(index: Index, host: str, key: EntryKey) -> Intent | None:
    if key.cidr not in index.entries.get(key.prefix_list, ()):
        return None
    if not index.interested(host, key.direction, key.prefix_list):
        return None
    return Member(_prefix_list(index, key.prefix_list), prefix(key.cidr), key.direction)


def _elastic(index: Index, host: str, key: ElasticKey) -> Intent | None:
    record = index.addresses.get(key.public_ip)
    interface = index.interfaces.get(record.interface) if record else None
    place = index.places.get(interface.id) if interface else None
    if record is None or interface is None or place is None or place.host != host:
        return None
    vpc, pool = index.vpcs.get(interface.vpc), index.pools.get(record.pool)
    if vpc is None or pool is None or record.private_ip not in interface.addresses:
        return None
    if not index.reaches_outside(interface):
        return None
    gateway = mac_to_int(pool.gateway_mac) if pool.gateway_mac else index.hosts[host].gateways.get(pool.gateway)
    # Without its gateway an address would attract packets and answer none; another host may do better.
    if gateway is None:
        return None
    return ElasticIp(
        ipv4_to_int(record.public_ip),
        ipv4_to_int(record.private_ip),
        place.ofport,
        mac_to_int(interface.mac),
        vpc.number,
        gateway,
    )


def _metadata(index: Index, host: str, _key: MetadataKey) -> Intent | None:
    port = index.hosts[host].metadata
    return Metadata(port) if port is not None else None


def _metadata_client(index: Index, host: str, key: MetadataClientKey) -> Intent | None:
    record, place = index.interfaces.get(key.interface), index.places.get(key.interface)
    if record is None or place is None or place.host != host or index.hosts[host].metadata is None:
        return None
    first = next((address for address in record.addresses if version_of(address) == 4), None)
    return MetadataClient(place.ofport, mac_to_int(record.mac), ipv4_to_int(first)) if first is not None else None


_RESOLVERS: dict[type, Callable[[Index, str, Any], Intent | None]] = {
    BridgeKey: _bridge,
    DestinationsKey: _destinations,
    Ipv6Key: _ipv6,
    PeerKey: _peer,
    PortKey: _port,
    NeighbourKey: _neighbour,
    NetworkKey: _network,
    GatewayKey: _gateway,
    GroupKey: _group,
    MemberKey: _member,
    PrefixKey: _prefix,
    EntryKey: _entry,
    ElasticKey: _elastic,
    MetadataKey: _metadata,
    MetadataClientKey: _metadata_client,
}
