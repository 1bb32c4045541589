"""Intent values: what one bridge has to know, one value per object.

Each value compiles to a *fragment* of flows by itself (:func:`flowrules.compiler.compile_intent`); a bridge's desired
flows are the union of its fragments.  Addresses and MACs are integers, ports are OpenFlow port numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from flowrules.fields import IpProtocol


class Direction(Enum):
    """Relative to the instance, as in EC2."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """An IPv4 or IPv6 prefix (``version`` 4 or 6) as a remote set; host bits are zero."""

    address: int
    length: int
    version: int = 4

    @property
    def mask(self) -> int:
        """The network mask as an integer."""
        bits = 32 if self.version == 4 else 128
        return (1 << bits) - (1 << (bits - self.length))


@dataclass(frozen=True, slots=True, order=True)
class GroupMembers:
    """The private addresses of all interfaces in the group with this number, as a remote set."""

    group: int


@dataclass(frozen=True, slots=True, order=True)
class PrefixList:
    """The entries of the prefix list with this number, all of IP ``version`` 4 or 6, as a remote set."""

    number: int
    version: int = 4


RemoteSet = Prefix | GroupMembers | PrefixList

#: "Anyone": needs no lookup.
ANYWHERE = Prefix(0, 0)
ANYWHERE_IPV6 = Prefix(0, 0, 6)


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission of a group.

    ``protocol`` is an IANA number or -1 = any.  ``first`` and ``last`` are the port range for TCP and UDP
    (None = all); for ICMP and ICMPv6 they are type and code with -1 = any.  Other protocols have neither.
    """

    protocol: int
    first: int | None
    last: int | None
    remote: RemoteSet

    def __post_init__(self) -> None:
        """Refuse what the pipeline cannot mean; the API has refused it before, so this is a bug when it happens."""
        if not -1 <= self.protocol <= 255:
            raise ValueError(f"no such protocol: {self.protocol}")
        if (self.first is None) != (self.last is None):
            raise ValueError("a rule has both bounds or none")
        icmp = self.protocol in (IpProtocol.ICMP, IpProtocol.ICMPV6)
        low, limit = (-1, 255) if icmp else (0, 65535)
        for bound in (self.first, self.last):
            if bound is not None and not low <= bound <= limit:
                raise ValueError(f"{bound} is out of range for protocol {self.protocol}")


class Revocation(Enum):
    """What becomes of a connection whose rule has gone: it is stopped, or it lives on as a tracked one does in EC2."""

    CUT = "cut"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Bridge:
    """What every bridge has: its uplink to the public network and its port on the private fabric (None = has none)."""

    uplink: int | None
    fabric: int | None
    revocation: Revocation = Revocation.CUT


@dataclass(frozen=True, slots=True)
class Ipv6Bridge:
    """What a bridge has besides when one of its ports has IPv6."""


@dataclass(frozen=True, slots=True)
class Port:
    """A local port: one network interface of an instance.

    ``flat`` = the fabric carries no VLAN tags, so that packets from it are told apart by this MAC.
    ``groups`` are group numbers in ascending order, ``addresses`` IPv4 and ``ipv6`` IPv6 addresses.
    """

    ofport: int
    mac: int
    addresses: tuple[int, ...]
    vpc: int
    groups: tuple[int, ...]
    flat: bool = False
    ipv6: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Local:
    """A neighbour on this host."""

    ofport: int


@dataclass(frozen=True, slots=True)
class Remote:
    """A neighbour behind the fabric; ``vlan`` None = flat."""

    fabric: int
    vlan: int | None


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """A neighbour behind a tunnel: out of port ``fabric`` to the host at ``peer``, as network ``vni`` (24 bits)."""

    fabric: int
    vni: int
    peer: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A known address of a VPC and where it is; ``via`` None = it has no place yet, but who asks for it is answered.

    ``routed`` = the VPC has several subnets, so the virtual router must be able to reach it.
    """

    vpc: int
    address: int
    mac: int
    via: Local | Remote | Tunnelled | None
    routed: bool
    version: int = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A VPC as a whole: its prefix never leaves by an elastic IP.

    ``vlan`` is its tag on the fabric and ``vni`` its network in tunnels (24 bits); a fabric has one of them, or none
    when it is flat.
    """

    vpc: int
    prefix: Prefix
    vlan: int | None
    vni: int | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host whose tunnel packets are taken: they come by port ``fabric`` from ``address``."""

    fabric: int
    address: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """The virtual router's address in a subnet, and its IPv6 address there if the subnet has IPv6."""

    vpc: int
    address: int
    ipv6: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The rules of a security group in one direction, as a set; ``ipv6`` = a local port in the group has IPv6."""

    number: int
    direction: Direction
    rules: frozenset[Rule]
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """``prefix`` belongs to the remote set ``remote``, looked up in ``direction``."""

    remote: RemoteSet
    prefix: Prefix
    direction: Direction


@dataclass(frozen=True, slots=True)
class ElasticIp:
    """An elastic IP of a local port."""

    public: int
    private: int
    ofport: int
    mac: int
    vpc: int
    gateway_mac: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """The port of this host's metadata service."""

    port: int


@dataclass(frozen=True, slots=True)
class MetadataClient:
    """A local port that may ask the metadata service; ``address`` is its first IPv4 address, the one it asks from."""

    ofport: int
    mac: int
    address: int


@dataclass(frozen=True, slots=True)
class Destinations:
    """Which IPv4 destinations outside a VPC the operator has opened and closed, besides what is closed to everyone.

    ``closed`` wins over ``open`` unless that names the very same address, as a prefix of 32 bits.
    """

    open: frozenset[Prefix]
    closed: frozenset[Prefix]


Intent = (
    Bridge
    | Destinations
    | Ipv6Bridge
    | Peer
    | Port
    | Neighbour
    | Network
    | Gateway
    | Group
    | Member
    | ElasticIp
    | Metadata
    | MetadataClient
)
