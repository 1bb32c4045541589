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
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG, Flow, Key
from flowrules.oxm import canonical

__all__ = ["Diff", "Key", "as_installed", "changes", "diff", "encode_delete"]

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
        adds=tuple(sorted(adds, key=lambda flow: flow.key[0] == _ADMISSION)),
        deletes=tuple(sorted(deletes, key=lambda flow: flow.table != _ADMISSION)),
        foreign=tuple(foreign),
    )


def _same_match(one: bytes, other: bytes) -> bool:
    return one == other or canonical(one) == canonical(other)


def _same_place(key: Key, table: int, priority: int) -> bool:
    return key[0] == table and key[1] << 8 | key[2] == priority


def _slot(flow: InstalledFlow) -> tuple[int, int, tuple[bytes, ...]]:
    return (flow.table, flow.priority, canonical(flow.match_bytes))


def diff(desired: Mapping[Key, Flow], installed: Iterable[InstalledFlow]) -> Diff:
    """Compare what a switch reports with what it shall hold.

    A flow is unchanged when table, priority, cookie (which stands for the actions) and match are equal.
    """
    missing = {flow.cookie: flow for flow in desired.values()}
    # Should two flows ever have one cookie, one of them is sent again with every comparison, which changes nothing.
    twins = [] if len(missing) == len(desired) else [flow for flow in desired.values() if missing[flow.cookie] != flow]
    stale: list[InstalledFlow] = []
    foreign: list[InstalledFlow] = []
    for item in installed:
        table, priority, cookie, match_bytes = item
        wanted = missing.get(cookie)
        if wanted is not None and _same_place(wanted.key, table, priority) and _same_match(wanted.key[3:], match_bytes):
            del missing[cookie]
        elif cookie >> COOKIE_HASH_BITS != OWNER_TAG:
            foreign.append(item)
        else:
            stale.append(item)
    adds = [*missing.values(), *twins]
    if stale and adds:
        replaced = {_slot(as_installed(flow)) for flow in adds}
        stale = [item for item in stale if _slot(item) not in replaced]
    return _ordered(adds, stale, foreign)


def _does(flow: Flow) -> tuple[object, ...]:
    return (flow.action_bytes, flow.meter and flow.meter.id)


def changes(old: Mapping[Key, Flow], new: Mapping[Key, Flow]) -> Diff:
    """Compare two sets of flows of which the first is known to be installed."""
    adds = []
    for key, flow in new.items():
        before = old.get(key)
        if before is None or (before is not flow and _does(before) != _does(flow)):
            adds.append(flow)
    return _ordered(adds, [as_installed(flow) for key, flow in old.items() if key not in new], ())
