"""What is there of a cloud's instances, looked for where it is and not where Sluice says it should be."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from sqlalchemy import Connection, func, select

from econe_api.compute import netns
from econe_api.compute.namespaces import GUEST
from econe_api.config import Config
from econe_api.store.engine import make_engine
from econe_api.store.schema import (
    addresses,
    instances,
    interfaces,
    ipv6_addresses,
    metadata,
    secondary_addresses,
)
from sluice.commands import cli
from topologies.cloud import Cloud
from topologies.ovs import OpenVSwitch

_BRIDGE = "br-int"
_DATAPATH = "netdev@ovs-netdev"
_LEDGERS = frozenset(
    {
        "address_history",
        "audit",
        "audit_floor",
        "changes",
        "client_tokens",
        "counters",
        "flow_counters",
        "instances",
        "usage",
    }
)
"""Tables that grow by what has been, and whose rows are right to stay; living instances are counted by themselves."""
PATIENCE = 30.0

Found = dict[str, Counter[str]]
"""By kind: what there is of it, with how often."""


def look(cloud: Cloud) -> Found:
    """Return all that instances may leave behind."""
    found: Found = {"processes": _processes(cloud), "namespaces": _namespaces(cloud), **rows(cloud.config)}
    for host, switch in cloud.lab.hypervisors.items():
        for kind, names in _on(switch).items():
            found.setdefault(kind, Counter()).update(f"{host} {name}" for name in names)
    return found


def settle(cloud: Cloud, before: Found, seconds: float = PATIENCE) -> dict[str, list[str]]:
    """Return what is there that was not there ``before``, by kind; waits up to ``seconds`` for it to go.

    The last kind is what ``sluice audit`` finds.
    """
    left = until_gone(lambda: look(cloud), before, seconds)
    return {**left, "sluice audit": audit(cloud.config_file)}


def until_gone(find: Callable[[], Found], before: Found, seconds: float = PATIENCE) -> dict[str, list[str]]:
    """Return what ``find`` finds that was not there ``before``, by kind; waits up to ``seconds`` for it to go."""
    deadline = time.monotonic() + seconds
    while True:
        left = {kind: sorted((names - before.get(kind, Counter())).elements()) for kind, names in find().items()}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def _namespaces(cloud: Cloud) -> Counter[str]:
    return Counter(netns.namespaces(f"{cloud.plan.name}-i-"))


def _processes(cloud: Cloud) -> Counter[str]:
    """Servers of this cloud's instances: they write to its consoles."""
    consoles = f"{cloud.plan.state.absolute()}/"
    found: Counter[str] = Counter()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str(GUEST).encode() not in (entry / "cmdline").read_bytes():
                continue
            if str((entry / "fd/1").readlink()).startswith(f"{consoles}consoles/"):
                found[entry.name] += 1
        except OSError:
            continue
    return found


def rows(config: Config) -> Found:
    """What the database holds."""
    engine = make_engine(config.database)
    try:
        with engine.connect() as connection:
            counted = {
                table.name: connection.scalar(select(func.count()).select_from(table)) or 0
                for table in metadata.sorted_tables
                if table.name not in _LEDGERS
            }
            living = select(instances.c.id).where(instances.c.state != "terminated")
            held = select(addresses.c.public_ip).where(addresses.c.association.is_not(None))
            return {
                "rows": Counter(counted),
                "rows of living instances": Counter(connection.scalars(living)),
                "leases of private addresses": _leases(connection),
                "associated elastic IPs": Counter(connection.scalars(held)),
            }
    finally:
        engine.dispose()


def _leases(connection: Connection) -> Counter[str]:
    """Addresses of VPCs that are taken."""
    found: Counter[str] = Counter(connection.scalars(select(interfaces.c.private_ip)))
    for table in (secondary_addresses, ipv6_addresses):
        found.update(connection.scalars(select(table.c.address)))
    return found


def _on(switch: OpenVSwitch) -> dict[str, list[str]]:
    flows = switch.ofctl("--no-stats", "dump-flows", _BRIDGE)
    meters = switch.ofctl("dump-meters", _BRIDGE)
    connections = switch.unixctl("dpctl/dump-conntrack", _DATAPATH)
    limits = switch.unixctl("dpctl/ct-get-limits", _DATAPATH)
    links = netns.run(["ip", "-n", switch.netns, "-br", "link", "show", "type", "veth"])
    return {
        "ports": switch.vsctl("list-ports", _BRIDGE).split(),
        "flows": re.findall(r"cookie=(0x[0-9a-f]+)", flows),
        "meters": re.findall(r"meter=(\d+)", meters),
        "conntrack zones": sorted(set(re.findall(r"zone=(\d+)", connections))),
        "conntrack limits": re.findall(r"zone=(\d+)", limits),
        "veths": [line.split("@")[0].split()[0] for line in links.splitlines()],
    }


def audit(config_file: Path) -> list[str]:
    """What ``sluice audit`` finds."""
    done = CliRunner().invoke(cli, ["--config", str(config_file), "audit", "--json"])
    if done.exit_code not in (0, 2):
        return [f"no audit could be made: {done.output.strip()}"]
    return [f"{one['host']}: {one['kind']} {one['what']}" for one in json.loads(done.stdout)["remaining"]]
