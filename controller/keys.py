"""Names of the fragments of a bridge: one per object that the bridge has to know."""

from __future__ import annotations

from dataclasses import dataclass

from flowrules.intent import Direction


@dataclass(frozen=True, slots=True)
class BridgeKey:
    """What every bridge has."""


@dataclass(frozen=True, slots=True)
class DestinationsKey:
    """Which destinations outside a VPC are open to instances."""


@dataclass(frozen=True, slots=True)
class Ipv6Key:
    """What a bridge has besides when one of its ports has IPv6."""


@dataclass(frozen=True, slots=True)
class PeerKey:
    """Another host as the far end of tunnels."""

    host: str


@dataclass(frozen=True, slots=True)
class PortKey:
    """A local port, by network interface."""

    interface: str


@dataclass(frozen=True, slots=True)
class NeighbourKey:
    """A known address of a VPC."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True)
class NetworkKey:
    """A VPC as a whole."""

    vpc: str


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """The virtual router in a subnet."""

    subnet: str


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The rules of a group in one direction."""

    group: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class MemberKey:
    """An address of an interface in a group that rules of that direction refer to."""

    group: str
    interface: str
    address: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """A CIDR that rules of that direction refer to."""

    cidr: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class EntryKey:
    """An entry of a prefix list that rules of that direction refer to."""

    prefix_list: str
    cidr: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class ElasticKey:
    """An elastic IP, by its public address."""

    public_ip: str


@dataclass(frozen=True, slots=True)
class MetadataKey:
    """The way to and from the host's metadata service."""


@dataclass(frozen=True, slots=True)
class MetadataClientKey:
    """The way back from the metadata service to a local port, by network interface."""

    interface: str


Key = (
    BridgeKey
    | DestinationsKey
    | Ipv6Key
    | PeerKey
    | PortKey
    | NeighbourKey
    | NetworkKey
    | GatewayKey
    | GroupKey
    | MemberKey
    | PrefixKey
    | EntryKey
    | ElasticKey
    | MetadataKey
    | MetadataClientKey
)
