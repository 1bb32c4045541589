"""Rows against observation: what there is to do.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from econe_api.compute.backend import Condition, ObservedInstance
from econe_api.compute.rows import PENDING, RUNNING, SHUTTING_DOWN, STOPPED, STOPPING, TERMINATED, InstanceRow


class Kind(StrEnum):
    """What a task does."""

    LAUNCH = "launch"
    STOP = "stop"
    REBOOT = "reboot"
    TERMINATE = "terminate"
    PLUG = "plug"
    """Plug interfaces in and out."""
    REMOVE = "remove"
    """Terminate what no row asks for; no row changes."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do for one instance on one host; ``row`` is None for :attr:`Kind.REMOVE`."""

    kind: Kind
    instance_id: str
    host: str
    row: InstanceRow | None


def tasks(rows: Iterable[InstanceRow], observed: Mapping[str, ObservedInstance]) -> list[Task]:
    """Return what brings the instances to where their rows want them."""
    found = []
    for row in rows:
        seen = observed.get(row.id)
        runs = seen is not None and seen.state is Condition.RUNNING
        if row.state == PENDING or (row.state == RUNNING and not runs):
            found.append(Task(Kind.LAUNCH, row.id, row.spec.host, row))
        elif row.state == RUNNING and row.reboot:
            found.append(Task(Kind.REBOOT, row.id, row.spec.host, row))
        elif row.state == STOPPING or (row.state == STOPPED and seen is not None):
            found.append(Task(Kind.STOP, row.id, row.spec.host, row))
        elif row.state == SHUTTING_DOWN:
            found.append(Task(Kind.TERMINATE, row.id, row.spec.host, row))
        elif row.attaching or row.detaching:
            found.append(Task(Kind.PLUG, row.id, row.spec.host, row))
    return found


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
