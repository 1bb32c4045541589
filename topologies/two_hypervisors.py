"""Mininet topology: two hypervisors, a public network, a router and an outside host.

Shown in :mod:`topologies.mininet_topo`.  Where the system's Open vSwitch runs::

    mn --custom topologies/two_hypervisors.py --topo two_hypervisors --controller remote

and anywhere else with ``python -m topologies.mininet_room`` before it.  ``--topo two_hypervisors,instances=4`` makes
more hosts per hypervisor.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

if "topologies" not in sys.modules:
    # Mininet runs this file without saying where it is, and its interpreter knows nothing of this checkout.
    sys.path.insert(0, str(Path(inspect.getfile(lambda: None)).resolve().parents[1]))

from topologies.mininet_topo import HypervisorTopo


def two_hypervisors(instances: int = 2, **parameters: Any) -> HypervisorTopo:
    """Return the topology with ``instances`` hosts on each hypervisor."""
    return HypervisorTopo(hypervisors=2, instances=instances, **parameters)


topos = {"two_hypervisors": two_hypervisors}
