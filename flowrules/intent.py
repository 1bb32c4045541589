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
    """An IPv4 prefix as a remote set; host bits are zero."""

    address: int
    length: int

    @property
    def mask(self) -> int:
        """The network mask as an integer."""
        return (0xFFFFFFFF << (32 - self.length)) & 0xFFFFFFFF


@dataclass(frozen=True, slots=True, order=True)
class GroupMembers:
    """The private addresses of all interfaces in the group with this number, as a remote set."""

    group: int


RemoteSet = Prefix | GroupMembers

#: "Anyone": needs no lookup.
ANYWHERE = Prefix(0, 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission of a group.

    ``protocol`` is an IANA number or -1 = any.  ``first`` and ``last`` are the port range for TCP and UDP
    (None = all); for ICMP they are type and code with -1 = any.  Other protocols have neither.
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
        limit = 255 if self.protocol == IpProtocol.ICMP else 65535
        low = -1 if self.protocol == IpProtocol.ICMP else 0
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
class Port:
    """A local port: one network interface of an instance.

    ``flat`` = the fabric carries no VLAN tags, so that packets from it are told apart by this MAC.
    ``groups`` are group numbers in ascending order.
    """

    ofport: int
    mac: int
    addresses: tuple[int, ...]
    vpc: int
    groups: tuple[int, ...]
    flat: bool = False


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
class Neighbour:
    """A known address of a VPC and where it is; ``via`` None = it has no place yet, but ARP for it is answered.

    ``routed`` = the VPC has several subnets, so the virtual router must be able to reach it.
    """

    vpc: int
    address: int
    mac: int
    via: Local | Remote | None
    routed: bool


@dataclass(frozen=True, slots=True)
class Network:
    """A VPC as a whole: its prefix never leaves by an elastic IP; ``vlan`` is its tag on the fabric, None = flat."""

    vpc: int
    prefix: Prefix
    vlan: int | None


@dataclass(frozen=True, slots=True)
class Gateway:
    """The virtual router's address in a subnet."""

    vpc: int
    address: int


@dataclass(frozen=True, slots=True)
class Group:
    """The rules of a security group in one direction, as a set."""

    number: int
    direction: Direction
    rules: frozenset[Rule]


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


Intent = Bridge | Port | Neighbour | Network | Gateway | Group | Member | ElasticIp
