"""Tables and pipeline state are declared once, and every flow keeps to the declaration."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrules import fields as f
from flowrules import tables as t
from flowrules.actions import Ct, Load, Resubmit
from flowrules.addresses import ROUTER_MAC, elastic_ip_mac
from flowrules.compiler import ConflictError, compile_all, compile_intent
from flowrules.flow import flow, match
from flowrules.intent import (
    ANYWHERE,
    Bridge,
    Direction,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Ipv6Bridge,
    Local,
    Member,
    Neighbour,
    Network,
    Port,
    Prefix,
    PrefixList,
    Remote,
    Rule,
)

_ofports = st.integers(1, 0xFEFF)
_numbers = st.integers(1, (1 << 31) - 1)
_addresses = st.integers(1, (1 << 32) - 2)
_macs = st.integers(1, (1 << 48) - 1)
_vlans = st.none() | st.integers(1, 4094)
_ipv4_prefixes = st.builds(
    lambda address, length: Prefix(address & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF, length),
    _addresses,
    st.integers(0, 32),
)
_six = st.integers(1, (1 << 128) - 2)
_prefixes = _ipv4_prefixes | st.builds(
    lambda address, length: Prefix(address >> (128 - length) << (128 - length), length, 6), _six, st.integers(0, 128)
)
_remotes = _prefixes | st.builds(GroupMembers, _numbers) | st.builds(PrefixList, _numbers, st.sampled_from([4, 6]))
_spans = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted)
_rules = st.builds(
    lambda protocol, span, remote: Rule(protocol, *span, remote), st.sampled_from([6, 17]), _spans, _remotes
) | st.builds(Rule, st.integers(-1, 255), st.none(), st.none(), _remotes)
_directions = st.sampled_from(Direction)
_groups = st.lists(_numbers, max_size=5, unique=True).map(lambda numbers: tuple(sorted(numbers)))
_INTENTS = st.one_of(
    st.builds(Bridge, st.none() | _ofports, st.none() | _ofports),
    st.just(Ipv6Bridge()),
    st.builds(
        Port, _ofports, _macs, st.tuples(_addresses), _numbers, _groups, st.booleans(), st.tuples() | st.tuples(_six)
    ),
    st.builds(Neighbour, _numbers, _six, _macs, st.builds(Local, _ofports), st.booleans(), st.just(6)),
    st.builds(
        Neighbour,
        _numbers,
        _addresses,
        _macs,
        st.none() | st.builds(Local, _ofports) | st.builds(Remote, _ofports, _vlans),
        st.booleans(),
    ),
    st.builds(Network, _numbers, _ipv4_prefixes, _vlans),
    st.builds(Gateway, _numbers, _addresses, st.none() | _six),
    st.builds(Group, _numbers, _directions, st.frozensets(_rules, max_size=5), st.booleans()),
    st.builds(Member, _remotes, _prefixes, _directions),
    st.builds(ElasticIp, _addresses, _addresses, _ofports, _macs, _numbers, _macs),
)


@given(_INTENTS)
def test_every_flow_keeps_to_its_table(intent):
    for one in compile_intent(intent):
        t.check(one)


@given(_INTENTS)
def test_a_fragment_never_contradicts_itself(intent):
    flows = compile_intent(intent)
    assert len({one.key for one in flows}) == len(flows)
    assert list(compile_all([intent, intent]).values()) == list(flows)


def test_contradicting_objects_are_refused():
    ports = [Port(1, mac, (0x0A000001,), 1, ()) for mac in (1, 2)]
    gateways = [Neighbour(1, 0x0A000001, mac, None, routed=False) for mac in (1, 2)]
    compile_all(ports)
    with pytest.raises(ConflictError):
        compile_all(gateways)


def test_tables_lead_onward_only():
    """No packet can run in circles: only the router, the hairpin and solicitations go back, each once.

    The repair of outgoing ICMP errors has a lower number than what comes before it, and goes on to higher ones only.
    """
    back = {
        (table.number, target) for table in t.TABLES.values() for target in table.leads_to if target <= table.number
    }
    assert back == {(t.ROUTE, t.ROUTE), (t.ND, t.ND), (t.HAIRPIN, t.EXTERNAL_IN), (t.ELASTIC_OUT, t.ICMP_OUT)}
    assert {target for table in t.TABLES.values() for target in table.leads_to} <= t.TABLES.keys()


def test_every_table_is_named_once_and_reached():
    assert len({table.name for table in t.TABLES.values()}) == len(t.TABLES)
    reached = {target for table in t.TABLES.values() for target in table.leads_to}
    assert t.TABLES.keys() - reached == {t.CLASSIFY}


def test_strays_are_refused():
    ipv4 = match(f.ETH_TYPE, f.EtherType.IPV4)
    for stray in (
        flow(99, 1, (), []),
        flow(t.OUTPUT, 1, [ipv4], []),
        flow(t.CLASSIFY, 1, (), [Resubmit(t.OUTPUT)]),
        flow(t.ARP, 1, (), [Ct(zone=f.SOURCE_ZONE, table=t.EGRESS_STATE)]),
    ):
        with pytest.raises(t.UndeclaredFlowError):
            t.check(stray)


def test_pipeline_state_does_not_overlap():
    pieces = [piece for _, piece, _ in f.PIPELINE_STATE]
    for one, other in combinations(pieces, 2):
        assert one.field != other.field or not one.mask & other.mask
    names = [piece.field.name for piece in pieces]
    # xreg4 is reg8 and reg9.
    assert "xreg4" in names and not {"reg8", "reg9"} & set(names)
    assert all(piece.offset + piece.bits <= piece.field.bits for piece in pieces)


@given(_INTENTS)
def test_only_named_state_is_written(intent):
    named = [piece for _, piece, _ in f.PIPELINE_STATE]
    for one in compile_intent(intent):
        loads = [action for action in one.actions if isinstance(action, Load)]
        loads += [action.mark for action in one.actions if isinstance(action, Ct) and action.mark]
        for load in loads:
            assert load.target in named or load.target == f.NXM_IN_PORT.whole
            assert 0 <= load.value < 1 << load.target.bits


@given(_addresses, _addresses)
def test_macs_of_elastic_ips(one, other):
    """Each its own, none the router's, all locally administered and unicast."""
    mac = elastic_ip_mac(one)
    assert (mac == elastic_ip_mac(other)) == (one == other)
    assert mac != ROUTER_MAC
    assert mac >> 40 & 0b11 == 0b10


def test_anywhere_needs_no_lookup():
    (one,) = compile_intent(Group(1, Direction.INGRESS, frozenset({Rule(-1, None, None, ANYWHERE)})))
    assert one.actions == (Load(f.VERDICT, 1),)
