"""A short truth table (`scripts/test truth` asks five times as much), and that it can fail."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from econe_api.store.records import AddressRecord
from flowrules.tables import CLASSIFY, ELASTIC_OUT, EXTERNAL_IN, INGRESS_ACT, INGRESS_GROUPS
from topologies.oracle import DENIED, Service, verdict
from topologies.truth import main
from topologies.truth_lab import TruthLab
from topologies.truth_policy import MARKER_PORT, STRANGERS
from topologies.truth_questions import OUTSIDE_IN, PATHS, pairs

pytestmark = pytest.mark.lab

VERDICTS, PROBES = 2000, 60


@pytest.fixture(scope="module")
def lab():
    state = Path(tempfile.mkdtemp(prefix="truth-"))
    try:
        with TruthLab(f"tt{os.getpid()}", state, "vlan", random.Random(20)) as running:
            yield running
    finally:
        shutil.rmtree(state)


def test_real_packets_are_as_the_oracle_says(lab):
    found = lab.probe(PROBES)
    assert found.wrong == []
    assert found.asked.total() == PROBES
    assert 10 < found.allowed.total() < PROBES - 10


def test_every_verdict_of_the_live_switches_is_the_oracles(lab):
    lab.disturb()
    found = lab.trace(VERDICTS)
    assert found.wrong == []
    assert found.asked.total() == VERDICTS
    assert set(found.asked) == set(PATHS), "a kind of path was not asked about"
    assert VERDICTS * 0.2 < found.allowed.total() < VERDICTS * 0.8


@pytest.fixture
def one_way_in(lab):
    """A packet from outside to an elastic IP that is allowed, with its verdict: on the path, by the marker's rule."""
    state = lab.state()
    sender, public = next(pair for pair in pairs(state, STRANGERS)[OUTSIDE_IN])
    question = (sender, public, Service(17, MARKER_PORT))
    return state, question, verdict(state, *question)


def _broken(lab, state, expected, change, *words):
    """Let ``change`` be made to the receiver's bridge; returns what undoes it."""
    switch = lab.cloud.hypervisor(state.hosts[expected.receiver])
    before = switch.ofctl("--no-stats", "dump-flows", "br-int")
    switch.ofctl(change, "br-int", *words)
    flows = [line.strip() for line in before.splitlines() if "actions=" in line]

    def undo():
        switch.ofctl("del-flows", "br-int")
        restored = lab.cloud.plan.state / "restored"
        restored.write_text("\n".join(flows))
        switch.ofctl("--bundle", "add-flows", "br-int", str(restored))

    return undo


@pytest.mark.parametrize("table", [EXTERNAL_IN, INGRESS_GROUPS, INGRESS_ACT, ELASTIC_OUT, CLASSIFY])
def test_flows_that_are_gone_are_found_and_named(lab, one_way_in, table):
    state, question, expected = one_way_in
    assert lab.trace_all(iter([(OUTSIDE_IN, question, expected)])).wrong == []
    undo = _broken(lab, state, expected, "del-flows", f"table={table}")
    try:
        (wrong,) = lab.trace_all(iter([(OUTSIDE_IN, question, expected)])).wrong
        assert question[1] in wrong
        assert "No match" in wrong or "answer arrives as" in wrong, "the trace is shown"
    finally:
        undo()
    assert lab.trace_all(iter([(OUTSIDE_IN, question, expected)])).wrong == []


def test_a_flow_that_lets_too_much_in_is_found_by_real_packets_too(lab):
    state = lab.state()
    (sender, public) = next(
        pair for pair in pairs(state, STRANGERS)[OUTSIDE_IN] if verdict(state, *pair, Service(6, 12345)) == DENIED
    )
    question = (sender, public, Service(6, 12345))
    owner = next(record.interface for record in state.all(AddressRecord) if record.public_ip == public)
    ofport = lab.ofport(owner)
    switch = lab.cloud.hypervisor(state.hosts[owner])
    switch.ofctl(
        "add-flow", "br-int", f"table=40,priority=999,tcp,reg1={ofport:#x},tp_dst=12345,actions=output:{ofport}"
    )
    try:
        (traced,) = lab.trace_all(iter([(OUTSIDE_IN, question, DENIED)])).wrong
        assert f"receiver='{owner}'" in traced
        (probed,) = lab.ask({question: DENIED}).wrong
        assert "a real packet arrived" in probed
    finally:
        switch.ofctl("--strict", "del-flows", "br-int", f"table=40,priority=999,tcp,reg1={ofport:#x},tp_dst=12345")


def test_a_wrong_argument_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--verdicts", "many"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
