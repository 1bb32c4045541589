"""Packets before the controller: from a real switch and back into it, below meters, in queues that end."""

import struct

import eventlet
import pytest

from controller.meters import BridgeMeters
from controller.openflow_errors import ApplyError
from controller.packet_in import DEPTH, PacketQueue, Unanswerable
from flowrules import fields
from flowrules.actions import Load, Output, Resubmit, ToController
from flowrules.encode import flow_add
from flowrules.flow import flow, match
from flowrules.meters import Meter, meter_add, meter_delete, sent_by, sent_to
from flowrules.packet_in import FROM_CONTROLLER, packet_out

TABLE = 9
FRAME = bytes.fromhex("0200000000010200000000029000") + b"a frame of 60 bytes, at the least, as Ethernet has it"


@pytest.fixture
def queue():
    """Makes queues and ends them."""
    made = []

    def make(handlers):
        made.append(PacketQueue("hv1", lambda: "the index", handlers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def settle(condition):
    with eventlet.Timeout(10):
        while not condition():
            eventlet.sleep(0.005)


def punt(session, meter=None):
    """Show the controller everything that enters the pipeline, with a register set before."""
    if meter is not None:
        session.set_meters([meter_add(meter)])
    above = flow(0, 1, [], [Load(fields.SOURCE_PORT, 3), Load(fields.FROM_FABRIC, 1), Resubmit(TABLE)])
    session.apply([], [flow_add(flow(TABLE, 1, [], [ToController()], meter)), flow_add(above)])


def into_pipeline(session):
    session.emit(packet_out([Resubmit(0)], FRAME))


def test_a_switch_shows_a_packet_and_gets_it_back(session, queue, private_ovs, bridge):
    seen = []

    def handler(index, host, packet):
        seen.append((index, host, packet))
        return [packet_out([Load(fields.DESTINATION_PORT, 7), Resubmit(TABLE)], packet.frame)] if len(seen) == 1 else []

    packets = queue({TABLE: handler})
    session.on_packet_in(packets.offer)
    punt(session, sent_by(3))
    into_pipeline(session)
    settle(lambda: packets.counters["answered"] == 2)
    (index, host, first), (_, _, second) = seen
    assert (index, host) == ("the index", "hv1")
    assert (first.table, first.frame, first.in_port) == (TABLE, FRAME, FROM_CONTROLLER)
    assert first.get(fields.SOURCE_PORT) == 3
    assert first.get(fields.FROM_FABRIC) == 1
    assert second.frame == FRAME, "the packet has come round"
    assert second.get(fields.DESTINATION_PORT) == 7
    session.set_meters([meter_delete(sent_by(3))])


def test_a_meter_bounds_what_arrives(session, queue):
    packets = queue({TABLE: lambda *_: []})
    session.on_packet_in(packets.offer)
    meter = Meter(sent_by(3).id, 1, 10)
    punt(session, meter)
    for _ in range(300):
        into_pipeline(session)
    session.dump()
    settle(lambda: packets.counters["answered"] >= 5)
    assert packets.counters["packet_ins"] <= 30
    session.set_meters([meter_delete(meter)])


def test_a_full_queue_drops_and_counts_and_nobody_waits(queue):
    packets = queue({TABLE: lambda *_: []})
    one = struct.pack("!IHBBQHH4x", 0xFFFFFFFF, 0, 1, TABLE, 0, 1, 4) + b"\0\0"
    for _ in range(DEPTH + 100):
        packets.offer(None, one)
    assert packets.counters["dropped"] == 100
    settle(lambda: packets.counters["answered"] == DEPTH)


def test_what_cannot_be_answered_is_counted_and_the_next_one_is_handled(queue):
    answers = iter([Unanswerable("no"), KeyError("a fault of ours"), None])

    def handler(*_):
        answer = next(answers)
        if answer:
            raise answer
        return []

    packets = queue({TABLE: handler})
    one = struct.pack("!IHBBQHH4x", 0xFFFFFFFF, 0, 1, TABLE, 0, 1, 4) + b"\0\0"
    other_table = one[:7] + b"\x01" + one[8:]
    ttl_ran_out = one[:6] + b"\x02" + one[7:]
    for body in (b"", other_table, ttl_ran_out, one, one, one):
        packets.offer(None, body)
    settle(lambda: packets.counters["answered"] == 1)
    assert packets.counters["refused"] == 5


def test_meters_come_change_and_go_and_are_read_back(session):
    meters = BridgeMeters()
    meters.read(session)
    meters.prepare(session, [sent_by(3), sent_to(3)])
    assert sorted(session.meters(), key=lambda meter: meter.id) == [sent_by(3), sent_to(3)]
    assert meters.mods == 2

    after_restart = BridgeMeters()
    after_restart.read(session)
    after_restart.prepare(session, [sent_by(3), sent_to(3)])
    after_restart.prune(session, [sent_by(3), sent_to(3)])
    assert after_restart.mods == 0, "unchanged, so nothing is sent"

    faster = Meter(sent_by(3).id, 7, 8)
    after_restart.prepare(session, [faster])
    assert faster in session.meters()
    after_restart.prune(session, [])
    assert session.meters() == []
    assert after_restart.mods == 3


def test_meters_of_others_stay(session):
    stranger = Meter(0x40000, 5, 5)
    session.set_meters([meter_add(stranger)])
    meters = BridgeMeters()
    meters.read(session)
    meters.prune(session, [])
    assert session.meters() == [stranger]
    session.set_meters([meter_delete(stranger)])


def test_a_refused_meter_is_named(session):
    session.set_meters([meter_add(sent_by(3))])
    with pytest.raises(ApplyError, match="METER_EXISTS"):
        session.set_meters([meter_add(sent_by(3))])
    with pytest.raises(ApplyError):
        session.apply([], [flow_add(flow(TABLE, 1, [match(fields.REG0, 4)], [Output(1)], sent_by(4)))])
    session.set_meters([meter_delete(sent_by(3))])
