"""Takes the demo's tour through a cloud on a Mininet topology: ``python -m topologies.mininet_tour TOPOLOGY``.

To be run in a room: ``python -m topologies.mininet_room python -m topologies.mininet_tour two_hypervisors``.  Prints
what was seen as JSON; exit status 0 only if all of it was as expected.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mininet.net import Mininet
from mininet.node import RemoteController

from topologies import cloud_file, command
from topologies.interrupts import Interrupts
from topologies.mininet_cloud import LOOPBACK, MininetCloud
from topologies.mininet_topo import HypervisorTopo
from topologies.single_hypervisor import single_hypervisor
from topologies.stage import Stage
from topologies.tour import STEPS, take
from topologies.two_hypervisors import two_hypervisors

PROG = "mininet_tour"
TOPOLOGIES: Mapping[str, Callable[[], HypervisorTopo]] = {
    "single_hypervisor": single_hypervisor,
    "two_hypervisors": two_hypervisors,
}


def main() -> int:
    """Take the tour and return the exit status."""
    parser = command.Parser(prog=PROG, description="Tour a small cloud on a Mininet topology.")
    parser.add_argument("topology", choices=sorted(TOPOLOGIES))
    topology = TOPOLOGIES[parser.parse_args().topology]()
    return command.run(PROG, lambda interrupts: _tour(topology, interrupts))


def _tour(topology: HypervisorTopo, interrupts: Interrupts) -> int:
    remote = RemoteController("c0", ip=LOOPBACK, port=cloud_file.OPENFLOW_PORT)
    net = Mininet(topo=topology, controller=lambda _name: remote, waitConnected=False)
    # What lies in the room's folder goes with the room, however this process ends.
    folder = tempfile.TemporaryDirectory(prefix=f"{PROG}-", dir=os.environ.get("OVS_RUNDIR"))
    with folder as state, MininetCloud(net, Path(state)) as cloud:
        reports = list(take(Stage(cloud, interrupts.check), lambda _name: None))
        status = cloud.status()
    good = len(reports) == len(STEPS) and all(report.as_expected for report in reports)
    document = {"as_expected": good, "steps": [report.document() for report in reports], "status": status}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
