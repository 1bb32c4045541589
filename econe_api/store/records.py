"""What the store tells its followers: plain values, one per object the data plane cares about.

Addresses and prefixes are strings in canonical text form ("172.31.0.4", "10.0.0.0/8"), MACs are lower-case
"02:00:00:00:00:01".  Protocols are IANA numbers, -1 = any.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of objects in the change feed."""

    VPC = "vpc"
    SUBNET = "subnet"
    POOL = "pool"
    PREFIX_LIST = "prefix-list"
    INTERFACE = "interface"
    GROUP = "group"
    ADDRESS = "address"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class VpcRecord:
    """A VPC.  ``number`` is its metadata in the pipeline, ``vlan`` its tag on the fabric (1-4094, 0 = it has none).

    ``ipv6_cidr`` is its IPv6 prefix, None = it has no IPv6; with ``dns_support`` its instances are told name servers.
    """

    id: str
    number: int
    cidr: str
    vlan: int
    ipv6_cidr: str | None = None
    dns_support: bool = True


@dataclass(frozen=True, slots=True)
class SubnetRecord:
    """A subnet with the address of its virtual router; the same for IPv6, None = it has no IPv6.

    ``public`` = it is routed to an internet gateway, so elastic IPs in it work.
    """

    id: str
    vpc: str
    cidr: str
    gateway: str
    ipv6_cidr: str | None = None
    ipv6_gateway: str | None = None
    public: bool = True


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool of elastic IPs on a public network, with the gateway that the uplink reaches.

    ``gateway_mac`` "" = the agents find it out.
    """

    name: str
    cidr: str
    gateway: str
    gateway_mac: str


@dataclass(frozen=True, slots=True)
class InterfaceRecord:
    """A network interface (eni-) that is attached to an instance, and the ``host`` that the instance shall be on.

    ``addresses`` are the IPv4 ones, the primary one first, then the IPv6 ones.
    """

    id: str
    instance: str | None
    vpc: str
    subnet: str
    mac: str
    addresses: tuple[str, ...]
    groups: tuple[str, ...]
    host: str | None = None


@dataclass(frozen=True, slots=True)
class PrefixListRecord:
    """A managed prefix list with its prefixes, all of IP ``version``, in order; ``number`` names it in the pipeline."""

    id: str
    number: int
    version: int
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """One rule of a group; exactly one of ``cidr``, ``group`` and ``prefix_list`` is set.

    For ICMP ``from_port`` is the type and ``to_port`` the code, -1 = any.  Without ports both are None.
    """

    id: str
    egress: bool
    protocol: int
    from_port: int | None
    to_port: int | None
    cidr: str | None
    group: str | None
    prefix_list: str | None = None


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A security group with its rules, ordered by rule id; ``number`` names it in the pipeline."""

    id: str
    number: int
    vpc: str
    name: str
    rules: tuple[RuleRecord, ...]


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """An associated elastic IP (``public_ip``): which interface has it and which private address it stands for."""

    public_ip: str
    pool: str
    interface: str
    private_ip: str


REMOVED = "removed"
"""The state of a host that was taken out."""


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A hypervisor that was invited, has joined or was removed (``state``).

    ``serials`` are those of its certificates that hold, in hexadecimal, ``invitations`` the digests of the join tokens
    that may be used, both in order.
    """

    name: str
    state: str
    serials: tuple[str, ...] = ()
    invitations: tuple[str, ...] = ()


Record = (
    VpcRecord
    | SubnetRecord
    | PoolRecord
    | PrefixListRecord
    | InterfaceRecord
    | GroupRecord
    | AddressRecord
    | HostRecord
)


@dataclass(frozen=True, slots=True)
class Change:
    """The state of one object at a batch's revision; ``record`` is None when the data plane must forget it.

    ``key`` is the object's id (pool: its name; address: its public IP).  An address without association is None.
    """

    kind: Kind
    key: str
    record: Record | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that changed up to ``revision``.  ``full`` = this is the whole state, forget all else.

    ``requests`` are the ids of the API requests that made the latest of these changes, for the logs alone.
    """

    revision: int
    full: bool
    changes: tuple[Change, ...]
    requests: tuple[str, ...] = ()
