"""Which local ports may have connections that a change of the rules stops, or lets go on.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.keys import Key
from flowrules.intent import Direction, Group, Intent, Member, Port, Prefix, RemoteSet

Changes = Mapping[Key, tuple[Intent | None, Intent | None]]


@dataclass(frozen=True, slots=True)
class Concerned:
    """ofports: to ``narrowed`` ones something has been forbidden, to ``widened`` ones something has been allowed."""

    narrowed: frozenset[int] = frozenset()
    widened: frozenset[int] = frozenset()

    def __or__(self, other: Concerned) -> Concerned:
        """Both changes."""
        return Concerned(self.narrowed | other.narrowed, self.widened | other.widened)


def every_port(present: Iterable[Intent]) -> Concerned:
    """All ports: nobody knows what has changed."""
    return Concerned(frozenset(intent.ofport for intent in present if isinstance(intent, Port)))


def concerned(changes: Changes, present: Iterable[Intent]) -> Concerned:
    """The ports that ``changes`` (old and new intent by name) concern; ``present`` are all intents of the bridge."""
    less: set[int] = set()
    more: set[int] = set()
    lost: set[tuple[RemoteSet, Direction]] = set()
    won: set[tuple[RemoteSet, Direction]] = set()
    groups_less: set[int] = set()
    groups_more: set[int] = set()
    for old, new in changes.values():
        if isinstance(old, Port) and isinstance(new, Port):
            if _sources(old) - _sources(new):
                less.add(new.ofport)
            if _sources(new) - _sources(old):
                more.add(new.ofport)
        for one, other, groups, members in ((old, new, groups_less, lost), (new, old, groups_more, won)):
            if isinstance(one, Group) and one.rules - (other.rules if isinstance(other, Group) else frozenset()):
                groups.add(one.number)
            if isinstance(one, Member) and not isinstance(one.remote, Prefix) and one != other:
                members.add((one.remote, one.direction))
    if not (groups_less or groups_more or lost or won):
        return Concerned(frozenset(less), frozenset(more))
    intents = list(present)
    groups_less |= _referring(lost, intents)
    groups_more |= _referring(won, intents)
    return Concerned(
        frozenset(less | set(_ports_of(groups_less, intents))), frozenset(more | set(_ports_of(groups_more, intents)))
    )


def _sources(port: Port) -> set[object]:
    """What gives a port's connections their permission: its groups, and the addresses that make them its own."""
    return {
        *(("group", number) for number in port.groups),
        *(("address", address) for address in (*port.addresses, *port.ipv6)),
    }


def _referring(members: set[tuple[RemoteSet, Direction]], intents: Iterable[Intent]) -> set[int]:
    return {
        intent.number
        for intent in intents
        if isinstance(intent, Group) and any((rule.remote, intent.direction) in members for rule in intent.rules)
    }


def _ports_of(groups: set[int], intents: Iterable[Intent]) -> Iterator[int]:
    for intent in intents:
        if isinstance(intent, Port) and groups.intersection(intent.groups):
            yield intent.ofport
