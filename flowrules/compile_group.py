"""Fragments of security groups and of the remote sets that their rules refer to."""

from __future__ import annotations

from hashlib import blake2b

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Action, Load, Resubmit
from flowrules.cells import Cell, Remotes, cells
from flowrules.fields import EtherType, Field, IpProtocol
from flowrules.flow import Flow, Match, flow, match
from flowrules.intent import (
    ANYWHERE,
    ANYWHERE_IPV6,
    Direction,
    Group,
    GroupMembers,
    Member,
    PrefixList,
    RemoteSet,
    Rule,
)
from flowrules.template import Declaration, template

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_IPV6 = match(f.ETH_TYPE, EtherType.IPV6)
_GROUP_KIND = 0
_PREFIX_KIND = 1
_IPV6_KIND = 2
_LIST_KIND = 3
_IPV6_HASH_BITS = 60
_WHOLE = {4: 32, 6: 128}
_PORT_FIELDS = {IpProtocol.TCP: f.TCP_DST, IpProtocol.UDP: f.UDP_DST}
_TYPE_FIELDS = {
    IpProtocol.ICMP: (f.ICMP_TYPE, f.ICMP_CODE),
    IpProtocol.ICMPV6: (f.ICMPV6_TYPE, f.ICMPV6_CODE),
}

#: Remotes that one cell may look up, at 40 bytes each; as many rules as a group can have.
MOST_REMOTES = 1_500


def remote_set_id(remote: RemoteSet) -> int:
    """The 64 bits that name a remote set in the pipeline.

    They say what the set *is*: bits 63-62 the kind; then the number of a group, or of a prefix list with bit 32 set for
    IPv6, or a prefix's length and address.  So equal policy gives equal flows however it came about, and no two sets
    can be mistaken for one another.  An IPv6 prefix does not fit: 60 bits of its BLAKE2b stand for it.  Of a million
    prefixes two meet in one of two million clouds.
    """
    if isinstance(remote, GroupMembers):
        return _GROUP_KIND << 62 | remote.group
    if isinstance(remote, PrefixList):
        return _LIST_KIND << 62 | (remote.version == 6) << 32 | remote.number
    if remote.version == 6:
        digest = blake2b(remote.address.to_bytes(16, "big") + bytes([remote.length]), digest_size=8).digest()
        return _IPV6_KIND << 62 | int.from_bytes(digest, "big") >> (64 - _IPV6_HASH_BITS)
    return _PREFIX_KIND << 62 | remote.length << 32 | remote.address


def compile_group(group: Group) -> tuple[Flow, ...]:
    """One flow per cell of the group's rules."""
    ingress = group.direction is Direction.INGRESS
    table, remotes_table = (t.INGRESS_RULES, t.INGRESS_REMOTES) if ingress else (t.EGRESS_RULES, t.EGRESS_REMOTES)
    number = match(f.GROUP, group.number)
    flows: list[Flow] = []
    for version, family in ((4, _IPV4), (6, _IPV6))[: 2 if group.ipv6 else 1]:
        for cell, remotes in sorted(cells(_rules_of(group, version)).items(), key=lambda item: _order(item[0])):
            matches = [number, *_cell_matches(cell, family)]
            flows.append(flow(table, 10 + 10 * cell.specificity, matches, _look_up(remotes, remotes_table)))
    return tuple(flows)


def _rules_of(group: Group, version: int) -> list[Rule]:
    """The rules that speak of one IP version: a group reference speaks of both, ICMP and ICMPv6 of their own."""
    other_icmp = IpProtocol.ICMPV6 if version == 4 else IpProtocol.ICMP
    return [
        rule
        for rule in group.rules
        if rule.protocol != other_icmp
        if isinstance(rule.remote, GroupMembers) or rule.remote.version == version
    ]


def _order(cell: Cell) -> tuple[int, int, int]:
    none = -1
    return (
        cell.protocol,
        none if cell.first is None else cell.first,
        none if cell.second is None else cell.second,
    )


def _cell_matches(cell: Cell, family: Match) -> list[Match]:
    matches = [family]
    if cell.protocol == IpProtocol.ANY:
        return matches
    matches.append(match(f.IP_PROTO, cell.protocol))
    if cell.first is None:
        return matches
    if cell.protocol in _TYPE_FIELDS:
        kind, code = _TYPE_FIELDS[cell.protocol]
        matches.append(match(kind, cell.first))
        if cell.second is not None:
            matches.append(match(code, cell.second))
        return matches
    matches.append(match(_PORT_FIELDS[cell.protocol], cell.first, cell.second))
    return matches


def _look_up(remotes: Remotes, table: int) -> list[Action]:
    if ANYWHERE in remotes or ANYWHERE_IPV6 in remotes:
        return [Load(f.VERDICT, 1)]
    if len(remotes) > MOST_REMOTES:
        raise TooManyRemotesError(f"{len(remotes)} remotes of one port, more than the {MOST_REMOTES} that fit a flow")
    actions: list[Action] = []
    for remote in sorted(remote_set_id(remote) for remote in remotes):
        actions += [Load(f.REMOTE_SET, remote), Resubmit(table)]
    return actions


class TooManyRemotesError(ValueError):
    """The lookups of one cell would not fit the 65,535 bytes of an OpenFlow message."""


def compile_member(member: Member) -> tuple[Flow, ...]:
    """One address or prefix of a remote set, as the source (ingress) or the destination (egress) of a packet."""
    prefix, remote = member.prefix, remote_set_id(member.remote)
    if prefix.length == _WHOLE[prefix.version]:
        return (_is_member(remote, prefix.address, version=prefix.version, direction=member.direction),)
    table, family, field = _side(member.direction, prefix.version)
    where = [match(f.REMOTE_SET, remote), family]
    if prefix.length:
        where.append(match(field, prefix.address, prefix.mask))
    return (flow(table, 10, where, [Load(f.VERDICT, 1)]),)


@template
def _is_member(remote: int, address: int, *, version: int, direction: Direction) -> Declaration:
    table, family, field = _side(direction, version)
    return Declaration(table, 10, [match(f.REMOTE_SET, remote), family, match(field, address)], [Load(f.VERDICT, 1)])


def _side(direction: Direction, version: int) -> tuple[int, Match, Field]:
    """The table of remotes, the IP version, and the address in question."""
    ingress = direction is Direction.INGRESS
    table = t.INGRESS_REMOTES if ingress else t.EGRESS_REMOTES
    if version == 4:
        return table, _IPV4, f.IPV4_SRC if ingress else f.IPV4_DST
    return table, _IPV6, f.IPV6_SRC if ingress else f.IPV6_DST
