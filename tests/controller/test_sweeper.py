"""Which ports a change concerns, and which of their connections are marked."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.conntrack_dump import read_connections
from controller.keys import EntryKey, GroupKey, MemberKey, PortKey
from controller.narrowing import concerned, every_port
from controller.sweeper import marks_of
from flowrules.intent import Direction, Group, GroupMembers, Member, Port, Prefix, PrefixList, Rule
from flowrules.judge import Connection, policy

LINES = """\
tcp,orig=(src=203.0.113.10,dst=172.31.0.4,sport=55336,dport=9000),reply=(src=172.31.0.4,dst=203.0.113.10,sport=9000,\
dport=55336),id=0,zone=3,status=0,mark=1,protoinfo=(state_orig=ESTABLISHED,state_reply=ESTABLISHED,wscale_orig=10)
icmp,orig=(src=203.0.113.10,dst=172.31.0.4,id=77,type=8,code=0),reply=(src=172.31.0.4,dst=203.0.113.10,id=77,type=0,\
code=0),id=0,zone=3,status=0,mark=2
sctp,orig=(src=203.0.113.10,dst=172.31.0.4,sport=0,dport=0),reply=(src=172.31.0.4,dst=203.0.113.10,sport=0,dport=0),\
id=0,zone=3,status=0
47,orig=(src=203.0.113.10,dst=172.31.0.4,sport=0,dport=0),reply=(src=172.31.0.4,dst=203.0.113.10,sport=0,dport=0),\
id=0,zone=3,status=0,mark=3
udp,orig=(src=fd00::1,dst=fd00::2,sport=1,dport=2),reply=(src=fd00::2,dst=fd00::1,sport=2,dport=1),id=0,zone=3,status=0
"""
OUTSIDE, INSIDE = 0xCB00710A, 0xAC1F0004


def test_a_dump_is_read():
    assert list(read_connections(LINES)) == [
        (Connection(6, OUTSIDE, INSIDE, 55336, 9000), True),
        (Connection(1, OUTSIDE, INSIDE, 8, 0, 77), False),
        (Connection(132, OUTSIDE, INSIDE), False),
        (Connection(47, OUTSIDE, INSIDE), True),
        (Connection(17, 0xFD00 << 112 | 1, 0xFD00 << 112 | 2, 1, 2, version=6), False),
    ]


@given(st.text())
def test_whatever_a_switch_says_it_is_read_or_passed_over(text):
    list(read_connections(text))


ADDRESSES = (0x0A000001, 0x0A000002, 0x0A000003)
remotes = st.sampled_from([Prefix(0, 0), Prefix(0x0A000002, 32), GroupMembers(1), GroupMembers(2), PrefixList(1)])
rules = st.builds(Rule, st.sampled_from([-1, 17, 47]), st.none(), st.none(), remotes)


@st.composite
def bridges(draw):
    """The intents of a small bridge, by name."""
    found = {}
    for number, address in enumerate(ADDRESSES[:2], start=10):
        groups = draw(st.sets(st.sampled_from([1, 2, 3]), min_size=1))
        found[PortKey(f"eni-{number}")] = Port(number, number, (address,), 1, tuple(sorted(groups)))
    for number in (1, 2, 3):
        for direction in Direction:
            held = draw(st.frozensets(rules, max_size=2))
            if held:
                found[GroupKey(f"sg-{number}", direction)] = Group(number, direction, held)
            for address in draw(st.sets(st.sampled_from(ADDRESSES))):
                key = MemberKey(f"sg-{number}", "eni", str(address), direction)
                found[key] = Member(GroupMembers(number), Prefix(address, 32), direction)
    for direction in Direction:
        for address in draw(st.sets(st.sampled_from(ADDRESSES))):
            key = EntryKey("pl-1", f"{address}/32", direction)
            found[key] = Member(PrefixList(1), Prefix(address, 32), direction)
    return found


def judged(found):
    rules_of = policy(
        [intent for intent in found.values() if isinstance(intent, Group)],
        [intent for intent in found.values() if isinstance(intent, Member)],
    )
    talks = [Connection(p, a, b) for p in (17, 47) for a in ADDRESSES for b in ADDRESSES if a != b]
    ports = [intent for intent in found.values() if isinstance(intent, Port)]
    return {(port.ofport, talk): rules_of.allows(port, talk) for port in ports for talk in talks}


def kinds(intents):
    """The ports and the groups among them."""
    return [[one for one in intents.values() if isinstance(one, kind)] for kind in (Port, Group)]


@settings(max_examples=300, deadline=None)
@given(bridges(), bridges())
def test_no_port_is_missed_whose_connections_are_judged_otherwise_now(old, new):
    changes = {key: (old.get(key), new.get(key)) for key in old.keys() | new.keys()}
    # A group may change what it refers to together with its members, so both states are looked at.
    result = concerned(changes, *kinds(new))
    before, after = judged(old), judged(new)
    for (port, talk), was in before.items():
        if was and not after[port, talk]:
            assert port in result.narrowed, talk
        if not was and after[port, talk]:
            assert port in result.widened, talk


@given(bridges())
def test_what_stays_as_it_is_concerns_nobody(found):
    result = concerned({key: (intent, intent) for key, intent in found.items()}, *kinds(found))
    assert (result.narrowed, result.widened) == (frozenset(), frozenset())
    assert every_port(kinds(found)[0]).narrowed == {10, 11}


def test_marks_follow_the_rules_and_keeping_only_takes_them_away():
    port = Port(3, 1, (INSIDE,), 1, (1,))
    open_web = policy([Group(1, Direction.INGRESS, frozenset({Rule(6, 80, 80, Prefix(0, 0))}))], [])
    web, mail = Connection(6, OUTSIDE, INSIDE, 999, 80), Connection(6, OUTSIDE, INSIDE, 999, 25)
    found = [(web, True), (mail, False)]
    assert list(marks_of(found, port, open_web, keep=False)) == [(web, 0), (mail, 1)]
    assert list(marks_of(found, port, open_web, keep=True)) == [(web, 0)]
    assert list(marks_of([(web, False), (mail, True)], port, open_web, keep=False)) == []
