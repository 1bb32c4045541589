"""What the controller's session would make of the frames that it is given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from struct import unpack_from

from controller.guard import Frame
from controller.openflow import decode_ports
from controller.openflow_errors import read_refusal
from flowrules.counters import decode_flow_counts
from flowrules.decode import DecodeError, decode_flow_stats
from flowrules.encode import MULTIPART_FLOW, MessageType
from flowrules.live import compare, decode_live_flows, live_text
from flowrules.meters import MULTIPART_METER_CONFIG, decode_meter_config
from flowrules.packet_in import decode_packet_in

_PORT_DESCRIPTIONS = 13


def _flows(body: bytes) -> None:
    decode_flow_stats(body)
    decode_flow_counts(body)
    live = decode_live_flows(body)
    compare({}, live)
    for flow in live:
        live_text(flow)


_PARTS: dict[int, Callable[[bytes], object]] = {
    MULTIPART_FLOW: _flows,
    MULTIPART_METER_CONFIG: decode_meter_config,
    _PORT_DESCRIPTIONS: decode_ports,
}


def decode(frame: Frame) -> None:
    """Decode what is decoded; a ``DecodeError`` is an answer, anything else is raised."""
    with contextlib.suppress(DecodeError):
        if frame.type == MessageType.PACKET_IN:
            decode_packet_in(frame.body)
        elif frame.type == MessageType.ERROR:
            str(read_refusal(frame).name)
        elif frame.type == MessageType.MULTIPART_REPLY:
            decode_part = _PARTS.get(unpack_from("!H", frame.body)[0])
            if decode_part is not None:
                decode_part(frame.body[8:])
