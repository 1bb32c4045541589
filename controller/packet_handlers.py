"""Who answers which packets: handlers by the number of the table that sends them to the controller."""

from __future__ import annotations

from collections.abc import Callable

from controller.index import Index
from controller.packet_in import Handler, Unanswerable
from flowrules import tables
from flowrules.compile_icmp import repaired_inbound, repaired_outbound
from flowrules.packet_in import PacketIn


def _icmp(repair: Callable[[PacketIn], bytes | None]) -> Handler:
    """Put an ICMP error back, repaired."""

    def handle(_index: Index, _host: str, packet: PacketIn) -> tuple[bytes]:
        message = repair(packet)
        if message is None:
            raise Unanswerable("no ICMP error about a packet of this elastic IP")
        return (message,)

    return handle


HANDLERS: dict[int, Handler] = {
    tables.ICMP_IN_HOST: _icmp(repaired_inbound),
    tables.ICMP_OUT_REPAIR: _icmp(repaired_outbound),
}
