"""What the audit wants healed on one bridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eventlet.event import Event

from flowrules.decode import InstalledFlow
from flowrules.diff import Key as FlowKey
from flowrules.diff import as_installed, encode_delete
from flowrules.encode import flow_add
from flowrules.flow import Flow
from flowrules.oxm import canonical
from flowrules.tables import CLASSIFY


@dataclass(slots=True, eq=False)
class Mending:
    """Flows of ours to send again, flows of the switch to delete, conntrack zones to flush; ``done`` tells when."""

    keys: frozenset[FlowKey] = frozenset()
    strays: tuple[InstalledFlow, ...] = ()
    zones: tuple[int, ...] = ()
    done: Event = field(default_factory=Event)


def flow_mods(mending: Mending, installed: Mapping[FlowKey, Flow]) -> tuple[list[bytes], list[bytes]]:
    """Deletes and adds that heal, as far as still right: only what is to be installed is sent again, and nothing in the
    place of such a flow is deleted.
    """
    adds = sorted((installed[key] for key in mending.keys if key in installed), key=lambda one: one.table == CLASSIFY)
    tables = {item.table for item in mending.strays}
    taken = {_slot(as_installed(one)) for one in installed.values() if one.table in tables}
    deletes = [item for item in mending.strays if _slot(item) not in taken]
    return [encode_delete(item) for item in deletes], [flow_add(one) for one in adds]


def _slot(item: InstalledFlow) -> tuple[int, int, tuple[bytes, ...]]:
    return (item.table, item.priority, canonical(item.match_bytes))
