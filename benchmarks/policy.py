"""One policy for both: a network of ports, half of them here, one shared group, and an elastic IP for every local port.

The group has five rules: tcp/22 and tcp/80 from anyone, tcp/8000-8099 from anyone, udp/53 from 10.0.0.0/8, and
everything from its own members.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.world import World
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    Kind,
    PoolRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.addresses import ipv4_to_text, mac_to_int
from flowrules.flow import Flow

NETWORK = 0x0A000000
PUBLIC = 0xC6336440
GATEWAY = "10.0.0.1"
CIDR = "10.0.0.0/16"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many ports there are, how many of them on this host, and how many of those have an elastic IP."""

    ports: int
    local: int
    elastic: int

    def address(self, number: int) -> str:
        """Private address of port ``number`` (0-based)."""
        return ipv4_to_text(NETWORK + 16 + number)

    def mac(self, number: int) -> str:
        """MAC of port ``number``."""
        return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"

    def public(self, number: int) -> str:
        """Elastic IP of port ``number``."""
        return ipv4_to_text(PUBLIC + number)


UPLINK = 1
FABRIC = 2
METADATA = 3


def ofport(number: int) -> int:
    """OpenFlow port number of the local port ``number``."""
    return 10 + number


def batch(policy: Policy) -> Batch:
    """What the store's feed says of the policy."""
    return Batch(1, full=True, changes=tuple(_changes(policy)))


def hosts(policy: Policy, dpid: int = 1) -> dict[str, HostPorts]:
    """What the agents of the two hosts say: "here", whose datapath is ``dpid``, has the local ports."""
    said = {}
    for host, numbers in (("here", range(policy.local)), ("there", range(policy.local, policy.ports))):
        interfaces = {f"eni-{number}": Binding(ofport(number), mac_to_int(policy.mac(number))) for number in numbers}
        datapath = dpid if host == "here" else dpid + 1
        said[host] = HostPorts(
            datapath, "br-int", uplink=UPLINK, fabric=FABRIC, interfaces=interfaces, metadata=METADATA
        )
    return said


def our_flows(policy: Policy) -> list[Flow]:
    """What our controller wants on this host for the policy, by the same code that runs in it."""
    world = World()
    world.apply(batch(policy))
    for host, ports in hosts(policy).items():
        world.bind(host, ports)
    desired = Desired("here")
    desired.update(world.index, world.keys("here"))
    return list(desired.flows.values())


def _changes(policy: Policy) -> list[Change]:
    anyone = "0.0.0.0/0"
    rules = (
        RuleRecord("sgr-1", False, 6, 22, 22, anyone, None),
        RuleRecord("sgr-2", False, 6, 80, 80, anyone, None),
        RuleRecord("sgr-3", False, 6, 8000, 8099, anyone, None),
        RuleRecord("sgr-4", False, 17, 53, 53, "10.0.0.0/8", None),
        RuleRecord("sgr-5", False, -1, None, None, None, "sg-1"),
        RuleRecord("sgr-6", True, -1, None, None, anyone, None),
    )
    records = [
        Change(Kind.VPC, "vpc-1", VpcRecord("vpc-1", 1, CIDR, 101)),
        Change(Kind.SUBNET, "subnet-1", SubnetRecord("subnet-1", "vpc-1", CIDR, GATEWAY)),
        Change(Kind.POOL, "public", PoolRecord("public", "198.51.0.0/16", "198.51.100.1", "02:00:00:00:ff:01")),
        Change(Kind.GROUP, "sg-1", GroupRecord("sg-1", 1, "vpc-1", "shared", rules)),
    ]
    for number in range(policy.ports):
        interface = f"eni-{number}"
        record = InterfaceRecord(
            interface, f"i-{number}", "vpc-1", "subnet-1", policy.mac(number), (policy.address(number),), ("sg-1",)
        )
        records.append(Change(Kind.INTERFACE, interface, record))
        if number < policy.elastic:
            public = policy.public(number)
            association = AddressRecord(public, "public", interface, policy.address(number))
            records.append(Change(Kind.ADDRESS, public, association))
    return records
