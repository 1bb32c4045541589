"""Rows against observation: what there is to do.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from econe_api.compute.backend import Condition, ObservedInstance
from econe_api.compute.rows import PENDING, RUNNING, SHUTTING_DOWN, STOPPED, STOPPING, TERMINATED, InstanceRow, Outline


class Kind(StrEnum):
    """What a task does."""

    LAUNCH = "launch"
    STOP = "stop"
    REBOOT = "reboot"
    TERMINATE = "terminate"
    PLUG = "plug"
    """Plug interfaces in and out."""
    FOLLOW = "follow"
    """Note what others than Sluice, or the instance itself, have done to it."""
    REMOVE = "remove"
    """Terminate what no row asks for; no row changes."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do for one instance on one host; ``row`` is None for :attr:`Kind.REMOVE`, ``seen`` is how it is, for
    :attr:`Kind.FOLLOW`.
    """

    kind: Kind
    instance_id: str
    host: str
    row: InstanceRow | None
    seen: ObservedInstance | None = None


def wanting(outlines: Iterable[Outline], observed: Mapping[str, ObservedInstance]) -> list[str]:
    """Return those that :func:`tasks` has something to do for."""
    return [row.id for row in outlines if _kind(row, observed.get(row.id)) is not None]


def tasks(rows: Iterable[InstanceRow], observed: Mapping[str, ObservedInstance]) -> list[Task]:
    """Return what brings the instances to where their rows want them."""
    found = []
    for row in rows:
        seen = observed.get(row.id)
        kind = _kind(row.outline, seen)
        if kind is not None:
            found.append(Task(kind, row.id, row.spec.host, row, seen if kind is Kind.FOLLOW else None))
    return found


def _kind(row: Outline, seen: ObservedInstance | None) -> Kind | None:
    state = None if seen is None else seen.state
    kind = None
    if row.state == SHUTTING_DOWN:
        kind = Kind.TERMINATE
    elif state is Condition.ENDED:
        kind = Kind.FOLLOW
    elif row.state == PENDING:
        kind = Kind.LAUNCH
    elif row.state == STOPPING:
        kind = Kind.STOP
    elif row.state == RUNNING:
        kind = _kind_of_running(row, seen)
    elif row.state == STOPPED and seen is not None and state in (Condition.RUNNING, Condition.BROKEN):
        kind = Kind.FOLLOW if seen.leads and state is Condition.RUNNING else Kind.STOP
    if kind is None and row.moving:
        kind = Kind.PLUG
    return kind


def _kind_of_running(row: Outline, seen: ObservedInstance | None) -> Kind | None:
    if seen is None or seen.state is Condition.BROKEN:
        return Kind.LAUNCH
    if seen.state is Condition.STOPPED:
        # What is off on another host than its own may be left from before a move: it says nothing.
        return Kind.FOLLOW if seen.leads or (seen.by_guest and seen.host == row.host) else Kind.LAUNCH
    if seen.state is Condition.UNDER_WAY:
        return None
    if row.reboot:
        return Kind.REBOOT
    return Kind.FOLLOW if seen.leads and seen.host not in ("", row.host) else None


def removals(
    strange: Collection[ObservedInstance], states: Mapping[str, str], wanted: int, has_instances: bool
) -> tuple[list[Task], str | None]:
    """Return what to do about instances that run though no living row asks for them, and a problem or None.

    ``states`` holds what the store knows of them, ``wanted`` is how many of the observed instances it does ask for.
    Terminated ones go.  Unknown ones go as well, unless it looks as if the store were the wrong one - empty, or
    restored from an old copy: never more of them than there are wanted ones, or than one.
    """
    ended = [seen for seen in strange if states.get(seen.instance_id) == TERMINATED]
    unknown = sorted(seen.instance_id for seen in strange if seen.instance_id not in states)
    going = [Task(Kind.REMOVE, seen.instance_id, seen.host, None) for seen in ended]
    if not unknown:
        return going, None
    if not has_instances or len(unknown) > max(1, wanted):
        names = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        return going, f"{len(unknown)} instances run that the database does not know, left alone: {names}"
    hosts = {seen.instance_id: seen.host for seen in strange}
    return going + [Task(Kind.REMOVE, name, hosts[name], None) for name in unknown], None
