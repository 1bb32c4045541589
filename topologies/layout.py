"""Names and addresses of the lab; all addresses live inside its namespaces only.

```
            mgmt 10.255.0.1/24 (controller)      fab: private fabric, passes 802.1Q tags
              |          |                        |          |
     10.255.0.11 mgmt0   10.255.0.12 mgmt0       fab0       fab0
             h1         h2    ...                 h1         h2
              | ext0     | ext0
            rtr: pub 198.51.100.1/24 -- 203.0.113.1/24 rtr0 -- out0 203.0.113.10/24: out
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MANAGEMENT = "mgmt"
FABRIC = "fab"
ROUTER = "rtr"
OUTSIDE = "out"

CONTROLLER_IP = "10.255.0.1"
"""Where the controller listens, in the namespace ``mgmt``: OpenFlow on TCP 6653, agents on TCP 6654."""
PUBLIC_CIDR = "198.51.100.0/24"
GATEWAY_IP = "198.51.100.1"
GATEWAY_MAC = "02:00:c6:33:64:01"
OUTSIDE_IP = "203.0.113.10"
OUTSIDE_GATEWAY_IP = "203.0.113.1"

UPLINK = "ext0"
"""The hypervisors' interface to the public network."""
FABRIC_PORT = "fab0"
"""The hypervisors' interface to the private fabric."""
MANAGEMENT_PORT = "mgmt0"
FABRICS = ("vlan", "vxlan", "flat")
"""How the fabric tells VPCs apart."""
TUNNEL_PORT = "vxlan0"
"""With vxlan: the port of the tunnels on the instances' bridge."""
UNDERLAY_BRIDGE = "br-phy"
"""With vxlan: holds the hypervisor's address on the fabric and its interface to it."""
TUNNEL_MTU = 1450
"""With vxlan: what is left to an instance of the fabric's 1500 bytes (outer Ethernet, IPv4, UDP and VXLAN: 50)."""

MOST_HYPERVISORS = 64

#: The router sends packets back out of the port they came from (one elastic IP to another), which is no news to anyone.
ROUTER_SYSCTLS: Mapping[str, str] = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}

#: The kernel of a hypervisor hears uplink and fabric beside the switch; it must not answer ARP there.
HYPERVISOR_SYSCTLS: Mapping[str, str] = {"net/ipv4/conf/all/arp_ignore": "1"}


def hypervisor_names(count: int) -> list[str]:
    """Return "h1", "h2", ..."""
    return [f"h{number}" for number in range(1, count + 1)]


def management_ip(hypervisor: str) -> str:
    """Return the address of ``hypervisor`` ("h1") on the management network."""
    return f"10.255.0.{10 + int(hypervisor[1:])}"


def fabric_ip(hypervisor: str) -> str:
    """Return the address of ``hypervisor`` ("h1") on a vxlan fabric."""
    return f"10.254.0.{10 + int(hypervisor[1:])}"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge in a namespace; ``address`` is its own, with prefix length."""

    place: str
    name: str
    address: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth: an interface in a namespace, a port of ``bridge`` there, or with an ``address``."""

    place: str
    interface: str
    bridge: str | None = None
    address: str | None = None


Link = tuple[End, End]

BRIDGES = (
    Bridge(MANAGEMENT, "br0", f"{CONTROLLER_IP}/24"),
    Bridge(FABRIC, "br0"),
    Bridge(ROUTER, "pub", f"{GATEWAY_IP}/24", GATEWAY_MAC),
)


def links(hypervisors: Iterable[str]) -> list[Link]:
    """Return every veth of the lab."""
    found = [
        (End(ROUTER, "rtr0", address=f"{OUTSIDE_GATEWAY_IP}/24"), End(OUTSIDE, "out0", address=f"{OUTSIDE_IP}/24"))
    ]
    for host in hypervisors:
        found += [
            (End(MANAGEMENT, host, bridge="br0"), End(host, MANAGEMENT_PORT, address=f"{management_ip(host)}/24")),
            (End(FABRIC, host, bridge="br0"), End(host, FABRIC_PORT)),
            (End(ROUTER, host, bridge="pub"), End(host, UPLINK)),
        ]
    return found


def bring_up(place: str, ends: Iterable[End]) -> list[str]:
    """Return the ``ip`` commands that set up the namespace ``place``, whose interfaces are there already."""
    lines = ["link set lo up"]
    for bridge in BRIDGES:
        if bridge.place == place:
            lines += [f"address add {bridge.address} dev {bridge.name}"] if bridge.address else []
            lines.append(f"link set {bridge.name} up")
    for end in ends:
        if end.place == place:
            lines += [f"link set {end.interface} master {end.bridge}"] if end.bridge else []
            lines += [f"address add {end.address} dev {end.interface}"] if end.address else []
            lines.append(f"link set {end.interface} up")
    if place == OUTSIDE:
        lines.append(f"route add default via {OUTSIDE_GATEWAY_IP}")
    return lines
