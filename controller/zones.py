"""Which conntrack zone, that is which local port, a flow admits.  Pure."""

from __future__ import annotations

from flowrules import tables
from flowrules.actions import Load
from flowrules.decode import InstalledFlow
from flowrules.fields import IN_PORT, SOURCE_PORT
from flowrules.flow import Flow
from flowrules.oxm import canonical

_IN_PORT = IN_PORT.header.to_bytes(4, "big")


def admitted_zone(flow: Flow) -> int | None:
    """The conntrack zone of the port that this flow admits, if it admits one."""
    if flow.table != tables.CLASSIFY:
        return None
    loads = [action for action in flow.actions if isinstance(action, Load) and action.target == SOURCE_PORT]
    return loads[0].value if loads else None


def zone_of_installed(item: InstalledFlow) -> int | None:
    """The conntrack zone of the port that an installed flow admits; the zone of uplink and fabric is never used."""
    if item.table != tables.CLASSIFY:
        return None
    for entry in canonical(item.match_bytes):
        if entry.startswith(_IN_PORT):
            return int.from_bytes(entry[len(_IN_PORT) :], "big") & 0xFFFF
    return None
