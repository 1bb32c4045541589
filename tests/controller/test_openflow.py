"""The session against a real switch: all or nothing, what was sent is there, silence is not success."""

import socket

import eventlet
import pytest

from controller.openflow import OpenFlowSession, OutcomeUnknownError
from controller.openflow_errors import ApplyError
from flowrules import fields
from flowrules.actions import Load, Output, Resubmit, SetField
from flowrules.compiler import compile_intent
from flowrules.diff import as_installed, encode_delete
from flowrules.document import example
from flowrules.encode import HEADER, flow_add
from flowrules.flow import OWNER_TAG, flow, match
from flowrules.live import compare
from flowrules.meters import meter_add


def some_flows(count):
    return [
        flow(22, 100, [match(fields.REG3, number)], [Load(fields.REMOTE_SET, number), Resubmit(24)])
        for number in range(count)
    ]


def test_twenty_thousand_flows_arrive_and_are_read_back(session, private_ovs, bridge):
    flows = some_flows(20_000)
    session.apply([], [flow_add(item) for item in flows])
    assert private_ovs.flow_count(bridge) == 20_000
    dumped = session.dump()
    assert sorted(dumped) == sorted(as_installed(item) for item in flows)
    session.apply([encode_delete(item) for item in dumped[:19_999]], [])
    assert session.dump() == dumped[19_999:]


def test_dump_can_be_narrowed_to_an_owner(session):
    ours = some_flows(3)
    stranger = flow(1, 1, [], [])._replace(cookie=7)
    session.apply([], [flow_add(item) for item in [*ours, stranger]])
    assert len(session.dump()) == 4
    assert sorted(session.dump(OWNER_TAG << 48, 0xFFFF << 48)) == sorted(as_installed(item) for item in ours)


def test_a_delete_and_its_replacement_in_one_change(session):
    old, new = some_flows(2)
    session.apply([], [flow_add(old)])
    session.apply([encode_delete(as_installed(old))], [flow_add(new)])
    assert session.dump() == [as_installed(new)]


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        # Refused when it is added to the bundle: an address is set without the test that it is IP.
        (flow(1, 1, [match(fields.REG0, 1)], [SetField(fields.IPV4_DST, 1)]), "OFPBAC_MATCH_INCONSISTENT"),
        # Refused as well: a field whose prerequisite is missing.
        (flow(1, 1, [match(fields.TCP_DST, 80)], []), "OFPBMC_BAD_PREREQ"),
        # No such table on any switch.
        (flow(255, 1, [], [Output(1)]), "OFPFMFC_BAD_TABLE_ID"),
    ],
)
def test_one_bad_flow_and_nothing_is_applied(session, bad, name):
    before = some_flows(2)
    session.apply([], [flow_add(item) for item in before])
    messages = [flow_add(item) for item in some_flows(50)[2:]]
    messages.insert(16, flow_add(bad))
    with pytest.raises(ApplyError, match=f"flow-mod 17 was refused: {name}") as caught:
        session.apply([encode_delete(as_installed(before[0]))], messages)
    assert caught.value.refusals[0].message == flow_add(bad)
    assert sorted(session.dump()) == sorted(as_installed(item) for item in before)
    session.apply([], [flow_add(item) for item in some_flows(3)])
    assert len(session.dump()) == 3


def test_a_refusal_at_the_commit_names_the_flow(session, private_ovs, bridge):
    limit = ("overflow_policy=refuse", "flow_limit=5")
    private_ovs.vsctl(
        "--", "--id=@t", "create", "Flow_Table", *limit, "--", "set", "bridge", bridge, "flow_tables:22=@t"
    )
    with pytest.raises(ApplyError, match="flow-mod 5 was refused: OFPFMFC_TABLE_FULL"):
        session.apply([], [flow_add(item) for item in some_flows(8)])
    assert session.dump() == []


def test_twenty_five_thousand_flow_mods_are_all_or_nothing(session):
    before = some_flows(3)
    session.apply([], [flow_add(item) for item in before])
    messages = [flow_add(item) for item in some_flows(25_000)]
    messages.append(flow_add(flow(255, 1, [], [])))
    with pytest.raises(ApplyError, match="flow-mod 25001 was refused"):
        session.apply([encode_delete(as_installed(before[0]))], messages)
    assert sorted(session.dump()) == sorted(as_installed(item) for item in before)


def test_zones_are_flushed(session):
    session.flush_zone(7)
    session.flush_zone(*range(1, 200))
    session.flush_zone()


def test_a_connection_cut_in_the_middle_leaves_the_outcome_unknown(session, ryu_server):
    datapath = ryu_server.ready()
    messages = [flow_add(item) for item in some_flows(10_000)]

    def cut():
        eventlet.sleep(0.05)
        datapath.socket.shutdown(socket.SHUT_RDWR)
        # As the application does when Ryu reports the datapath dead.
        ryu_server.wait(lambda: not datapath.is_active, "the connection to end")
        session.close()

    eventlet.spawn(cut)
    with pytest.raises(OutcomeUnknownError, match="connection lost"):
        for _ in range(100):
            session.apply([], messages)
    with pytest.raises(OutcomeUnknownError, match="connection lost"):
        session.dump()


@pytest.fixture
def mute(ryu_server, mute_switch):
    peer = mute_switch(ryu_server.port)
    yield peer
    peer.socket.close()


def test_silence_leaves_the_outcome_unknown(ryu_server, mute):
    session = OpenFlowSession(ryu_server.wait(ryu_server.ready, "a handshake"), timeout=0.2)
    assert session.dpid == 0xD0
    for request in (session.dump, lambda: session.apply([], [flow_add(flow(1, 1, [], []))])):
        with pytest.raises(OutcomeUnknownError, match=r"no answer within 0.2"):
            request()
    session.close()


def test_a_barrier_without_an_acknowledged_commit_is_not_success(ryu_server, mute):
    session = OpenFlowSession(ryu_server.wait(ryu_server.ready, "a handshake"))

    def acknowledge():
        for _ in range(2):
            mute.answer(20, lambda xid: HEADER.pack(4, 21, 8, xid))

    eventlet.spawn(acknowledge)
    with pytest.raises(OutcomeUnknownError, match="was not acknowledged"):
        session.apply([], [flow_add(item) for item in some_flows(2)])
    session.close()


def test_one_flow_mod_takes_one_message_and_one_barrier(ryu_server, mute):
    session = OpenFlowSession(ryu_server.wait(ryu_server.ready, "a handshake"))
    seen = []

    def acknowledge():
        for kind in (14, 20):  # OFPT_FLOW_MOD, OFPT_BARRIER_REQUEST
            _, found, length, xid = HEADER.unpack(mute.read(8))
            mute.read(length - 8)
            seen.append((found, kind))
        mute.socket.sendall(HEADER.pack(4, 21, 8, xid))

    eventlet.spawn(acknowledge)
    session.apply([], [flow_add(item) for item in some_flows(1)])
    assert seen == [(14, 14), (20, 20)]
    session.close()


def test_one_flow_mod_is_applied_or_refused(session):
    (one,) = some_flows(1)
    session.apply([], [flow_add(one)])
    assert session.dump() == [as_installed(one)]
    with pytest.raises(ApplyError, match="flow-mod 0 was refused: OFPFMFC_BAD_TABLE_ID") as caught:
        session.apply([], [flow_add(flow(255, 1, [], []))])
    assert caught.value.refusals[0].message == flow_add(flow(255, 1, [], []))
    session.apply([encode_delete(as_installed(one))], [])
    assert session.dump() == []


@pytest.mark.parametrize(
    "statistics",
    [
        [b"\0\x01\0\x01" + bytes(4)],
        [b"\0\x01\0\0" + bytes(4), b"\0\x01\0\0" + bytes(4)],
        [b"\0\x03\0\0" + bytes(4)],
        [],
    ],
    ids=["no end", "two ends", "another kind", "none"],
)
def test_a_dump_that_makes_no_sense_closes_the_connection(ryu_server, mute, statistics):
    datapath = ryu_server.wait(ryu_server.ready, "a handshake")
    session = OpenFlowSession(datapath)

    def answer():
        mute.answer(
            18, lambda xid: b"".join(HEADER.pack(4, 19, 8 + len(body), xid) + body for body in statistics) or b""
        )
        mute.answer(20, lambda xid: HEADER.pack(4, 21, 8, xid))

    eventlet.spawn(answer)
    with pytest.raises(OutcomeUnknownError, match="makes no sense"):
        session.dump()
    mute.socket.close()
    ryu_server.wait(lambda: not datapath.is_active, "the connection to end")


def test_two_changes_at_once_keep_their_order(session):
    one, two = ([flow_add(item) for item in some_flows(4_000)[part]] for part in (slice(0, 2_000), slice(2_000, None)))
    threads = [eventlet.spawn(session.apply, [], part) for part in (one, two)]
    dumping = eventlet.spawn(session.dump)
    for thread in threads:
        thread.wait()
    assert len(dumping.wait()) in (0, 2_000, 4_000), "a dump sees whole bundles"
    assert len(session.dump()) == 4_000


def with_meters(session, flows):
    """Give the switch the meters that the flows name; returns the flows by key."""
    wanted = {flow.meter for flow in flows if flow.meter} - set(session.meters())
    session.set_meters([meter_add(meter) for meter in wanted])
    return {flow.key: flow for flow in flows}


def test_live_flows_come_back_as_they_were_sent(session):
    """What the audit relies on: Open vSwitch gives every action of ours back as we wrote it."""
    flows = with_meters(session, [flow for intent in example() for flow in compile_intent(intent)])
    session.apply([], [flow_add(flow) for flow in flows.values()])
    live = [flow for part in session.dump_live() for flow in part]
    assert compare(flows, live) == []
    assert len(live) == len(flows)


def test_what_was_done_behind_our_back_is_named(session, private_ovs, bridge):
    flows = with_meters(session, [flow for intent in example() for flow in compile_intent(intent)])
    session.apply([], [flow_add(flow) for flow in flows.values()])

    def ofctl(*words):
        private_ovs.run("ovs-ofctl", "-OOpenFlow13", words[0], bridge, *words[1:])

    ofctl("mod-flows", "table=45,actions=drop")
    ofctl("del-flows", "table=50,priority=1", "--strict")
    ofctl("add-flow", "table=50,priority=7,actions=drop")
    ofctl("add-flow", "table=50,priority=8,cookie=0x51ce000000000001,actions=drop")
    found = compare(flows, [flow for part in session.dump_live() for flow in part])
    named = sorted((one.change.value, (one.wanted or one.live).table) for one in found)
    altered = [("altered flow", 45)] * sum(flow.table == 45 and bool(flow.actions) for flow in flows.values())
    assert named == [*altered, ("extra flow", 50), ("foreign flow", 50), ("missing flow", 50)]


def test_ports_by_name(session, private_ovs, bridge):
    port = ("--", "set", "interface", "p7", "type=dummy", "ofport_request=7")
    private_ovs.vsctl("add-port", bridge, "p7", *port)
    assert session.ports()["p7"] == 7
