"""The walks: every list of every message, with each length wrong in turn, is refused by name."""

import struct

import pytest

from controller.guard import read_frame
from controller.guard_lists import BadFrameError
from flowrules.encode import HEADER

MATCH = struct.pack("!HHIH6x", 1, 10, 0x80000A02, 0x0800)
OUTPUT = struct.pack("!HHIH6x", 0, 16, 1, 0)
BAND = struct.pack("!HHII4x", 1, 16, 1, 1)


def message(kind, body):
    return HEADER.pack(4, kind, 8 + len(body), 7) + body


def statistics(kind, body):
    return message(19, struct.pack("!HH4x", kind, 0) + body)


def flow(match=MATCH, instructions=b"", length=None):
    whole = 48 + len(match) + len(instructions)
    return statistics(1, struct.pack("!H46x", whole if length is None else length) + match + instructions)


def apply(actions, length=None):
    return flow(instructions=struct.pack("!HH4x", 4, 8 + len(actions) if length is None else length) + actions)


def conntrack(inner):
    return struct.pack("!HHIHHIHB5x", 0xFFFF, 24 + len(inner), 0x2320, 35, 0, 0, 0, 0) + inner


def group(buckets):
    return statistics(7, struct.pack("!HxxI", 8 + len(buckets), 1) + buckets)


def bucket(length, actions=OUTPUT):
    return struct.pack("!H14x", length) + actions


def meter(bands):
    return statistics(10, struct.pack("!HHI", 8 + len(bands), 1, 1) + bands)


def table(properties):
    return statistics(12, struct.pack("!H62x", 64 + len(properties)) + properties)


def queue(properties):
    return message(23, struct.pack("!I4xIIH6x", 1, 1, 1, 16 + len(properties)) + properties)


def bundle(properties, kind=3):
    return message(4, struct.pack("!IIIHH", 0x4F4E4600, 2300, 1, kind, 0) + properties)


def nested(depth):
    inner = OUTPUT
    for _ in range(depth):
        inner = conntrack(inner)
    return apply(inner)


GOOD = {
    "flow": flow(),
    "actions": apply(OUTPUT + conntrack(OUTPUT)),
    "four deep": nested(4),
    "buckets": group(bucket(32) * 2),
    "bands": meter(BAND * 2),
    "table properties": table(struct.pack("!HHHHI", 0, 8, 1, 4, 0)[:8] + struct.pack("!HHI", 8, 8, 0x80000004)),
    "queue properties": queue(struct.pack("!HH4xH6x", 1, 16, 5)),
    "bundle properties": bundle(struct.pack("!HHI", 0xFFFF, 8, 1)),
}
BAD = {
    "flow of length zero": (flow(length=0), "flow entry of length 0"),
    "flow that is too long": (flow(length=72), "flow entry of length 72, 64 bytes are left"),
    "flow of an odd length": (flow(length=60), "flow entry of length 60"),
    "match of length zero": (flow(struct.pack("!HH4x", 1, 0)), "match of type 1, length 0"),
    "match of another type": (flow(struct.pack("!HH4x", 0, 8)), "match of type 0, length 8"),
    "match that is too long": (flow(struct.pack("!HH4x", 1, 9)), "match of type 1, length 9"),
    "field of length zero": (flow(struct.pack("!HHI", 1, 8, 0x80000A00)), "match field of 4 bytes"),
    "field of no bytes": (flow(struct.pack("!HHII", 1, 12, 0x00010000, 0) + bytes(4)), "match field of length 0"),
    "field of a wrong size": (flow(struct.pack("!HHI3x5x", 1, 11, 0x80000A03)), "match field 5 of length 3"),
    "field with half a mask": (flow(struct.pack("!HHI3x5x", 1, 11, 0x00010303)), "with mask of length 3"),
    "instruction of length zero": (apply(OUTPUT, 0), "instruction of type 4, length 0"),
    "instruction that is too long": (apply(OUTPUT, 32), "instruction of type 4, length 32"),
    "instruction of no kind": (flow(instructions=struct.pack("!HH4x", 9, 8)), "instruction of type 9"),
    "action of length zero": (apply(struct.pack("!HH12x", 0, 0)), "action of type 0, length 0"),
    "action that is too long": (apply(struct.pack("!HH12x", 0, 24)), "action of type 0, length 24"),
    "action that is misaligned": (apply(struct.pack("!HH12x", 0, 12)), "action of type 0, length 12"),
    "action of no kind": (apply(struct.pack("!HH4x", 99, 8)), "action of type 99"),
    "set-field without room": (apply(struct.pack("!HHI", 25, 8, 0x80001406)), "set-field action of length 8"),
    "action of length zero in an action": (apply(conntrack(struct.pack("!HH4x", 0, 0))), "action of type 0, length 0"),
    "five deep": (nested(6), "actions in actions, 4 deep"),
    "bucket of length zero": (group(bucket(0)), "bucket of length 0"),
    "bucket that is too long": (group(bucket(40)), "bucket of length 40"),
    "bucket that is cut short": (group(bytes(8)), "bucket of 8 bytes"),
    "band of length zero": (meter(struct.pack("!HH12x", 1, 0)), "meter band of type 1, length 0"),
    "band that is too long": (meter(struct.pack("!HH12x", 1, 24)), "meter band of type 1, length 24"),
    "table of length zero": (statistics(12, bytes(64)), "table of length 0"),
    "table property of length zero": (table(bytes(8)), "table property of type 0, length 0"),
    "table property that is too long": (table(struct.pack("!HH4x", 2, 9)), "table property of type 2, length 9"),
    "instruction's name of length zero": (table(struct.pack("!HHHH", 0, 8, 1, 0)), "id in a table property"),
    "field's name cut short": (table(struct.pack("!HHH2x", 8, 6, 0x8000)), "cut short"),
    "queue of length zero": (message(23, bytes(24)), "queue of length 0"),
    "queue property of length zero": (queue(bytes(16)), "queue property of length 0"),
    "bundle property of length zero": (bundle(bytes(8)), "bundle property of type 0, length 0"),
    "bundle request": (bundle(b"", kind=4), "message 2300, kind 4, is not for a switch to send"),
    "another experimenter": (message(4, struct.pack("!II8x", 0x2320, 1)), "experimenter 0x2320 message 1"),
    "experimenter's error cut short": (message(1, struct.pack("!HH", 0xFFFF, 1)), "experimenter error of 12 bytes"),
    "statistics of no kind": (statistics(99, b""), "statistics of kind 99"),
    "statistics of an experimenter": (statistics(0xFFFF, bytes(8)), "statistics of kind 65535"),
    "statistics with flags": (message(19, struct.pack("!HH4x", 1, 2)), "kind 1 with flags 0x2"),
    "description cut short": (statistics(0, bytes(1055)), "statistics of 1055 bytes, not 1056"),
    "half a port": (statistics(13, bytes(63)), "port descriptions: 63 bytes"),
    "packet-in that ends in its match": (message(10, bytes(16) + MATCH[:8] + MATCH[8:]), "ends in its match"),
    "packet-in of more than there was": (message(10, bytes(16) + MATCH + bytes(3)), "packet of 0 bytes with 1"),
    "flow-removed that goes on": (message(11, bytes(40) + MATCH + bytes(8)), "goes on behind its match"),
    "port-status without reason": (message(12, b"\3" + bytes(71)), "port-status with reason 3"),
}


@pytest.mark.parametrize("name", GOOD)
def test_lists_that_add_up_pass(name):
    assert read_frame(GOOD[name]).body == GOOD[name][8:]


@pytest.mark.parametrize("name", BAD)
def test_lists_that_do_not_add_up_are_refused_by_name(name):
    frame, reason = BAD[name]
    with pytest.raises(BadFrameError, match=reason):
        read_frame(frame)
