"""Gratuitous ARP with back-off, so that the public network learns at once where an elastic IP has gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import eventlet

from controller.bridge import Bridge
from controller.handover import Handover
from controller.index import Index
from controller.steps import in_steps
from flowrules.actions import Output
from flowrules.addresses import ipv4_to_int
from flowrules.announce import announcement
from flowrules.packet_in import packet_out

#: Seconds before each announcement; several, because a frame may be lost and nobody answers it.
_PAUSES = (0.0, 0.1, 0.4, 1.5)
#: A host and the elastic IP that it has got.
_Claim = tuple[str, str]


class Cloud(Protocol):
    """What the announcer looks at."""

    handover: Handover
    bridges: dict[str, Bridge]

    @property
    def index(self) -> Index:
        """The present records and bindings."""


class Announcer:
    """Announces elastic IPs from the host that holds them, for as long as it does.

    What comes at once, as a thousand addresses do with a first synchronisation, goes in one wave: one greenlet, and
    one buffer for each switch.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._fresh: list[_Claim] = []

    def announce(self, host: str, public_ip: str) -> None:
        """Begin to announce ``public_ip`` from ``host``; returns at once."""
        if not self._fresh:
            eventlet.spawn(self._wave)
        self._fresh.append((host, public_ip))

    def _wave(self) -> None:
        claims, self._fresh = self._fresh, []
        for pause in _PAUSES:
            eventlet.sleep(pause)
            claims = [claim for part in in_steps(claims) for claim in self._announce(part)]

    def _announce(self, claims: Sequence[_Claim]) -> list[_Claim]:
        """Announce those that are still held by hosts with a switch, and return them."""
        held = [claim for claim in claims if self._holds(*claim)]
        by_host: defaultdict[str, list[str]] = defaultdict(list)
        for host, public_ip in held:
            by_host[host].append(public_ip)
        for host, addresses in by_host.items():
            ports, bridge = self._cloud.index.hosts.get(host), self._cloud.bridges.get(host)
            if bridge is not None and bridge.session is not None and ports is not None and ports.uplink is not None:
                out = [Output(ports.uplink)]
                bridge.session.emit(b"".join(packet_out(out, announcement(ipv4_to_int(one))) for one in addresses))
        return held

    def _holds(self, host: str, public_ip: str) -> bool:
        bridge = self._cloud.bridges.get(host)
        return self._cloud.handover.holders.get(public_ip) == host and bridge is not None and bridge.session is not None
