"""What the worker decides, for every combination of rows and observations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.compute.backend import Condition, InterfaceSpec, LaunchSpec, ObservedInstance
from econe_api.compute.plan import Kind, Task, removals, tasks, wanting
from econe_api.compute.rows import PENDING, RUNNING, SHUTTING_DOWN, STOPPED, STOPPING, TERMINATED, InstanceRow

_IDS = st.integers(0, 12).map(lambda number: f"i-{number:x}")
_ROWS = st.dictionaries(_IDS, st.sampled_from([PENDING, RUNNING, STOPPING, STOPPED, SHUTTING_DOWN]))
_SEEN = st.dictionaries(_IDS, st.sampled_from(list(Condition)))


def _row(name: str, state: str) -> InstanceRow:
    return InstanceRow(state, LaunchSpec(name, "h1", "ami-1", "t2.micro", None, ()))


def _observed(seen: dict[str, Condition]) -> dict[str, ObservedInstance]:
    return {name: ObservedInstance(name, "", condition) for name, condition in seen.items()}


@pytest.mark.parametrize(
    ("state", "condition", "kind"),
    [
        (PENDING, None, Kind.LAUNCH),
        (PENDING, Condition.BROKEN, Kind.LAUNCH),
        (PENDING, Condition.RUNNING, Kind.LAUNCH),  # launched by a worker that died before it could note it
        (RUNNING, None, Kind.LAUNCH),
        (RUNNING, Condition.BROKEN, Kind.LAUNCH),
        (RUNNING, Condition.RUNNING, None),
        (STOPPING, None, Kind.STOP),
        (STOPPING, Condition.BROKEN, Kind.STOP),
        (STOPPING, Condition.RUNNING, Kind.STOP),
        (STOPPED, None, None),
        (STOPPED, Condition.BROKEN, Kind.STOP),
        (STOPPED, Condition.RUNNING, Kind.STOP),
        (SHUTTING_DOWN, None, Kind.TERMINATE),
        (SHUTTING_DOWN, Condition.BROKEN, Kind.TERMINATE),
        (SHUTTING_DOWN, Condition.RUNNING, Kind.TERMINATE),
    ],
)
def test_every_state_against_every_condition(state: str, condition: Condition | None, kind: Kind | None) -> None:
    row = _row("i-1", state)
    observed = _observed({} if condition is None else {"i-1": condition})
    expected = [] if kind is None else [Task(kind, "i-1", "h1", row)]
    assert tasks([row], observed) == expected


@pytest.mark.parametrize("leads", [False, True], ids=["rows lead", "backend leads"])
@pytest.mark.parametrize(
    ("state", "condition", "led", "leading"),
    [
        (RUNNING, Condition.STOPPED, Kind.LAUNCH, Kind.FOLLOW),
        (RUNNING, Condition.UNDER_WAY, None, None),
        (RUNNING, Condition.ENDED, Kind.FOLLOW, Kind.FOLLOW),
        (PENDING, Condition.STOPPED, Kind.LAUNCH, Kind.LAUNCH),
        (PENDING, Condition.UNDER_WAY, Kind.LAUNCH, Kind.LAUNCH),
        (PENDING, Condition.ENDED, Kind.FOLLOW, Kind.FOLLOW),
        (STOPPED, Condition.RUNNING, Kind.STOP, Kind.FOLLOW),
        (STOPPED, Condition.STOPPED, None, None),
        (STOPPED, Condition.UNDER_WAY, None, None),
        (STOPPED, Condition.ENDED, Kind.FOLLOW, Kind.FOLLOW),
        (STOPPING, Condition.STOPPED, Kind.STOP, Kind.STOP),
        (STOPPING, Condition.ENDED, Kind.FOLLOW, Kind.FOLLOW),
        (SHUTTING_DOWN, Condition.ENDED, Kind.TERMINATE, Kind.TERMINATE),
    ],
)
def test_a_backend_that_leads_is_followed(
    state: str, condition: Condition, led: Kind | None, leading: Kind | None, leads: bool
) -> None:
    seen = ObservedInstance("i-1", "h1", condition, leads=leads)
    found = tasks([_row("i-1", state)], {"i-1": seen})
    expected = leading if leads else led
    assert [task.kind for task in found] == ([] if expected is None else [expected])
    assert all(task.seen is (seen if task.kind is Kind.FOLLOW else None) for task in found)


@pytest.mark.parametrize(
    ("state", "host", "kind"),
    [
        (RUNNING, "h1", Kind.FOLLOW),
        (RUNNING, "h2", Kind.LAUNCH),  # left over on a host where it was before
        (PENDING, "h1", Kind.LAUNCH),
        (STOPPING, "h1", Kind.STOP),
        (STOPPED, "h1", None),
        (SHUTTING_DOWN, "h1", Kind.TERMINATE),
    ],
)
def test_an_instance_that_shuts_itself_down_is_followed(state: str, host: str, kind: Kind | None) -> None:
    found = tasks([_row("i-1", state)], {"i-1": ObservedInstance("i-1", host, Condition.STOPPED, by_guest=True)})
    assert [task.kind for task in found] == ([] if kind is None else [kind])


@pytest.mark.parametrize(("host", "leads", "moved"), [("h2", True, True), ("h2", False, False), ("", True, False)])
def test_a_move_is_followed_when_the_backend_leads(host: str, leads: bool, moved: bool) -> None:
    found = tasks([_row("i-1", RUNNING)], {"i-1": ObservedInstance("i-1", host, Condition.RUNNING, leads=leads)})
    assert [task.kind for task in found] == ([Kind.FOLLOW] if moved else [])


@pytest.mark.parametrize(
    ("state", "condition", "kind"),
    [
        (RUNNING, Condition.RUNNING, Kind.REBOOT),
        (RUNNING, Condition.BROKEN, Kind.LAUNCH),  # which is a boot as well, and the reboot comes after it
        (PENDING, Condition.RUNNING, Kind.LAUNCH),
        (STOPPED, None, None),
    ],
)
def test_reboots_are_for_what_runs(state: str, condition: Condition | None, kind: Kind | None) -> None:
    row = replace(_row("i-1", state), reboots=1, reboot=True)
    found = tasks([row], _observed({} if condition is None else {"i-1": condition}))
    assert [task.kind for task in found] == ([] if kind is None else [kind])


@pytest.mark.parametrize(
    ("state", "condition", "kind"),
    [
        (PENDING, Condition.RUNNING, Kind.LAUNCH),
        (RUNNING, Condition.RUNNING, Kind.PLUG),
        (RUNNING, Condition.BROKEN, Kind.LAUNCH),
        (STOPPING, Condition.RUNNING, Kind.STOP),
        (STOPPED, Condition.BROKEN, Kind.STOP),
        (STOPPED, None, Kind.PLUG),  # there is nothing to plug in or out, which must be noted
    ],
)
def test_interfaces_move_when_nothing_else_is_to_be_done(state: str, condition: Condition | None, kind: Kind) -> None:
    link = InterfaceSpec("eni-1", "02:00:00:00:00:01", "172.31.0.4", 20, "172.31.0.1", 1)
    for moving in ({"attaching": (link,)}, {"detaching": (link,)}):
        row = replace(_row("i-1", state), **moving)
        observed = _observed({} if condition is None else {"i-1": condition})
        assert tasks([row], observed) == [Task(kind, "i-1", "h1", row)]
        rebooting = replace(row, reboot=True)
        first = Kind.REBOOT if kind is Kind.PLUG and state == RUNNING else kind
        assert [task.kind for task in tasks([rebooting], observed)] == [first]


@given(wanted=_ROWS, seen=_SEEN)
def test_an_outline_tells_who_has_a_task(wanted: dict[str, str], seen: dict[str, Condition]) -> None:
    rows = [_row(name, state) for name, state in wanted.items()]
    expected = [task.instance_id for task in tasks(rows, _observed(seen))]
    assert wanting([row.outline for row in rows], _observed(seen)) == expected


@given(wanted=_ROWS, seen=_SEEN)
def test_instances_do_not_depend_on_one_another(wanted: dict[str, str], seen: dict[str, Condition]) -> None:
    rows = [_row(name, state) for name, state in sorted(wanted.items())]
    together = tasks(rows, _observed(seen))
    apart = [task for row in rows for task in tasks([row], _observed(seen))]
    assert together == apart
    assert len({task.instance_id for task in together}) == len(together)


@given(
    strange=st.sets(_IDS),
    ended=st.sets(_IDS),
    wanted=st.integers(0, 20),
    has_instances=st.booleans(),
)
def test_removal_never_takes_more_than_stays(
    strange: set[str], ended: set[str], wanted: int, has_instances: bool
) -> None:
    observed = _observed(dict.fromkeys(sorted(strange), Condition.RUNNING))
    states = dict.fromkeys(ended & strange, TERMINATED)
    found, trouble = removals(list(observed.values()), states, wanted, has_instances or bool(states))
    going = {task.instance_id for task in found}
    unknown = strange - ended
    assert {task.kind for task in found} <= {Kind.REMOVE}
    assert going >= ended & strange
    assert going - ended in (set(), unknown)
    assert len(going - ended) <= max(1, wanted)
    assert (trouble is not None) == bool(unknown - going)


def test_empty_database_removes_nothing() -> None:
    strange = _observed({"i-1": Condition.RUNNING}).values()
    found, trouble = removals(list(strange), {}, 0, has_instances=False)
    assert found == []
    assert trouble == "1 instances run that the database does not know, left alone: i-1"


def test_instance_that_came_back_to_life_in_the_database_is_left_to_its_row() -> None:
    # Its row was read as absent, then found: the next look sees it among the living ones.
    strange = _observed({"i-1": Condition.RUNNING}).values()
    assert removals(list(strange), {"i-1": PENDING}, 0, has_instances=True) == ([], None)
