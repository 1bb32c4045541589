"""Do the rules allow a connection?  Written apart from the cells that the compiler makes of the same rules.

A connection is judged as its first packet would be: by the egress rules of the port that opened it, or by the ingress
rules of the port that it was opened to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flowrules.fields import IpProtocol
from flowrules.intent import Direction, Group, Member, Port, Prefix, RemoteSet, Rule

_WITH_PORTS = frozenset({IpProtocol.TCP, IpProtocol.UDP})


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """The original direction of a connection; ``version`` is that of IP, 4 or 6.

    ``first`` and ``second`` are source and destination port, for ICMP type and code, else 0; ``identifier`` is the one
    of an ICMP query.
    """

    protocol: int
    source: int
    destination: int
    first: int = 0
    second: int = 0
    identifier: int = 0
    version: int = 4


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of groups by number and direction, and who belongs to the remote sets that they refer to."""

    rules: Mapping[tuple[int, Direction], frozenset[Rule]] = field(default_factory=dict)
    members: Mapping[tuple[RemoteSet, Direction], frozenset[Prefix]] = field(default_factory=dict)

    def allows(self, port: Port, connection: Connection) -> bool:
        """Does a rule of a group of ``port`` allow this connection?  One that is not of the port's has no rule."""
        return any(
            self._in(rule.remote, direction, remote, connection.version) and _covers(rule, connection)
            for direction, remote in _sides(port, connection)
            for group in port.groups
            for rule in self.rules.get((group, direction), ())
        )

    def _in(self, remote_set: RemoteSet, direction: Direction, address: int, version: int) -> bool:
        if isinstance(remote_set, Prefix):
            return _holds(remote_set, address, version)
        return any(_holds(prefix, address, version) for prefix in self.members.get((remote_set, direction), ()))


def policy(groups: Iterable[Group], members: Iterable[Member]) -> Policy:
    """The policy that these intents make."""
    sets: dict[tuple[RemoteSet, Direction], set[Prefix]] = {}
    for member in members:
        if not isinstance(member.remote, Prefix):
            sets.setdefault((member.remote, member.direction), set()).add(member.prefix)
    return Policy(
        {(group.number, group.direction): group.rules for group in groups},
        {key: frozenset(prefixes) for key, prefixes in sets.items()},
    )


def _sides(port: Port, connection: Connection) -> Iterable[tuple[Direction, int]]:
    own = port.addresses if connection.version == 4 else port.ipv6
    if connection.source in own:
        yield Direction.EGRESS, connection.destination
    if connection.destination in own:
        yield Direction.INGRESS, connection.source


def _holds(prefix: Prefix, address: int, version: int) -> bool:
    return prefix.version == version and address & prefix.mask == prefix.address


def _covers(rule: Rule, connection: Connection) -> bool:
    if rule.protocol not in (IpProtocol.ANY, connection.protocol):
        return False
    if rule.protocol in _WITH_PORTS:
        return rule.first is None or rule.last is None or rule.first <= connection.second <= rule.last
    if rule.protocol in (IpProtocol.ICMP, IpProtocol.ICMPV6):
        return rule.first in (None, -1, connection.first) and rule.last in (None, -1, connection.second)
    return True
