"""Applying a difference gives the desired flows, whatever was there before, and leaves strangers alone."""

from hypothesis import given
from hypothesis import strategies as st

from flowrules import fields
from flowrules.actions import Output, Resubmit
from flowrules.decode import InstalledFlow
from flowrules.diff import as_installed, changes, diff, encode_delete
from flowrules.encode import flow_add, flow_delete_strict
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG, flow, match
from flowrules.oxm import canonical, encode_match

# A small world, so that flows meet each other often.
MATCHES = st.lists(
    st.sampled_from([(fields.IN_PORT, 1), (fields.REG0, 1), (fields.REG0, 2), (fields.METADATA, 1)]),
    max_size=2,
    unique_by=lambda test: test[0].name,
).map(lambda tests: [match(*test) for test in tests])
FLOWS = st.builds(
    flow,
    st.integers(0, 2),
    st.sampled_from([1, 0x201]),
    MATCHES,
    st.sampled_from([[], [Output(1)], [Resubmit(5)]]),
)
TABLES = st.lists(FLOWS, max_size=12).map(lambda flows: {item.key: item for item in flows})
STRANGERS = st.builds(
    InstalledFlow,
    st.integers(0, 2),
    st.sampled_from([7, 8]),
    st.integers(0, 5),
    MATCHES.map(encode_match),
)
TAMPERED = st.builds(
    # Our owner tag on flows that we never made: wrong hash, or the right hash on another match.
    InstalledFlow,
    st.integers(0, 2),
    st.sampled_from([1, 0x201]),
    st.just(OWNER_TAG << COOKIE_HASH_BITS | 1) | FLOWS.map(lambda item: item.cookie),
    MATCHES.map(encode_match),
)


def slot(item):
    return item.table, item.priority, canonical(item.match_bytes)


def applied(installed, found):
    """What a switch holds after the flow-mods of ``found``: deletes strictly by cookie too, adds replace."""
    held = {slot(item): item for item in installed}
    for item in found.deletes:
        assert held.pop(slot(item)) == item, "only what is there is deleted"
    for item in found.adds:
        held[slot(as_installed(item))] = as_installed(item)
    return held


@given(TABLES, TABLES, st.lists(STRANGERS, max_size=3), st.lists(TAMPERED, max_size=4))
def test_diff_leads_to_the_desired_flows(desired, before, strangers, tampered):
    installed = list(
        {slot(item): item for item in [*map(as_installed, before.values()), *tampered, *strangers]}.values()
    )
    found = diff(desired, installed)
    after = applied(installed, found)
    wanted = {slot(as_installed(item)): as_installed(item) for item in desired.values()}
    assert after == wanted | {slot(item): item for item in installed if item.priority in (7, 8)}
    assert sorted(found.foreign) == sorted(item for item in installed if item.priority in (7, 8))
    assert diff(desired, after.values()).empty


@given(TABLES, TABLES)
def test_changes_are_the_diff_of_what_is_known_to_be_there(old, new):
    found = changes(old, new)
    by_dump = diff(new, map(as_installed, old.values()))
    assert {item.key for item in found.adds} == {item.key for item in by_dump.adds}
    assert set(found.deletes) == set(by_dump.deletes)
    assert changes(new, new).empty


@given(TABLES, TABLES)
def test_ports_are_let_in_last_and_shut_out_first(old, new):
    for found in (changes(old, new), diff(new, map(as_installed, old.values()))):
        assert [item.table == 0 for item in found.adds] == sorted(item.table == 0 for item in found.adds)
        assert [item.table != 0 for item in found.deletes] == sorted(item.table != 0 for item in found.deletes)


def test_order_of_oxm_entries_is_no_difference():
    item = flow(1, 1, [match(fields.REG0, 1), match(fields.REG1, 2)], [])
    turned = encode_match([match(fields.REG1, 2)]) + encode_match([match(fields.REG0, 1)])
    assert diff({item.key: item}, [replaced_match(as_installed(item), turned)]).empty


def replaced_match(installed, match_bytes):
    return installed._replace(match_bytes=match_bytes)


def test_a_new_action_replaces_without_a_delete():
    item = flow(1, 1, [match(fields.REG0, 1)], [Output(1)])
    other = flow(1, 1, [match(fields.REG0, 1)], [Output(2)])
    found = diff({other.key: other}, [as_installed(item)])
    assert (found.adds, found.deletes) == ((other,), ())


def test_a_delete_names_exactly_one_flow():
    item = flow(1, 3, [match(fields.REG0, 1)], [Output(1)])
    assert encode_delete(as_installed(item)) == flow_delete_strict(1, 3, item.cookie, encode_match(item.matches))
    assert flow_add(item) != encode_delete(as_installed(item))


def test_should_two_flows_ever_have_one_cookie_both_are_installed():
    one, other = (flow(1, 1, [match(fields.REG0, value)], []) for value in (1, 2))
    twins = {item.key: item._replace(cookie=one.cookie) for item in (one, other)}
    switch = applied([], diff(twins, []))
    assert switch.keys() == {slot(as_installed(item)) for item in twins.values()}
    again = diff(twins, list(switch.values()))
    assert not again.deletes
    assert len(again.adds) < 2
    assert applied(list(switch.values()), again) == switch
