"""Whatever happened, in whatever order: what is kept up to date equals what is built from scratch."""

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from controller.keys import MemberKey, PortKey
from controller.world import World
from econe_api.store.records import Kind

EXAMPLES = int(os.environ.get("SLUICE_WORLD_EXAMPLES", "100"))
STEPS = int(os.environ.get("SLUICE_WORLD_STEPS", "40"))


@pytest.mark.timeout(900)  # a failure takes its time to become small
def test_histories(histories):
    run_state_machine_as_test(
        histories,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.timeout(900)
def test_changes_that_come_while_others_are_worked_on(stepwise):
    """What is prepared in steps and adopted later is what is there then, not what was when a step was made."""
    run_state_machine_as_test(
        stepwise,
        settings=settings(
            max_examples=EXAMPLES // 2,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def test_one_change_of_each_kind(busy, go_on):
    go_on(busy)


@pytest.mark.parametrize(
    "mark",
    ["_mark_memberships", "_mark_elastic", "_mark_port", "_vpc_keys", "_group_keys", "_port_keys", "_interfaces_in"],
)
def test_a_forgotten_mark_is_found(busy, go_on, scratch_revision, monkeypatch, mark):
    """The comparison is able to fail: without any one kind of mark it does."""
    original = getattr(World, mark)

    def careless(world, *arguments):
        # The reference is built without any marks, by asking for all there is.
        return original(world, *arguments) if world.revision == scratch_revision else ()

    monkeypatch.setattr(World, mark, careless)
    with pytest.raises(AssertionError):
        go_on(busy)


def test_a_forgotten_entry_is_found(busy, go_on, monkeypatch):
    """The same for the entries of prefix lists."""

    def careless(world, key, record):
        world.index.prefix_lists[key] = record

    monkeypatch.setattr(World, "_set_prefix_list", careless)
    busy.world._setters[Kind.PREFIX_LIST] = lambda key, record: careless(busy.world, key, record)
    with pytest.raises(AssertionError):
        go_on(busy)


def test_an_address_more_or_less_costs_what_it_must(busy):
    """Its port, the address on the hosts of its VPC, and the members that rules refer to: nothing else is compiled."""
    record = next(
        record
        for (kind, key), record in busy.records.items()
        if kind is Kind.INTERFACE and key in busy.world.index.places
    )
    network, place = record.addresses[0].rsplit(".", 1)[0], busy.world.index.places[record.id]
    fresh = f"{network}.99"
    before = {host: desired.intents() for host, desired in busy.desired.items()}
    compiled = {host: desired.counters.compiled for host, desired in busy.desired.items()}
    busy.put(Kind.INTERFACE, record.id, replace(record, addresses=(*record.addresses, fresh)))
    busy.equals_one_from_scratch()
    for host, desired in busy.desired.items():
        after = desired.intents()
        changed = {key for key in before[host].keys() | after.keys() if before[host].get(key) != after.get(key)}
        assert desired.counters.compiled - compiled[host] == len(changed), host
        own = {key for key in changed if isinstance(key, PortKey)}
        assert own == ({PortKey(record.id)} if host == place.host else set()), host
        assert all(key.address == fresh for key in changed - own), host
    assert any(isinstance(key, MemberKey) for desired in busy.desired.values() for key in desired.fragments)
    busy.put(Kind.INTERFACE, record.id, record)
    busy.equals_one_from_scratch()
    assert {host: desired.intents() for host, desired in busy.desired.items()} == before


def test_a_full_batch_forgets_the_rest(busy, from_scratch):
    """What a full batch does not name is gone, with every flow that it had."""
    before = {host: len(desired.flows) for host, desired in busy.desired.items()}
    kept = (Kind.VPC, Kind.SUBNET, Kind.POOL)
    busy.records = {key: record for key, record in busy.records.items() if key[0] in kept}
    busy.deliver(full=True)
    busy.equals_one_from_scratch()
    pools = {key: record for key, record in busy.records.items() if key[0] is Kind.POOL}
    alone = from_scratch(pools, busy.bindings)
    for host, desired in busy.desired.items():
        assert desired.flows == alone[host]
        assert len(desired.flows) < before[host]
