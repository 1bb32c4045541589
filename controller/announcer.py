"""Gratuitous ARP with back-off, so that the public network learns at once where an elastic IP has gone."""

from __future__ import annotations

from typing import Protocol

import eventlet

from controller.bridge import Bridge
from controller.handover import Handover
from controller.index import Index
from flowrules.actions import Output
from flowrules.addresses import ipv4_to_int
from flowrules.announce import announcement
from flowrules.packet_in import packet_out

#: Seconds before each announcement; several, because a frame may be lost and nobody answers it.
_PAUSES = (0.0, 0.1, 0.4, 1.5)


class Cloud(Protocol):
    """What the announcer looks at."""

    handover: Handover
    bridges: dict[str, Bridge]

    @property
    def index(self) -> Index:
        """The present records and bindings."""


class Announcer:
    """Announces elastic IPs from the host that holds them, for as long as it does."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def announce(self, host: str, public_ip: str) -> None:
        """Begin to announce ``public_ip`` from ``host``; returns at once."""
        eventlet.spawn(self._repeat, host, public_ip)

    def _repeat(self, host: str, public_ip: str) -> None:
        for pause in _PAUSES:
            eventlet.sleep(pause)
            ports, bridge = self._cloud.index.hosts.get(host), self._cloud.bridges.get(host)
            if self._cloud.handover.holders.get(public_ip) != host or bridge is None or bridge.session is None:
                return
            if ports is not None and ports.uplink is not None:
                bridge.session.emit(packet_out([Output(ports.uplink)], announcement(ipv4_to_int(public_ip))))
