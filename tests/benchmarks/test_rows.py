"""Every row in its smallest form, on real switches; figures are of no account here, only that there are some."""

import os

import pytest

from benchmarks import bulk, connections, dataplane, memory, restart
from benchmarks.contenders import contenders
from benchmarks.policy import Policy
from econe_api.compute import netns

pytestmark = pytest.mark.lab

POLICY = Policy(12, 6, 6)


def quiet(_):
    """Nobody looks."""


@pytest.fixture
def name():
    """A name for namespaces, of which none may be left."""
    name = f"tb{os.getpid()}"
    yield name
    assert netns.namespaces(name) == []


def test_bulk_installs_the_same_flows_both_ways(name):
    result = bulk.run(POLICY, 1, name, quiet)
    assert result.ours > 0
    assert result.ratio > 0
    assert result.counters["bundles"] == 1


def test_a_restart_sends_nothing_and_loses_nothing(name, tmp_path_factory):
    found = restart.ours(POLICY, name, tmp_path_factory.mktemp("r"), quiet)
    assert found["flows"] > 0
    assert (found["flow-mods"], found["lost"]) == (0, 0)


def test_memory_is_counted(name):
    assert memory.run(POLICY, name, quiet).counters["flows"] > 0


def test_traffic_passes_all_three_ways(name, tmp_path_factory):
    with contenders(name, tmp_path_factory.mktemp("s"), POLICY, quiet, Policy(4, 2, 2)) as all_three:
        rows = dataplane.measure(all_three, 1, 1, quiet)
        connected = connections.measure(all_three, 1, 1, quiet)
    assert len(rows) == 4
    assert all(row.ours > 0 and row.theirs > 0 for row in [*rows, connected])
