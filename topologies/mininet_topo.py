"""What the Mininet topologies are made of: each bridge is a hypervisor, Mininet's hosts are the instances.

```
   vm1  vm3     vm2  vm4
     |  |         |  |
      h1 --fabric-- h2          bridges of Open vSwitch, userspace datapath, fail_mode secure
       |            |
       +--- pub ----+--- rtr --- out        a plain bridge, the router, the outside host
```

Port 1 of a hypervisor is the uplink, port 2 the fabric; the ports of the instances follow.  Addresses outside are those
of the lab (:mod:`topologies.layout`).  An instance's host has no address until it is launched.
"""

from __future__ import annotations

import itertools
from typing import Any

from mininet.link import Link
from mininet.node import Host, OVSBridge, OVSSwitch
from mininet.topo import Topo

from topologies import layout

UPLINK_PORT = 1
FABRIC_PORT = 2
PUBLIC = "pub"
_QUIET = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1"


class SoftwareLink(Link):  # type: ignore[misc]
    """A veth whose ends write checksums themselves: a userspace switch would notice missing ones."""

    def __init__(self, *arguments: Any, **parameters: Any) -> None:
        super().__init__(*arguments, **parameters)
        for end in (self.intf1, self.intf2):
            end.node.cmd("ethtool", "-K", end.name, "tx", "off")


class Instance(Host):  # type: ignore[misc]
    """A host that can become an instance."""

    def config(self, **parameters: Any) -> Any:
        """Configure as Mininet does, and be quiet."""
        self.cmd(_QUIET)
        return super().config(**parameters)


class Router(Instance):
    """Forwards between the public network and the outside host."""

    def config(self, **parameters: Any) -> Any:
        """Configure as Mininet does, and forward."""
        settings = " ".join(f"{key.replace('/', '.')}={value}" for key, value in layout.ROUTER_SYSCTLS.items())
        self.cmd(f"sysctl -qw {settings}")
        return super().config(**parameters)


class HypervisorTopo(Topo):  # type: ignore[misc]
    """``hypervisors`` bridges with ``instances`` hosts on each."""

    def build(self, hypervisors: int = 1, instances: int = 2) -> None:
        """Add everything."""
        public = self.addSwitch(PUBLIC, cls=OVSBridge, datapath="user", dpid=f"{0xFFFF:016x}")
        self._add_outside(public)
        names = layout.hypervisor_names(hypervisors)
        for number, name in enumerate(names, start=1):
            bridge = {"datapath": "user", "failMode": "secure", "protocols": "OpenFlow13", "dpid": f"{number:016x}"}
            self.addSwitch(name, cls=OVSSwitch, **bridge)
            self.addLink(name, public, cls=SoftwareLink, port1=UPLINK_PORT)
        for one, other in itertools.pairwise(names):
            self.addLink(one, other, cls=SoftwareLink, port1=FABRIC_PORT, port2=FABRIC_PORT)
        for number in range(hypervisors * instances):
            host = self.addHost(f"vm{number + 1}", cls=Instance, ip=None)
            hypervisor = names[number % hypervisors]
            self.addLink(host, hypervisor, cls=SoftwareLink, port1=0, port2=FABRIC_PORT + 1 + number // hypervisors)

    def _add_outside(self, public: str) -> None:
        address = f"{layout.GATEWAY_IP}/24"
        router = self.addHost(layout.ROUTER, cls=Router, ip=address, mac=layout.GATEWAY_MAC)
        gateway = f"via {layout.OUTSIDE_GATEWAY_IP}"
        outside = self.addHost(layout.OUTSIDE, cls=Instance, ip=f"{layout.OUTSIDE_IP}/24", defaultRoute=gateway)
        self.addLink(router, public, cls=SoftwareLink, port1=0)
        inner = {"ip": f"{layout.OUTSIDE_GATEWAY_IP}/24"}
        self.addLink(router, outside, cls=SoftwareLink, port1=1, port2=0, params1=inner)
