"""Our side of the benchmark's policy: what is counted beside the peer."""

from benchmarks.policy import Policy, our_flows
from flowrules import tables


def count(ports, local, elastic):
    return len(our_flows(Policy(ports, local, elastic)))


def test_flows_are_a_sum_and_not_a_product():
    one = count(1, 1, 0)
    local, stranger, elastic = count(2, 2, 0) - one, count(2, 1, 0) - one, count(1, 1, 1) - one
    assert elastic == 4
    assert local > stranger
    assert count(200, 100, 100) == one + 99 * local + 100 * stranger + 100 * elastic
    # The peer needs 8,112 (OVN 23.03) for the same policy; a quarter of that is what we allow ourselves.
    assert count(200, 100, 100) <= 2000


def test_every_flow_keeps_to_its_table():
    for flow in our_flows(Policy(20, 10, 5)):
        tables.check(flow)
