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
from flowrules.intent import Group, Intent, Port
from flowrules.meters import Meter


@dataclass(slots=True)
class Counters:
    """Work done since the start; tests assert these, not seconds."""

    resolved: int = 0
    compiled: int = 0


Draft = dict[Key, tuple[Intent, Fragment] | None]
"""What becomes of fragments: their new intent and flows, None = they go.  Those that stay are not in it."""


@dataclass(slots=True)
class Desired:
    """Flows by key with the fragment that owns each, and what could not be compiled.

    ``ports`` and ``groups`` are the intents of those kinds: what a change means for connections is asked of them alone,
    and they are few on a host that knows of ten thousand neighbours and members.
    """

    host: str
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    owners: dict[FlowKey, Key] = field(default_factory=dict)
    problems: dict[Key, str] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    ports: dict[Key, Port] = field(default_factory=dict)
    groups: dict[Key, Group] = field(default_factory=dict)
    #: The very tuples of the draft: new ones would leave the room of those behind.
    _fragments: dict[Key, tuple[Intent, Fragment]] = field(default_factory=dict)
    _uses: Counter[Meter] = field(default_factory=Counter)

    def update(self, index: Index, keys: Iterable[Key]) -> set[FlowKey]:
        """Bring the fragments named by ``keys`` up to date; returns the flow keys that may have changed."""
        draft: Draft = {}
        self.prepare(index, keys, draft)
        return self.adopt(draft)

    def prepare(self, index: Index, keys: Iterable[Key], draft: Draft) -> None:
        """Put into ``draft`` what becomes of the fragments named by ``keys``; nothing changes yet.

        A big change is prepared in several steps, with others at work in between.  Whatever changes meanwhile has to be
        prepared again before the draft is adopted, so that all of it tells of one moment.
        """
        for key in keys:
            self.counters.resolved += 1
            known = self._fragments.get(key)
            try:
                intent = resolve(index, self.host, key)
                unchanged = (known is None) if intent is None else (known is not None and known[0] == intent)
                fragment = () if unchanged or intent is None else compile_intent(intent)
            except TooManyRemotesError as error:
                # What cannot be enforced allows nothing; older rules, of which some may have been revoked, do not stay.
                self.problems[key] = f"{key}: {error}"
                draft[key] = None
                continue
            except Exception as error:
                self.problems[key] = f"{key}: {type(error).__name__}: {error}"
                draft.pop(key, None)
                continue
            self.problems.pop(key, None)
            if unchanged:
                draft.pop(key, None)
            else:
                draft[key] = None if intent is None else (intent, fragment)

    def adopt(self, draft: Draft) -> set[FlowKey]:
        """Take a draft over; returns the flow keys that may have changed.

        All old fragments go before any new one comes: a reused ofport belongs to two fragments for a moment.
        """
        touched: set[FlowKey] = set()
        for key in draft:
            if key in self._fragments:
                self._remove(key, touched)
        for key, fresh in draft.items():
            if fresh is not None:
                self.counters.compiled += 1
                self._insert(key, fresh, touched)
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

    def _remove(self, key: Key, touched: set[FlowKey]) -> None:
        _, fragment = self._fragments.pop(key)
        self.ports.pop(key, None)
        self.groups.pop(key, None)
        for flow in fragment:
            flow_key = flow.key
            if self.owners.get(flow_key) != key:
                continue
            if flow.meter is not None:
                self._uses[flow.meter] -= 1
            del self.flows[flow_key], self.owners[flow_key]
            touched.add(flow_key)

    def _insert(self, key: Key, fresh: tuple[Intent, Fragment], touched: set[FlowKey]) -> None:
        intent, fragment = self._fragments[key] = fresh
        for flow in fragment:
            flow_key, _, meter, _ = flow
            owner = self.owners.get(flow_key)
            if owner is not None:
                self.problems[key] = f"{key}: {owner} has a flow of the same match in table {flow.table}"
                continue
            self.flows[flow_key], self.owners[flow_key] = flow, key
            if meter is not None:
                self._uses[meter] += 1
            touched.add(flow_key)
        if isinstance(intent, Port):
            self.ports[key] = intent
        elif isinstance(intent, Group):
            self.groups[key] = intent
