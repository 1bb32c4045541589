"""The judge of connections against the compiler's cells, and against cases written by hand."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flowrules.cells import Cell, cells
from flowrules.fields import IpProtocol
from flowrules.intent import Direction, Group, GroupMembers, Member, Port, Prefix, PrefixList, Rule
from flowrules.judge import Connection, policy

OWN, OTHER, STRANGER = 0x0A000001, 0x0A000002, 0xCB007105
PORT = Port(3, 0x020000000001, (OWN,), 1, (1, 2))
LIST = PrefixList(9)
MEMBERS = [
    *(Member(GroupMembers(9), Prefix(OTHER, 32), direction) for direction in Direction),
    *(Member(LIST, prefix, d) for prefix in (Prefix(0x0A000000, 8), Prefix(OTHER, 32)) for d in Direction),
]
REMOTES = [
    *(Prefix(0, 0), Prefix(0x0A000000, 8), Prefix(0xCB007100, 24)),
    *(GroupMembers(9), GroupMembers(8), LIST, PrefixList(8)),
]

remotes = st.sampled_from(REMOTES)
ports = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted)
rules = (
    st.builds(Rule, st.sampled_from([-1, 47, 50, 112, 132]), st.none(), st.none(), remotes)
    | st.builds(
        lambda protocol, bounds, remote: Rule(protocol, *bounds, remote), st.sampled_from([6, 17]), ports, remotes
    )
    | st.builds(
        lambda kind, code, remote: Rule(1, kind, -1 if kind == -1 else code, remote),
        st.sampled_from([-1, 0, 8]),
        st.sampled_from([-1, 0, 3]),
        remotes,
    )
)
groups = st.builds(Group, st.sampled_from([1, 2, 3]), st.sampled_from(Direction), st.frozensets(rules, max_size=4))
addresses = st.sampled_from([OTHER, STRANGER])
talk = st.builds(
    Connection,
    st.sampled_from([1, 6, 17, 47, 50, 112, 132, 4]),
    addresses,
    addresses,
    st.integers(0, 10),
    st.integers(0, 10),
)


def by_cells(group_list, direction, connection, remote):
    """The most specific cell of each group that matches says it, as the switch would."""

    def matches(cell: Cell) -> bool:
        if cell.protocol not in (IpProtocol.ANY, connection.protocol):
            return False
        if cell.first is None:
            return True
        if cell.protocol == IpProtocol.ICMP:
            return connection.first == cell.first and cell.second in (None, connection.second)
        return connection.second & cell.second == cell.first

    for group in group_list:
        if group.direction is not direction or group.number not in PORT.groups:
            continue
        fitting = [cell for cell in cells(group.rules) if matches(cell)]
        best = max(fitting, key=lambda cell: cell.specificity, default=None)
        for allowed in cells(group.rules).get(best, ()):
            prefixes = [allowed] if isinstance(allowed, Prefix) else [m.prefix for m in MEMBERS if m.remote == allowed]
            if any(remote & prefix.mask == prefix.address for prefix in prefixes):
                return True
    return False


@settings(max_examples=400)
@given(st.lists(groups, max_size=4, unique_by=lambda group: (group.number, group.direction)), talk)
def test_judge_and_compiler_agree(group_list, connection):
    rules_of = policy(group_list, MEMBERS)
    for direction in Direction:
        if direction is Direction.INGRESS:
            case = replace(connection, destination=OWN)
            remote = case.source
        else:
            case = replace(connection, source=OWN)
            remote = case.destination
        assert rules_of.allows(PORT, case) == by_cells(group_list, direction, case, remote)


def test_a_rule_of_the_other_family_allows_nothing():
    port = replace(PORT, ipv6=(1,))
    any_six = policy([Group(1, Direction.INGRESS, frozenset({Rule(-1, None, None, Prefix(0, 0, 6))}))], [])
    assert not any_six.allows(port, Connection(6, STRANGER, OWN, 1, 2))
    assert any_six.allows(port, Connection(6, STRANGER, 1, 1, 2, version=6))
    assert not any_six.allows(port, Connection(6, STRANGER, OWN, 1, 2, version=6))


def test_a_connection_that_is_not_of_the_port_has_no_rule():
    anything = Group(1, Direction.INGRESS, frozenset({Rule(-1, None, None, Prefix(0, 0))}))
    assert not policy([anything], []).allows(PORT, Connection(6, STRANGER, OTHER, 1, 2))
    assert policy([anything], []).allows(PORT, Connection(6, STRANGER, OWN, 1, 2))
    assert not policy([anything], []).allows(PORT, Connection(6, OWN, STRANGER, 1, 2))
