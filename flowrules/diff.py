"""What has to be sent to a switch so that it holds the desired flows and nothing else of ours.

Order matters to a packet in between: what lets a port into the pipeline (table 0) is deleted first and added last, so
that a half-programmed port is dark.  Deletes come before adds; an add with the same table, priority and match replaces
the old flow by itself, so that flow is not deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flowrules.decode import InstalledFlow
from flowrules.encode import flow_delete_strict
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG, Flow
from flowrules.oxm import canonical

Key = bytes
"""A flow's table, priority and match: :attr:`flowrules.flow.Flow.key`."""
_ADMISSION = 0
"""The table in which a port enters the pipeline."""


class Diff(NamedTuple):
    """Flow-mods to send, in order: first ``deletes``, then ``adds``.  ``foreign`` flows are not ours: left alone."""

    adds: tuple[Flow, ...]
    deletes: tuple[InstalledFlow, ...]
    foreign: tuple[InstalledFlow, ...] = ()

    @property
    def empty(self) -> bool:
        """True when there is nothing to send."""
        return not self.adds and not self.deletes


def encode_delete(installed: InstalledFlow) -> bytes:
    """Write the flow-mod that deletes ``installed`` and nothing else."""
    return flow_delete_strict(installed.table, installed.priority, installed.cookie, installed.match_bytes)


def as_installed(flow: Flow) -> InstalledFlow:
    """Tell how a switch that holds ``flow`` reports it."""
    return InstalledFlow(flow.table, flow.priority, flow.cookie, flow.match_bytes)


def _ordered(adds: Iterable[Flow], deletes: Iterable[InstalledFlow], foreign: Iterable[InstalledFlow]) -> Diff:
    return Diff(
        adds=tuple(sorted(adds, key=lambda flow: flow.table == _ADMISSION)),
        deletes=tuple(sorted(deletes, key=lambda flow: flow.table != _ADMISSION)),
        foreign=tuple(foreign),
    )


def _same_match(one: bytes, other: bytes) -> bool:
    return one == other or canonical(one) == canonical(other)


def _slot(flow: InstalledFlow) -> tuple[int, int, tuple[bytes, ...]]:
    return (flow.table, flow.priority, canonical(flow.match_bytes))


def diff(desired: Mapping[Key, Flow], installed: Iterable[InstalledFlow]) -> Diff:
    """Compare what a switch reports with what it shall hold.

    A flow is unchanged when table, priority, cookie (which stands for the actions) and match are equal.
    """
    missing = {(flow.table, flow.priority, flow.cookie): flow for flow in desired.values()}
    stale: list[InstalledFlow] = []
    foreign: list[InstalledFlow] = []
    for item in installed:
        if item.cookie >> COOKIE_HASH_BITS != OWNER_TAG:
            foreign.append(item)
            continue
        identity = item[:3]
        wanted = missing.get(identity)
        if wanted is not None and _same_match(wanted.match_bytes, item.match_bytes):
            del missing[identity]
        else:
            stale.append(item)
    if stale and missing:
        replaced = {_slot(as_installed(flow)) for flow in missing.values()}
        stale = [item for item in stale if _slot(item) not in replaced]
    return _ordered(missing.values(), stale, foreign)


def _does(flow: Flow) -> tuple[object, ...]:
    return (flow.actions, flow.meter and flow.meter.id)


def changes(old: Mapping[Key, Flow], new: Mapping[Key, Flow]) -> Diff:
    """Compare two sets of flows of which the first is known to be installed."""
    adds = []
    for key, flow in new.items():
        before = old.get(key)
        if before is None or (before is not flow and _does(before) != _does(flow)):
            adds.append(flow)
    return _ordered(adds, [as_installed(flow) for key, flow in old.items() if key not in new], ())
