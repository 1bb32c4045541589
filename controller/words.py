"""Objects of the cloud in words for people: id and name, and what rules and services say.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.index import Index
from controller.keys import (
    BridgeKey,
    DestinationsKey,
    ElasticKey,
    EntryKey,
    GatewayKey,
    GroupKey,
    Key,
    MemberKey,
    MetadataClientKey,
    MetadataKey,
    NeighbourKey,
    NetworkKey,
    PortKey,
    PrefixKey,
)
from econe_api.store.records import RuleRecord

_PROTOCOLS = {-1: "all traffic", 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_ICMP = (1, 58)


def interface_words(index: Index, interface: str) -> str:
    """``eni-1 (i-1, 172.31.0.4)``."""
    record = index.interfaces.get(interface)
    if record is None:
        return interface
    parts = [part for part in (record.instance, *record.addresses[:1]) if part]
    return f"{interface} ({', '.join(parts)})"


def group_words(index: Index, group: str) -> str:
    """``group web (sg-1)``."""
    record = index.groups.get(group)
    return f"group {record.name} ({group})" if record else f"group {group}"


def protocol_words(protocol: int) -> str:
    """``tcp``, or ``protocol 47``."""
    return _PROTOCOLS.get(protocol, f"protocol {protocol}")


def service_words(protocol: int, first: int | None, second: int | None) -> str:
    """``tcp 80``, ``udp 5000-5010``, ``icmp type 8``, ``protocol 47``, as a rule has it."""
    name = protocol_words(protocol)
    if protocol in _ICMP:
        if first in (None, -1):
            return name
        return f"{name} type {first}" + ("" if second in (None, -1) else f" code {second}")
    if first is None or (first, second) == (0, 65535):
        return name
    return f"{name} {first}" if first == second or second is None else f"{name} {first}-{second}"


def rule_words(index: Index, rule: RuleRecord) -> str:
    """``tcp 80 from 0.0.0.0/0``."""
    remote = group_words(index, rule.group) if rule.group else rule.cidr or rule.prefix_list
    way = "to" if rule.egress else "from"
    return f"{service_words(rule.protocol, rule.from_port, rule.to_port)} {way} {remote}"


def key_words(index: Index, key: Key | None) -> str:
    """What a fragment is about; None = nothing of ours."""
    if key is None:
        return "nothing of ours"
    words = _KEYS.get(type(key))
    return words(index, key) if words else str(key)


def key_objects(key: Key | None) -> tuple[str, ...]:
    """The ids of the objects that a fragment belongs to."""
    if key is None:
        return ()
    return tuple(str(getattr(key, name)) for name in _IDS if hasattr(key, name))


_IDS = ("group", "interface", "public_ip", "subnet", "vpc", "prefix_list", "cidr")

_KEYS: dict[type, Callable[[Index, Any], str]] = {
    BridgeKey: lambda index, key: "the pipeline itself",
    DestinationsKey: lambda index, key: "the destinations that the operator has opened and closed",
    PortKey: lambda index, key: f"the port of {interface_words(index, key.interface)}",
    NeighbourKey: lambda index, key: f"address {key.address} of {interface_words(index, key.interface)}",
    NetworkKey: lambda index, key: f"network {key.vpc}",
    GatewayKey: lambda index, key: f"the gateway of {key.subnet}",
    GroupKey: lambda index, key: f"the {key.direction.value} rules of {group_words(index, key.group)}",
    MemberKey: lambda index, key: (
        f"{interface_words(index, key.interface)} as a member of {group_words(index, key.group)}"
    ),
    PrefixKey: lambda index, key: f"{key.cidr} as {'source' if key.direction.value == 'ingress' else 'destination'}",
    EntryKey: lambda index, key: f"{key.cidr} as an entry of {key.prefix_list}",
    ElasticKey: lambda index, key: f"elastic IP {key.public_ip}",
    MetadataKey: lambda index, key: "the metadata service",
    MetadataClientKey: lambda index, key: f"the metadata of {interface_words(index, key.interface)}",
}
