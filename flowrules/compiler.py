"""From intent to flows: a total, pure function per object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flowrules.compile_destinations import compile_destinations
from flowrules.compile_group import compile_group, compile_member
from flowrules.compile_host import compile_bridge, compile_gateway, compile_ipv6_bridge, compile_network, compile_peer
from flowrules.compile_metadata import compile_metadata, compile_metadata_client
from flowrules.compile_port import compile_elastic_ip, compile_neighbour, compile_port
from flowrules.flow import Flow, Key
from flowrules.intent import (
    Bridge,
    Destinations,
    ElasticIp,
    Gateway,
    Group,
    Intent,
    Ipv6Bridge,
    Local,
    Member,
    Metadata,
    MetadataClient,
    Neighbour,
    Network,
    Peer,
    Port,
)

Fragment = tuple[Flow, ...]

_COMPILERS: dict[type, Callable[[Any], Fragment]] = {
    Bridge: compile_bridge,
    Destinations: compile_destinations,
    Ipv6Bridge: compile_ipv6_bridge,
    Peer: compile_peer,
    Port: compile_port,
    Neighbour: compile_neighbour,
    Network: compile_network,
    Gateway: compile_gateway,
    Group: compile_group,
    Member: compile_member,
    ElasticIp: compile_elastic_ip,
    Metadata: compile_metadata,
    MetadataClient: compile_metadata_client,
}
_OF_ONE_PORT = (Port, ElasticIp, MetadataClient)


def compile_intent(intent: Intent) -> Fragment:
    """The fragment of one object.

    What several bridges may know is remembered by its value: 500 of them that share a group compile it once and share
    its flows.  What is of one port is of one bridge.
    """
    if isinstance(intent, _OF_ONE_PORT) or (isinstance(intent, Neighbour) and isinstance(intent.via, Local)):
        return _COMPILERS[type(intent)](intent)
    fragment = _REMEMBERED.get(intent)
    if fragment is None:
        if len(_REMEMBERED) >= _MOST_REMEMBERED:
            _REMEMBERED.clear()
        fragment = _REMEMBERED[intent] = _COMPILERS[type(intent)](intent)
    return fragment


#: A plain mapping: one that knows what was used last takes three times the memory, and nothing depends on it.
_REMEMBERED: dict[Intent, Fragment] = {}
_MOST_REMEMBERED = 1 << 16


class ConflictError(ValueError):
    """Two objects claim the same flow (table, priority, match) with different actions."""


def compile_all(intents: Iterable[Intent]) -> dict[Key, Flow]:
    """The desired flows of a bridge from scratch, by key; raises :class:`ConflictError`."""
    flows: dict[Key, Flow] = {}
    for intent in intents:
        for flow in compile_intent(intent):
            known = flows.setdefault(flow.key, flow)
            if known != flow:
                raise ConflictError(f"table {flow.table}: {known.actions} and {flow.actions} on one match")
    return flows
