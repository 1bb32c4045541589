"""The desired flows of one bridge, kept up to date fragment by fragment.  Pure: no I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, KeysView
from dataclasses import dataclass, field

from controller.index import Index
from controller.keys import Key
from controller.projection import resolve
from flowrules.compile_group import TooManyRemotesError
from flowrules.compiler import Fragment, compile_intent
from flowrules.diff import Key as FlowKey
from flowrules.flow import Flow
from flowrules.intent import Intent
from flowrules.meters import Meter


@dataclass(slots=True)
class Counters:
    """Work done since the start; tests assert these, not seconds."""

    resolved: int = 0
    compiled: int = 0


@dataclass(slots=True)
class Desired:
    """Flows by key with the fragment that owns each, and what could not be compiled."""

    host: str
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    owners: dict[FlowKey, Key] = field(default_factory=dict)
    problems: dict[Key, str] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    _fragments: dict[Key, tuple[Intent, Fragment]] = field(default_factory=dict)
    _uses: Counter[Meter] = field(default_factory=Counter)

    def update(self, index: Index, keys: Iterable[Key]) -> set[FlowKey]:
        """Bring the fragments named by ``keys`` up to date; returns the flow keys that may have changed.

        All old fragments go before any new one comes: a reused ofport belongs to two fragments for a moment.
        """
        fresh: list[tuple[Key, Intent, Fragment]] = []
        touched: set[FlowKey] = set()
        for key in keys:
            self.counters.resolved += 1
            known = self._fragments.get(key)
            try:
                intent = resolve(index, self.host, key)
                if known is not None and known[0] == intent:
                    self.problems.pop(key, None)
                    continue
                fragment = compile_intent(intent) if intent is not None else ()
            except TooManyRemotesError as error:
                # What cannot be enforced allows nothing; older rules, of which some may have been revoked, do not stay.
                self.problems[key] = f"{key}: {error}"
                touched |= self._remove(key)
                continue
            except Exception as error:
                self.problems[key] = f"{key}: {type(error).__name__}: {error}"
                continue
            self.problems.pop(key, None)
            touched |= self._remove(key)
            if intent is not None:
                self.counters.compiled += 1
                fresh.append((key, intent, fragment))
        for key, intent, fragment in fresh:
            touched |= self._insert(key, intent, fragment)
        return touched

    @property
    def fragments(self) -> KeysView[Key]:
        """Names of the fragments present."""
        return self._fragments.keys()

    @property
    def meters(self) -> list[Meter]:
        """The meters that flows name."""
        self._uses = +self._uses
        return list(self._uses)

    def intent(self, key: Key) -> Intent | None:
        """The intent of one fragment; None when it is not present."""
        known = self._fragments.get(key)
        return known[0] if known else None

    def fragment(self, key: Key) -> Fragment:
        """The flows of one fragment; none when it is not present."""
        known = self._fragments.get(key)
        return known[1] if known else ()

    def intents(self) -> dict[Key, Intent]:
        """The intent of every fragment present."""
        return {key: intent for key, (intent, _) in self._fragments.items()}

    def _remove(self, key: Key) -> set[FlowKey]:
        known = self._fragments.pop(key, None)
        gone = {flow.key for flow in known[1] if self.owners.get(flow.key) == key} if known else set()
        for flow_key in gone:
            self._uses.subtract(_meter(self.flows[flow_key]))
            del self.flows[flow_key], self.owners[flow_key]
        return gone

    def _insert(self, key: Key, intent: Intent, fragment: Fragment) -> set[FlowKey]:
        came: set[FlowKey] = set()
        for flow in fragment:
            owner = self.owners.get(flow.key)
            if owner is not None:
                self.problems[key] = f"{key}: {owner} has a flow of the same match in table {flow.table}"
                continue
            self.flows[flow.key], self.owners[flow.key] = flow, key
            self._uses.update(_meter(flow))
            came.add(flow.key)
        self._fragments[key] = (intent, fragment)
        return came


def _meter(flow: Flow) -> tuple[Meter, ...]:
    return () if flow.meter is None else (flow.meter,)
