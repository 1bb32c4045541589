"""Which local ports may have connections that a change of the rules stops, or lets go on.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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


def every_port(ports: Iterable[Port]) -> Concerned:
    """All ports: nobody knows what has changed."""
    return Concerned(frozenset(port.ofport for port in ports))


def concerned(changes: Changes, ports: Collection[Port], groups: Collection[Group]) -> Concerned:
    """The ports that ``changes`` (old and new intent by name) concern, of the bridge's present ones."""
    less: set[int] = set()
    more: set[int] = set()
    lost: set[tuple[RemoteSet, Direction]] = set()
    won: set[tuple[RemoteSet, Direction]] = set()
    less_of: set[int] = set()
    more_of: set[int] = set()
    for old, new in changes.values():
        if isinstance(old, Port) and isinstance(new, Port):
            if _sources(old) - _sources(new):
                less.add(new.ofport)
            if _sources(new) - _sources(old):
                more.add(new.ofport)
        for one, other, numbers, members in ((old, new, less_of, lost), (new, old, more_of, won)):
            if isinstance(one, Group) and one.rules - (other.rules if isinstance(other, Group) else frozenset()):
                numbers.add(one.number)
            if isinstance(one, Member) and not isinstance(one.remote, Prefix) and one != other:
                members.add((one.remote, one.direction))
    if not (less_of or more_of or lost or won):
        return Concerned(frozenset(less), frozenset(more))
    less_of |= _referring(lost, groups)
    more_of |= _referring(won, groups)
    return Concerned(frozenset(less | set(_ports_of(less_of, ports))), frozenset(more | set(_ports_of(more_of, ports))))


def _sources(port: Port) -> set[object]:
    """What gives a port's connections their permission: its groups, and the addresses that make them its own."""
    return {
        *(("group", number) for number in port.groups),
        *(("address", address) for address in (*port.addresses, *port.ipv6)),
    }


def _referring(members: set[tuple[RemoteSet, Direction]], groups: Iterable[Group]) -> set[int]:
    if not members:
        return set()
    return {group.number for group in groups if any((rule.remote, group.direction) in members for rule in group.rules)}


def _ports_of(groups: set[int], ports: Iterable[Port]) -> Iterator[int]:
    for port in ports:
        if groups.intersection(port.groups):
            yield port.ofport
