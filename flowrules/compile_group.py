"""Fragments of security groups and of the remote sets that their rules refer to."""

from __future__ import annotations

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Action, Load, Resubmit
from flowrules.cells import Cell, Remotes, cells
from flowrules.fields import EtherType, IpProtocol
from flowrules.flow import Flow, Match, flow, match
from flowrules.intent import ANYWHERE, Direction, Group, GroupMembers, Member, RemoteSet

_IPV4 = match(f.ETH_TYPE, EtherType.IPV4)
_GROUP_KIND = 0
_PREFIX_KIND = 1
_PORT_FIELDS = {IpProtocol.TCP: f.TCP_DST, IpProtocol.UDP: f.UDP_DST}


def remote_set_id(remote: RemoteSet) -> int:
    """The 64 bits that name a remote set in the pipeline.

    They say what the set *is* (bits 63-62 the kind; then a group's number, or a prefix's length and address), so that
    equal policy gives equal flows however it came about, and no two sets can be mistaken for one another.
    """
    if isinstance(remote, GroupMembers):
        return _GROUP_KIND << 62 | remote.group
    return _PREFIX_KIND << 62 | remote.length << 32 | remote.address


def compile_group(group: Group) -> tuple[Flow, ...]:
    """One flow per cell of the group's rules."""
    ingress = group.direction is Direction.INGRESS
    table, remotes_table = (t.INGRESS_RULES, t.INGRESS_REMOTES) if ingress else (t.EGRESS_RULES, t.EGRESS_REMOTES)
    number = match(f.GROUP, group.number)
    return tuple(
        flow(table, 10 + 10 * cell.specificity, [number, *_cell_matches(cell)], _look_up(remotes, remotes_table))
        for cell, remotes in sorted(cells(group.rules).items(), key=lambda item: _order(item[0]))
    )


def _order(cell: Cell) -> tuple[int, int, int]:
    none = -1
    return (
        cell.protocol,
        none if cell.first is None else cell.first,
        none if cell.second is None else cell.second,
    )


def _cell_matches(cell: Cell) -> list[Match]:
    matches = [_IPV4]
    if cell.protocol == IpProtocol.ANY:
        return matches
    matches.append(match(f.IP_PROTO, cell.protocol))
    if cell.first is None:
        return matches
    if cell.protocol == IpProtocol.ICMP:
        matches.append(match(f.ICMP_TYPE, cell.first))
        if cell.second is not None:
            matches.append(match(f.ICMP_CODE, cell.second))
        return matches
    matches.append(match(_PORT_FIELDS[cell.protocol], cell.first, cell.second))
    return matches


def _look_up(remotes: Remotes, table: int) -> list[Action]:
    if ANYWHERE in remotes:
        return [Load(f.VERDICT, 1)]
    actions: list[Action] = []
    for remote in sorted(remote_set_id(remote) for remote in remotes):
        actions += [Load(f.REMOTE_SET, remote), Resubmit(table)]
    return actions


def compile_member(member: Member) -> tuple[Flow, ...]:
    """One address or prefix of a remote set, as the source (ingress) or the destination (egress) of a packet."""
    ingress = member.direction is Direction.INGRESS
    table, field = (t.INGRESS_REMOTES, f.IPV4_SRC) if ingress else (t.EGRESS_REMOTES, f.IPV4_DST)
    where = [match(f.REMOTE_SET, remote_set_id(member.remote)), _IPV4]
    if member.prefix.length:
        where.append(match(field, member.prefix.address, member.prefix.mask))
    return (flow(table, 10, where, [Load(f.VERDICT, 1)]),)
