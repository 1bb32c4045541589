"""A lab cloud with a random policy, and its truth table: traced verdicts and real packets, held against the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from econe_api.compute.namespaces import guest_namespace
from econe_api.store.records import AddressRecord, InterfaceRecord
from topologies import truth_policy
from topologies.cloud import Cloud, Plan
from topologies.oracle import DENIED, OUTSIDE, Question, Sender, State, Verdict, verdict
from topologies.truth_cloud import LabSwitches, another_tenant, lab_switches, ports, read_state, tracer
from topologies.truth_policy import MARKER_PORT, STRANGERS
from topologies.truth_probes import Probes
from topologies.truth_questions import portless, real, table
from topologies.verdicts import TraceError, mismatch

HYPERVISORS = 3
INSTANCES = 7  # of each of two tenants
_MORE = 6  # questions looked at for each one that a real packet can ask


@dataclass(slots=True)
class Tally:
    """What was asked, by path: how many questions, how many of them allowed; and every mismatch in words."""

    asked: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def count(self, path: str, expected: Verdict) -> None:
        """Note one question."""
        self.asked[path] += 1
        self.allowed[path] += expected != DENIED

    def add(self, other: Tally) -> None:
        """Take another one's in."""
        self.asked += other.asked
        self.allowed.update(other.allowed)
        self.wrong += other.wrong


class TruthLab:
    """A context manager: builds the cloud on one kind of fabric, with two tenants' policies, and asks.

    ``check`` is called now and then and may raise to give up.
    """

    def __init__(
        self, name: str, state: Path, fabric: str, rng: Random, check: Callable[[], None] = lambda: None
    ) -> None:
        self.cloud = Cloud(Plan(name, state, hypervisors=HYPERVISORS, fabric=fabric), check=check)
        self._check = check
        self.tenants: list[truth_policy.Tenant] = []
        self._rng = rng
        self._stack = ExitStack()
        self._probes: Probes
        self._switches: LabSwitches
        self._together: set[frozenset[str]] = set()

    def __enter__(self) -> TruthLab:
        with ExitStack() as stack:
            stack.enter_context(self.cloud)
            second = another_tenant(self.cloud, "second")
            self.tenants = truth_policy.build([self.cloud.ec2(), second], self._rng, INSTANCES)
            self.cloud.outside.run("ip", "address", "add", f"{STRANGERS[1]}/24", "dev", "out0")
            self._switches = stack.enter_context(lab_switches(self.cloud))
            self._probes = stack.enter_context(Probes(self._places(), MARKER_PORT))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def disturb(self) -> None:
        """Change every tenant's policy a little; the calls return when it is in force."""
        for tenant in self.tenants:
            tenant.disturb(self._rng)

    def state(self) -> State:
        """The cloud as the oracle is told."""
        return read_state(self.cloud, ports(self.cloud))

    def trace(self, count: int) -> Tally:
        """``count`` verdicts by ``ofproto/trace``."""
        return self.trace_all(table(self.state(), STRANGERS, self._rng, count))

    def trace_all(self, asked: Iterator[tuple[str, Question, Verdict]]) -> Tally:
        """These verdicts by ``ofproto/trace``."""
        known, tally = ports(self.cloud), Tally()
        following = tracer(self.cloud, self._switches, read_state(self.cloud, known), known)
        for path, question, expected in asked:
            self._check()
            tally.count(path, expected)
            try:
                wrong = mismatch(following, question, expected)
            except TraceError as error:
                sender, destination, service = question
                wrong = f"{sender} -> {destination} {service}: {error}"
            if wrong is not None:
                tally.wrong.append("\n".join([f"{path}: {wrong}", *following.said]))
        return tally

    def probe(self, count: int) -> Tally:
        """``count`` verdicts by real packets."""
        state, tally, paths = self.state(), Tally(), dict[Question, str]()
        questions: dict[Question, Verdict] = {}
        for path, question, expected in table(state, STRANGERS, self._rng, _MORE * count):
            if len(questions) == count:
                break
            if real(path, question) and not _lost(question, expected) and self._is_first(state, question):
                questions[question], paths[question] = expected, path
                tally.count(path, expected)
        tally.wrong += self.ask(questions, paths).wrong
        return tally

    def ask(self, questions: Mapping[Question, Verdict], paths: Mapping[Question, str] | None = None) -> Tally:
        """These verdicts by real packets; of the tally only what is wrong."""
        tally = Tally()
        for probe in self._probes.ask(questions, self._markers(self.state(), questions)):
            if probe.difference is not None:
                path = (paths or {}).get(probe.question, "marker")
                traced = self.trace_all(iter([(path, probe.question, probe.expected)])).wrong
                tally.wrong.append("\n".join([f"{path}: {probe.difference}", *traced]))
        return tally

    def ofport(self, interface: str) -> int:
        """The OpenFlow port number of a plugged interface."""
        return next(port.ofport for port in ports(self.cloud) if port.interface == interface)

    def _markers(self, state: State, questions: Mapping[Question, Verdict]) -> dict[Question, Verdict]:
        """The marker of each pair, where there is a way at all; and one each way between every two hypervisors."""
        pairs = dict.fromkeys((sender, destination) for sender, destination, _ in questions)
        found = {}
        for sender, destination in (*pairs, *self._tunnels(state)):
            question = self._probes.marker(sender, destination)
            expected = verdict(state, *question)
            if expected != DENIED and not _lost(question, expected):
                found[question] = expected
        return found

    @staticmethod
    def _tunnels(state: State) -> Iterator[tuple[Sender, str]]:
        """The first packet in a tunnel is lost while its far end is looked for, and a trace ends there."""
        plugged = {record.id: record for record in _plugged(state)}
        seen = set()
        for one, record in plugged.items():
            for other, far in plugged.items():
                ends = state.hosts[one], state.hosts[other]
                if record.vpc == far.vpc and ends[0] != ends[1] and ends not in seen:
                    seen.add(ends)
                    yield Sender(one, record.addresses[0]), far.addresses[0]

    def _is_first(self, state: State, question: Question) -> bool:
        """Without ports a packet the other way round is an answer: two machines may exchange one such packet only."""
        if not portless(question):
            return True
        sender, destination, service = question
        owner = next((record.id for record in _plugged(state) if destination in record.addresses), destination)
        public = next(
            (record.interface for record in state.all(AddressRecord) if record.public_ip == destination), owner
        )
        if public == sender.interface:
            return False  # its own elastic IP: the packet is its own answer (docs/limits.md)
        pair = frozenset({sender.interface or OUTSIDE, public, str(service.protocol)})
        if pair in self._together:
            return False
        self._together.add(pair)
        return True

    def _places(self) -> dict[str, str]:
        instances = {record.id: record.instance for record in _plugged(self.state())}
        guests = {
            key: guest_namespace(self.cloud.plan.name, instance) for key, instance in instances.items() if instance
        }
        return {OUTSIDE: self.cloud.outside.namespace, **guests}


def _lost(question: Question, expected: Verdict) -> bool:
    """Does it leave for a place where nobody is to hear it?"""
    return expected.receiver == OUTSIDE and question[1] not in STRANGERS


def _plugged(state: State) -> list[InterfaceRecord]:
    return [record for record in state.all(InterfaceRecord) if record.id in state.hosts]
