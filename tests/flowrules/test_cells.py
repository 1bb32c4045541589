"""For every packet the most specific cell says exactly what the rules say together."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrules.cells import Cell, cells, port_blocks
from flowrules.fields import IpProtocol
from flowrules.intent import ANYWHERE, GroupMembers, Prefix, Rule

ICMPV6 = IpProtocol.ICMPV6
ICMP, TCP, UDP, GRE, SCTP = IpProtocol.ICMP, IpProtocol.TCP, IpProtocol.UDP, 47, IpProtocol.SCTP

_ports = st.sampled_from([0, 1, 2, 7, 8, 22, 80, 443, 1023, 1024, 32767, 32768, 65534, 65535]) | st.integers(0, 65535)
_remotes = st.sampled_from([ANYWHERE, Prefix(0x0A000000, 8), Prefix(0xC6336407, 32), GroupMembers(1), GroupMembers(2)])
_ranges = st.tuples(_ports, _ports).map(sorted)
_rules = (
    st.builds(Rule, st.sampled_from([-1, ICMP, ICMPV6, TCP, UDP, GRE, SCTP]), st.none(), st.none(), _remotes)
    | st.builds(
        lambda protocol, span, remote: Rule(protocol, *span, remote), st.sampled_from([TCP, UDP]), _ranges, _remotes
    )
    | st.builds(
        lambda protocol, kind, code, remote: Rule(protocol, kind, code if kind >= 0 else -1, remote),
        st.sampled_from([ICMP, ICMPV6]),
        st.integers(-1, 3),
        st.integers(-1, 2),
        _remotes,
    )
)
_rule_sets = st.frozensets(_rules, max_size=8)


def covers(rule, packet):
    """Does the rule speak of the packet?  In EC2's words, without a thought of cells."""
    protocol, first, second = packet
    if rule.protocol not in (IpProtocol.ANY, protocol):
        return False
    if rule.protocol == IpProtocol.ANY or rule.first is None:
        return True
    if protocol in (ICMP, ICMPV6):
        return rule.first == -1 or (rule.first == first and rule.last in (-1, second))
    return rule.first <= first <= rule.last


def matches(cell, packet):
    protocol, first, second = packet
    if cell.protocol == IpProtocol.ANY:
        return True
    if cell.protocol != protocol:
        return False
    if cell.first is None:
        return True
    if protocol in (ICMP, ICMPV6):
        return cell.first == first and cell.second in (None, second)
    return first & cell.second == cell.first


def packets(rules):
    """Both sides of every edge, and what no rule names."""
    edges = {edge for rule in rules if rule.first is not None for edge in (rule.first, rule.last)}
    ports = {edge + step for edge in edges | {0, 80, 65535} for step in (-1, 0, 1)}
    for port in sorted(port for port in ports if 0 <= port <= 65535):
        yield (TCP, port, 0)
        yield (UDP, port, 0)
    for kind in range(5):
        for code in range(4):
            yield (ICMP, kind, code)
            yield (ICMPV6, kind, code)
    yield from ((protocol, 0, 0) for protocol in (GRE, SCTP, 50, 112, 0, 255))


def told(rules):
    """What remotes stand for: ANYWHERE leaves nothing to be added."""
    remotes = {rule.remote for rule in rules}
    return {ANYWHERE} if ANYWHERE in remotes else remotes


def let_to(rules, port):
    """Whom the rules let to a TCP port, by the rules alone."""
    return told(rule for rule in rules if rule.first <= port <= rule.last)


@settings(max_examples=80)
@given(
    st.lists(st.builds(lambda span, remote: Rule(TCP, *span, remote), _ranges, _remotes), min_size=1, max_size=60).map(
        frozenset
    )
)
def test_blocks_of_ports_are_disjoint_and_no_more_than_neighbours_that_differ_need(rules):
    whole = told(rule for rule in rules if (rule.first, rule.last) == (0, 65535))
    edges = sorted({0, 65536, *(rule.first for rule in rules), *(rule.last + 1 for rule in rules)})
    spans = [[first, last, let_to(rules, first)] for first, last in pairwise(edges)]
    merged = [spans[0]]
    for span in spans[1:]:
        if span[2] == merged[-1][2]:
            merged[-1][1] = span[1]
        else:
            merged.append(span)
    expected = {
        Cell(TCP, *block): remotes
        for first, end, remotes in merged
        if remotes != whole
        for block in port_blocks(first, end - 1)
    }
    found = cells(rules)
    assert {cell: remotes for cell, remotes in found.items() if cell.second is not None} == expected


@given(_rule_sets)
def test_the_most_specific_cell_says_it_all(rules):
    found = cells(rules)
    for packet in packets(rules):
        hits = sorted((cell for cell in found if matches(cell, packet)), key=lambda cell: cell.specificity)
        assert len({cell.specificity for cell in hits}) == len(hits), "two cells of one rank"
        assert (found[hits[-1]] if hits else set()) == told(rule for rule in rules if covers(rule, packet)), packet


@given(_rule_sets)
def test_no_cell_is_idle(rules):
    """A cell says something, and something else than the next wider cell around it would."""
    found = cells(rules)
    for cell, remotes in found.items():
        assert remotes
        packet = (cell.protocol, cell.first or 0, cell.second or 0)
        wider = [
            other
            for other in found
            if other.specificity < cell.specificity and (other.protocol == IpProtocol.ANY or matches(other, packet))
        ]
        assert not wider or found[max(wider, key=lambda other: other.specificity)] != remotes


@given(_rule_sets, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(rules, order):
    shuffled = [*rules, *rules]
    order.shuffle(shuffled)
    assert cells(shuffled) == cells(rules)


@given(st.lists(_ranges, max_size=5))
def test_equal_neighbours_are_one_range(spans):
    """However ranges of one remote overlap or adjoin, their blocks are those of the ports that they cover."""
    rules = [Rule(TCP, first, last, GroupMembers(1)) for first, last in spans]
    covered, expected = sorted(spans), set()
    merged = []
    for first, last in covered:
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    for first, last in merged:
        whole = (first, last) == (0, 65535)
        expected |= {Cell(TCP)} if whole else {Cell(TCP, *block) for block in port_blocks(first, last)}
    found = cells(rules)
    if [0, 65535] in merged and [0, 65535] not in [list(span) for span in spans]:
        # Ranges that make up all ports together are as good as blocks.
        assert {port for cell in found for port in ports_of(cell)} == set(range(65536))
    else:
        assert found.keys() == expected


def ports_of(cell):
    return range(cell.first, cell.first + (0x10000 - cell.second))


@settings(max_examples=60)
@given(_ranges)
def test_blocks_cover_a_range_exactly_once(span):
    first, last = span
    blocks = list(port_blocks(first, last))
    ports = [port for value, mask in blocks for port in ports_of(Cell(TCP, value, mask))]
    assert sorted(ports) == list(range(first, last + 1))
    assert all(value & mask == value for value, mask in blocks)


@settings(max_examples=60)
@given(_ranges)
def test_blocks_are_the_fewest(span):
    """No two blocks could be one, and there are at most two of each size: no set of blocks is smaller."""
    blocks = list(port_blocks(*span))
    for (value, mask), (other, its_mask) in combinations(blocks, 2):
        parent = mask << 1 & 0xFFFF
        assert mask != its_mask or value & parent != other & parent
    masks = [mask for _, mask in blocks]
    assert all(masks.count(mask) <= 2 for mask in masks)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], {}),
        ([Rule(-1, None, None, ANYWHERE), Rule(TCP, 80, 80, GroupMembers(1))], {Cell(-1): {ANYWHERE}}),
        (
            [Rule(TCP, 80, 81, GroupMembers(1)), Rule(TCP, 81, 82, GroupMembers(2))],
            {
                Cell(TCP, 80, 0xFFFF): {GroupMembers(1)},
                Cell(TCP, 81, 0xFFFF): {GroupMembers(1), GroupMembers(2)},
                Cell(TCP, 82, 0xFFFF): {GroupMembers(2)},
            },
        ),
        (
            [Rule(TCP, None, None, GroupMembers(1)), Rule(TCP, 80, 80, ANYWHERE)],
            {Cell(TCP): {GroupMembers(1)}, Cell(TCP, 80, 0xFFFF): {ANYWHERE}},
        ),
        ([Rule(TCP, 0, 65535, GroupMembers(1))], {Cell(TCP): {GroupMembers(1)}}),
        (
            [Rule(ICMP, 3, -1, GroupMembers(1)), Rule(ICMP, 3, 4, ANYWHERE)],
            {Cell(ICMP, 3): {GroupMembers(1)}, Cell(ICMP, 3, 4): {ANYWHERE}},
        ),
    ],
)
def test_examples(rules, expected):
    assert cells(rules) == expected
