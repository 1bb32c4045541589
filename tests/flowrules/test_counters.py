"""What a switch has counted, read from bytes laid out by hand after OpenFlow 1.3.5, 7.3.5.2."""

import struct

import pytest

from flowrules import fields, tables
from flowrules.compiler import compile_intent
from flowrules.counters import FlowCount, decode_flow_counts, elastic_direction
from flowrules.decode import DecodeError, InstalledFlow
from flowrules.flow import flow, match
from flowrules.intent import ElasticIp
from flowrules.oxm import encode_match


def entry(table, seconds, priority, cookie, packets, size, tests):
    tail = encode_match(tests)
    tail = struct.pack("!HH", 1, 4 + len(tail)) + tail
    tail += bytes(-len(tail) % 8)
    times = struct.pack("!IIHHHH4x", seconds, 999, priority, 0, 0, 0)
    return struct.pack("!HBx", 48 + len(tail), table) + times + struct.pack("!QQQ", cookie, packets, size) + tail


def test_age_packets_and_bytes_of_each_flow():
    narrow, wide = [match(fields.REG0, 7)], [match(fields.IN_PORT, 1), match(fields.ETH_SRC, 5)]
    body = entry(21, 3600, 300, 11, 5, 7000, narrow) + entry(50, 2, 1, 12, 1 << 40, 1 << 50, wide)
    assert decode_flow_counts(body) == [
        FlowCount(InstalledFlow(21, 300, 11, encode_match(narrow)), 3600, 5, 7000),
        FlowCount(InstalledFlow(50, 1, 12, encode_match(wide)), 2, 1 << 40, 1 << 50),
    ]
    with pytest.raises(DecodeError):
        decode_flow_counts(body[:-1])


def test_one_flow_of_an_elastic_ip_counts_each_way():
    found = compile_intent(ElasticIp(0xCB007105, 0x0A000001, 7, 0x020000000001, 3, 0x020000000002))
    counted = {one.table: elastic_direction(one) for one in found if elastic_direction(one)}
    assert counted == {tables.EXTERNAL_IN: "in", tables.ELASTIC_OUT: "out"}
    assert sum(elastic_direction(one) is not None for one in found) == 2


@pytest.mark.parametrize(
    "tests",
    [[], [match(fields.ETH_TYPE, fields.EtherType.ARP)], [match(fields.ARP_OP, fields.EtherType.IPV4)]],
    ids=["all", "ARP", "another field of that value"],
)
def test_what_is_not_ip_is_not_counted(tests):
    assert elastic_direction(flow(tables.EXTERNAL_IN, 1, tests, [])) is None
