"""What flows have counted, read from the answers to :func:`flowrules.encode.flow_stats_request`."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from flowrules.decode import InstalledFlow, decode_flow_stats
from flowrules.fields import ETH_TYPE, EtherType
from flowrules.flow import Flow
from flowrules.tables import ELASTIC_OUT, EXTERNAL_IN

#: length, seconds of age, packets and bytes of one ``struct ofp_flow_stats`` (OpenFlow 1.3.5, 7.3.5.2).
_ENTRY = Struct("!H2xI24xQQ")


class FlowCount(NamedTuple):
    """A flow, its age in whole seconds, and the packets and bytes (whole Ethernet frames) that it has matched."""

    flow: InstalledFlow
    age: int
    packets: int
    bytes: int


def decode_flow_counts(body: bytes) -> list[FlowCount]:
    """Read the body of one ``OFPMP_FLOW`` reply; raises :class:`flowrules.decode.DecodeError`."""
    counts = []
    offset = 0
    for flow in decode_flow_stats(body):
        length, age, packets, size = _ENTRY.unpack_from(body, offset)
        counts.append(FlowCount(flow, age, packets, size))
        offset += length
    return counts


def elastic_direction(flow: Flow) -> str | None:
    """Tell which packets of an elastic IP a flow of its fragment counts: all that go ``in``, ``out``, or None."""
    if flow.table == ELASTIC_OUT:
        return "out"
    is_ip = any(item.field is ETH_TYPE and item.value == EtherType.IPV4 for item in flow.matches)
    return "in" if flow.table == EXTERNAL_IN and is_ip else None
