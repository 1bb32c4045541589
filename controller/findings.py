"""What the audit says: intent, desired, acknowledged and live state compared, from values to findings.  Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.bindings import HostPorts
from controller.index import Index
from controller.keys import Key
from controller.words import interface_words, key_objects, key_words
from flowrules.addresses import mac_to_int, mac_to_text
from flowrules.diff import Key as FlowKey
from flowrules.live import Change, FlowDifference, live_text
from flowrules.tables import TABLES
from flowrules.text import match_text

_ZONE = re.compile(r"\bzone=(\d+)")
_SETTING = re.compile(r"(?P<what>bridge .*); to mend(?P<note>[^:]*): (?P<command>.*)")


class Kind(StrEnum):
    """What differs."""

    MISSING = "missing flow"
    ALTERED = "altered flow"
    EXTRA = "extra flow"
    FOREIGN = "foreign flow"
    WRONG_OFPORT = "wrong ofport"
    WRONG_MAC = "wrong MAC"
    WRONG_HOST = "wrong host"
    PLUGGED_TWICE = "plugged twice"
    NO_PORT = "interface without port"
    NO_INTERFACE = "port without interface"
    STALE_CONNTRACK = "stale conntrack"
    TWO_OWNERS = "two owners"
    BRIDGE_SETTING = "bridge setting"
    PORT_PROBLEM = "port problem"
    NOT_CONNECTED = "not connected"
    NOT_EXAMINED = "not examined"
    NOT_COMPILED = "not compiled"
    ACKNOWLEDGED = "acknowledged state"
    DESIRED = "desired state"


#: What ``--repair`` heals; foreign flows only when asked for by name.
HEALED = frozenset({Kind.MISSING, Kind.ALTERED, Kind.EXTRA, Kind.STALE_CONNTRACK, Kind.ACKNOWLEDGED})
#: What comes and goes by itself when instances start, move and end; the periodic audit looks twice before it speaks.
PASSING = frozenset(
    {Kind.NO_PORT, Kind.NO_INTERFACE, Kind.PLUGGED_TWICE, Kind.WRONG_HOST, Kind.STALE_CONNTRACK, Kind.TWO_OWNERS}
)
#: What the status tells by itself.
TOLD = frozenset({Kind.NOT_CONNECTED, Kind.NOT_EXAMINED, Kind.NOT_COMPILED, Kind.BRIDGE_SETTING, Kind.PORT_PROBLEM})


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: where, what, the likely cause and the mend, each in words; ``objects`` are ids."""

    host: str
    kind: Kind
    what: str
    cause: str
    mend: str
    objects: tuple[str, ...] = ()


@dataclass(slots=True)
class HostView:
    """One host as it was looked at; None = could not be seen."""

    name: str
    ports: HostPorts | None = None
    agent: bool = False
    switch: bool = False
    differences: list[FlowDifference] = field(default_factory=list)
    owners: Mapping[FlowKey, Key] = field(default_factory=dict)
    live_ports: Mapping[str, int] | None = None
    zones: Mapping[int, int] | None = None
    answers: frozenset[str] = frozenset()
    unseen: list[str] = field(default_factory=list)
    uncompiled: list[str] = field(default_factory=list)
    unacknowledged: int = 0
    undesired: int = 0


def zones_of(conntrack: str) -> dict[int, int]:
    """Entries per conntrack zone in the text of ``dpctl/dump-conntrack``; zone 0 is not written there."""
    return dict(Counter(int(number) for number in _ZONE.findall(conntrack)))


def find(index: Index, views: Iterable[HostView]) -> list[Finding]:
    """All findings, host by host, each difference once."""
    seen = list(views)
    found: list[Finding] = []
    for view in seen:
        found += [*_reach(view), *_flows(index, view), *_state(view), *_ports(index, view), *_zones(view)]
    return [*found, *_interfaces(index, {view.name for view in seen if view.ports is not None}), *_owners(seen)]


def stale_zones(view: HostView) -> list[int]:
    """Conntrack zones with connections whose port is gone."""
    if view.zones is None or view.ports is None:
        return []
    used = {binding.ofport & 0xFFFF for binding in view.ports.interfaces.values()}
    return sorted(zone for zone in view.zones if zone and zone not in used)


def _reach(view: HostView) -> Iterator[Finding]:
    if not view.switch:
        yield Finding(
            view.name,
            Kind.NOT_CONNECTED,
            "its switch has no OpenFlow connection to the controller",
            "the host is down, ovs-vswitchd or ovsdb-server is not running, or the network between is cut",
            "start ovs-vswitchd there; the flows are compared again by themselves when it connects",
        )
    if not view.agent:
        yield Finding(
            view.name,
            Kind.NOT_CONNECTED,
            "its agent is not connected",
            "the agent ended or cannot reach the controller",
            f"start it there: python -m agents --host {view.name} ...",
        )
    for reason in view.unseen:
        yield Finding(view.name, Kind.NOT_EXAMINED, reason, "see the reason", "run the audit again")


_FLOW_WORDS = {
    Change.MISSING: ("somebody deleted it on the switch", "sluice audit --repair sends it again"),
    Change.EXTRA: (
        "somebody added a copy with our mark, or a deletion was lost",
        "sluice audit --repair deletes it",
    ),
    Change.FOREIGN: (
        "somebody or another program added it by hand; it can let packets past the rules",
        "delete it: sluice audit --repair --foreign",
    ),
}
_ALTERED_WORDS = {
    "actions": "somebody changed its actions (ovs-ofctl mod-flows)",
    "cookie": "somebody put another flow in its place (ovs-ofctl add-flow)",
    "timeouts": "somebody added it again with a timeout: it would vanish by itself",
    "flags": "somebody added it again with other flags",
}


def _flows(index: Index, view: HostView) -> Iterator[Finding]:
    for one in view.differences:
        if one.wanted is not None:
            owner = view.owners.get(one.wanted.key)
            table, words = one.wanted.table, match_text(one.wanted.matches) or "everything"
            about = f" of {key_words(index, owner)}"
            place = f"priority {one.wanted.priority}, {words}"
        elif one.live is not None:
            owner, table, about, place = None, one.live.table, "", f"{live_text(one.live)}, cookie {one.live.cookie:#x}"
        else:
            continue
        name = TABLES[table].name if table in TABLES else "a table that we do not use"
        cause, mend = _FLOW_WORDS.get(one.change, ("", "sluice audit --repair puts ours back"))
        if one.change is Change.ALTERED:
            differs = ", ".join(one.parts)
            cause = "; ".join(_ALTERED_WORDS[part] for part in one.parts[:1])
            place = f"{differs} of {place}"
        yield Finding(
            view.name,
            Kind(one.change.value),
            f"table {table} {name}{about}: {place}",
            cause,
            mend,
            key_objects(owner),
        )


def _state(view: HostView) -> Iterator[Finding]:
    if view.unacknowledged:
        yield Finding(
            view.name,
            Kind.ACKNOWLEDGED,
            f"{view.unacknowledged} flows differ between what is desired and what the controller takes for installed",
            "a fault of the controller: please report it",
            "sluice audit --repair reads the switch again",
        )
    if view.undesired:
        yield Finding(
            view.name,
            Kind.DESIRED,
            f"{view.undesired} desired flows are not what the store's objects compile to",
            "a fault of the controller: please report it",
            "restart the controller: it builds everything again from the store",
        )
    for text in view.uncompiled:
        yield Finding(
            view.name, Kind.NOT_COMPILED, text, "an object that the data plane cannot express", "change the object"
        )


def _ports(index: Index, view: HostView) -> Iterator[Finding]:
    if view.ports is None:
        return
    for text in view.ports.problems:
        setting = _SETTING.match(text)
        if setting:
            note = setting["note"].strip(" ,")
            mend = setting["command"] + (f" ({note.removeprefix('which ')})" if note else "")
            yield Finding(view.name, Kind.BRIDGE_SETTING, setting["what"], "somebody changed the bridge", mend)
        else:
            yield Finding(
                view.name, Kind.PORT_PROBLEM, text, "the agent reports it", "plug the port in as the text says"
            )
    for interface, binding in sorted(view.ports.interfaces.items()):
        record, words = index.interfaces.get(interface), interface_words(index, interface)
        port = f"port {binding.name or binding.ofport}"
        if record is None:
            yield Finding(
                view.name,
                Kind.NO_INTERFACE,
                f"{port} says it is {interface}, which the store does not know",
                "an instance that ended without its port being removed, or a database older than the host",
                f"ovs-vsctl del-port {binding.name or '...'}",
                (interface,),
            )
        elif mac_to_int(record.mac) != binding.mac:
            yield Finding(
                view.name,
                Kind.WRONG_MAC,
                f"{port} of {words} has MAC {mac_to_text(binding.mac)}, the store says {record.mac}; it is left dark",
                "somebody changed external_ids:attached-mac, or the port is another instance's",
                f"ovs-vsctl set interface {binding.name or '...'} external_ids:attached-mac='\"{record.mac}\"'",
                (interface,),
            )
        real = view.live_ports.get(binding.name) if view.live_ports is not None and binding.name else binding.ofport
        if real != binding.ofport:
            state = "has no such port" if real is None else f"has it as port {real}"
            yield Finding(
                view.name,
                Kind.WRONG_OFPORT,
                f"{port} of {words} should be port {binding.ofport}, the switch {state}",
                "it was renumbered or plugged in again and the agent has not said so",
                "restart the agent of this host; the flows follow by themselves",
                (interface,),
            )


def _zones(view: HostView) -> Iterator[Finding]:
    for zone in stale_zones(view):
        count = (view.zones or {})[zone]
        yield Finding(
            view.name,
            Kind.STALE_CONNTRACK,
            f"{count} connections in conntrack zone {zone}, and no port {zone} is plugged in",
            "the port went while its zone could not be flushed; its next user would inherit the connections",
            "sluice audit --repair flushes the zone",
        )


def _interfaces(index: Index, hosts: set[str]) -> Iterator[Finding]:
    for interface, record in sorted(index.interfaces.items()):
        plugged = sorted(index.plugged.get(interface, ()))
        words, meant = interface_words(index, interface), record.host
        if not plugged and meant in hosts:
            yield Finding(
                str(meant),
                Kind.NO_PORT,
                f"{words} has no port",
                "its instance is just starting, or its port was removed or lost its external_ids:iface-id",
                "look at the instance on that host; put the iface-id back or start the instance again",
                (interface,),
            )
        if meant is not None and plugged and meant not in plugged and plugged[0] in hosts:
            yield Finding(
                plugged[0],
                Kind.WRONG_HOST,
                f"{words} is plugged in here, the store says {meant}",
                "a move that did not end, or the port was made by hand",
                f"remove the port here, or move the instance to {plugged[0]}",
                (interface,),
            )
        if len(plugged) > 1 and plugged[0] in hosts:
            yield Finding(
                plugged[0],
                Kind.PLUGGED_TWICE,
                f"{words} is plugged in on {' and '.join(plugged)}; only one of them is served",
                "a live migration under way, or a port left behind by one",
                "remove the port on the host that the instance has left",
                (interface,),
            )


def _owners(views: Iterable[HostView]) -> Iterator[Finding]:
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for view in views:
        for address in view.answers:
            holders[address].append(view.name)
    for address, hosts in sorted(holders.items()):
        if len(hosts) > 1:
            yield Finding(
                hosts[0],
                Kind.TWO_OWNERS,
                f"{' and '.join(hosts)} both answer ARP for elastic IP {address}",
                "flows added by hand, or a host that came back with the flows of yesterday",
                "sluice audit --repair --foreign",
                (address,),
            )
