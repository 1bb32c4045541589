"""Security group rules as disjoint cells.

A cell is a protocol with a block of ports (or an ICMP type and code) and carries the union of the remote sets of all
rules that cover it.  Of the cells that match a packet exactly one has the highest priority, and it says everything, so
no order of rules can matter and no two flows compete.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from flowrules.fields import IpProtocol
from flowrules.intent import ANYWHERE, ANYWHERE_IPV6, RemoteSet, Rule

Remotes = frozenset[RemoteSet]

_ALL_PORTS = (0, 0xFFFF)
_WITH_PORTS = (IpProtocol.TCP, IpProtocol.UDP)
_WITH_TYPES = (IpProtocol.ICMP, IpProtocol.ICMPV6)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """What a rule flow matches.

    ``protocol`` -1 = any.  For TCP and UDP ``first`` and ``second`` are port value and mask, for ICMP and ICMPv6
    type and code;
    None = not tested.
    """

    protocol: int
    first: int | None = None
    second: int | None = None

    @property
    def specificity(self) -> int:
        """The more a cell tests, the higher: 0 any, 1 protocol, 2 ICMP type, 3 port block or ICMP type and code."""
        if self.protocol == IpProtocol.ANY:
            return 0
        if self.first is None:
            return 1
        return 2 if self.second is None else 3


def cells(rules: Iterable[Rule]) -> dict[Cell, Remotes]:
    """The cells of a set of rules of one IP version with the remote sets each one admits; a cell that says no more
    than a wider one is left out.
    """
    by_protocol: dict[int, list[Rule]] = {}
    for rule in rules:
        by_protocol.setdefault(rule.protocol, []).append(rule)
    anything = _union(by_protocol.pop(IpProtocol.ANY, ()))
    result: dict[Cell, Remotes] = {Cell(IpProtocol.ANY): anything} if anything else {}
    for protocol, members in by_protocol.items():
        whole = _union((rule for rule in members if _covers_protocol(rule)), anything)
        if whole != anything:
            result[Cell(protocol)] = whole
        if protocol in _WITH_PORTS:
            result.update(_port_cells(protocol, members, whole))
        elif protocol in _WITH_TYPES:
            result.update(_icmp_cells(protocol, members, whole))
    return result


def port_blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest (value, mask) blocks that cover the ports ``first`` to ``last`` inclusive."""
    while first <= last:
        size = first & -first or 0x10000
        while first + size - 1 > last:
            size >>= 1
        yield first, 0xFFFF & ~(size - 1)
        first += size


def _union(rules: Iterable[Rule], base: Remotes = frozenset()) -> Remotes:
    return _all_of(base | {rule.remote for rule in rules})


def _all_of(remotes: Set[RemoteSet]) -> Remotes:
    """What they are together: with "anyone" among them nothing else matters."""
    for anywhere in (ANYWHERE, ANYWHERE_IPV6):
        if anywhere in remotes:
            return frozenset({anywhere})
    return frozenset(remotes)


def _covers_protocol(rule: Rule) -> bool:
    if rule.first is None:
        return True
    if rule.protocol in _WITH_TYPES:
        return rule.first == -1
    return rule.protocol not in _WITH_PORTS or (rule.first, rule.last) == _ALL_PORTS


def _port_cells(protocol: int, rules: list[Rule], whole: Remotes) -> Iterator[tuple[Cell, Remotes]]:
    for start, end, remotes in _segments(rules, whole):
        for value, mask in port_blocks(start, end - 1):
            yield Cell(protocol, value, mask), remotes


def _segments(rules: list[Rule], whole: Remotes) -> Iterator[tuple[int, int, Remotes]]:
    """Ports from ... to before ..., with their remotes, wherever those are not just ``whole``; neighbours differ.

    Goes from edge to edge once and counts the rules that begin and end there, by remote.
    """
    steps: defaultdict[int, list[tuple[RemoteSet, int]]] = defaultdict(list)
    for rule in rules:
        if rule.first is not None and rule.last is not None and rule.first <= rule.last:
            steps[rule.first].append((rule.remote, 1))
            steps[rule.last + 1].append((rule.remote, -1))
    covering: Counter[RemoteSet] = Counter()
    begin, remotes = 0, whole
    for edge in sorted(steps):
        for remote, step in steps[edge]:
            covering[remote] += step
            if not covering[remote]:
                del covering[remote]
        here = _all_of(covering.keys() | whole)
        if here != remotes:
            if remotes != whole:
                yield begin, edge, remotes
            begin, remotes = edge, here


def _icmp_cells(protocol: int, rules: list[Rule], whole: Remotes) -> Iterator[tuple[Cell, Remotes]]:
    for kind in sorted({rule.first for rule in rules if rule.first is not None and rule.first >= 0}):
        of_kind = [rule for rule in rules if rule.first == kind]
        any_code = _union((rule for rule in of_kind if rule.last == -1), whole)
        if any_code != whole:
            yield Cell(protocol, kind), any_code
        for code in sorted({rule.last for rule in of_kind if rule.last is not None and rule.last >= 0}):
            remotes = _union((rule for rule in of_kind if rule.last == code), any_code)
            if remotes != any_code:
                yield Cell(protocol, kind, code), remotes
