"""What a fragment of a bridge is now: the index seen from one host, as intent values.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.index import Index, direction_of, remote_of
from controller.keys import (
    BridgeKey,
    ElasticKey,
    GatewayKey,
    GroupKey,
    Key,
    MemberKey,
    NeighbourKey,
    NetworkKey,
    PortKey,
    PrefixKey,
)
from econe_api.store.records import RuleRecord
from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.intent import (
    ANYWHERE,
    Bridge,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Intent,
    Local,
    Member,
    Neighbour,
    Network,
    Port,
    Prefix,
    Remote,
    RemoteSet,
    Rule,
)


def resolve(index: Index, host: str, key: Key) -> Intent | None:
    """The intent behind ``key`` on ``host``; None when there is nothing (any more)."""
    if host not in index.hosts:
        return None
    return _RESOLVERS[type(key)](index, host, key)


def prefix(cidr: str) -> Prefix:
    """``"10.0.0.0/8"`` as a value."""
    address, length = cidr.split("/")
    return Prefix(ipv4_to_int(address), int(length))


def _bridge(index: Index, host: str, _key: BridgeKey) -> Intent:
    ports = index.hosts[host]
    return Bridge(ports.uplink, ports.fabric, index.revocation)


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
        tuple(sorted(ipv4_to_int(address) for address in record.addresses)),
        vpc.number,
        tuple(sorted(index.groups[group].number for group in record.groups)),
        flat=vpc.vlan == 0,
    )


def _neighbour(index: Index, host: str, key: NeighbourKey) -> Intent | None:
    record = index.interfaces.get(key.interface)
    vpc = index.vpcs.get(record.vpc) if record else None
    if record is None or vpc is None or key.address not in record.addresses or not index.vpc_hosts[vpc.id][host]:
        return None
    place, fabric = index.places.get(key.interface), index.hosts[host].fabric
    via: Local | Remote | None = None
    if place is not None and place.host == host:
        via = Local(place.ofport)
    elif place is not None and fabric is not None:
        via = Remote(fabric, vpc.vlan or None)
    routed = len(index.subnets_of[vpc.id]) > 1
    return Neighbour(vpc.number, ipv4_to_int(key.address), mac_to_int(record.mac), via, routed)


def _network(index: Index, host: str, key: NetworkKey) -> Intent | None:
    vpc = index.vpcs.get(key.vpc)
    if vpc is None or not index.vpc_hosts[key.vpc][host]:
        return None
    return Network(vpc.number, prefix(vpc.cidr), vpc.vlan or None)


def _gateway(index: Index, host: str, key: GatewayKey) -> Intent | None:
    subnet = index.subnets.get(key.subnet)
    vpc = index.vpcs.get(subnet.vpc) if subnet else None
    if subnet is None or vpc is None or not index.vpc_hosts[vpc.id][host]:
        return None
    return Gateway(vpc.number, ipv4_to_int(subnet.gateway))


def _group(index: Index, host: str, key: GroupKey) -> Intent | None:
    group = index.groups.get(key.group)
    if group is None or not index.group_hosts[key.group][host]:
        return None
    known = [rule for rule in group.rules if direction_of(rule) is key.direction]
    rules = frozenset(rule for rule in (_rule(index, record) for record in known) if rule is not None)
    return Group(group.number, key.direction, rules) if rules else None


def _rule(index: Index, record: RuleRecord) -> Rule | None:
    remote = remote_of(record)
    source: RemoteSet
    if "/" in remote:
        source = prefix(remote)
    elif remote in index.groups:
        source = GroupMembers(index.groups[remote].number)
    else:
        return None
    return Rule(record.protocol, record.from_port, record.to_port, source)


def _member(index: Index, host: str, key: MemberKey) -> Intent | None:
    record, group = index.interfaces.get(key.interface), index.groups.get(key.group)
    if record is None or group is None or key.group not in record.groups or key.address not in record.addresses:
        return None
    if not index.interested(host, key.direction, key.group):
        return None
    return Member(GroupMembers(group.number), Prefix(ipv4_to_int(key.address), 32), key.direction)


def _prefix(index: Index, host: str, key: PrefixKey) -> Intent | None:
    remote = prefix(key.cidr)
    if remote == ANYWHERE or not index.interested(host, key.direction, key.cidr):
        return None
    return Member(remote, remote, key.direction)


def _elastic(index: Index, host: str, key: ElasticKey) -> Intent | None:
    record = index.addresses.get(key.public_ip)
    interface = index.interfaces.get(record.interface) if record else None
    place = index.places.get(interface.id) if interface else None
    if record is None or interface is None or place is None or place.host != host:
        return None
    vpc, pool = index.vpcs.get(interface.vpc), index.pools.get(record.pool)
    if vpc is None or pool is None or record.private_ip not in interface.addresses:
        return None
    return ElasticIp(
        ipv4_to_int(record.public_ip),
        ipv4_to_int(record.private_ip),
        place.ofport,
        mac_to_int(interface.mac),
        vpc.number,
        mac_to_int(pool.gateway_mac),
    )


_RESOLVERS: dict[type, Callable[[Index, str, Any], Intent | None]] = {
    BridgeKey: _bridge,
    PortKey: _port,
    NeighbourKey: _neighbour,
    NetworkKey: _network,
    GatewayKey: _gateway,
    GroupKey: _group,
    MemberKey: _member,
    PrefixKey: _prefix,
    ElasticKey: _elastic,
}
