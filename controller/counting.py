"""What the elastic IPs of every host have carried, as their flows have counted it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from eventlet.greenpool import GreenPool

from controller.bridge import Bridge
from controller.keys import ElasticKey
from controller.openflow import OutcomeUnknownError
from flowrules.counters import elastic_direction
from flowrules.tables import ELASTIC_OUT, EXTERNAL_IN

LOG = logging.getLogger(__name__)

_HOSTS_AT_ONCE = 8
_TABLES = (EXTERNAL_IN, ELASTIC_OUT)


def elastic_counts(bridges: Mapping[str, Bridge]) -> dict[str, list[dict[str, Any]]]:
    """Return by host, for every elastic IP and direction: ``age`` in seconds, ``packets``, ``bytes``.

    Hosts whose switch does not answer are left out: nothing is known of what they carry.
    """
    hosts, several = list(bridges), list(bridges.values())  # others may come while switches are asked
    found = GreenPool(_HOSTS_AT_ONCE).imap(_of_bridge, several)
    return {host: counts for host, counts in zip(hosts, found, strict=True) if counts is not None}


def _of_bridge(bridge: Bridge) -> list[dict[str, Any]] | None:
    session = bridge.session
    if session is None:
        return None
    whose = {
        (flow.table, flow.cookie): (key.public_ip, direction)
        for key in bridge.desired.fragments
        if isinstance(key, ElasticKey)
        for flow in bridge.desired.fragment(key)
        if (direction := elastic_direction(flow)) is not None
    }
    counts = []
    try:
        for table in _TABLES if whose else ():
            for flow, age, packets, size in session.counts(table):
                if (flow.table, flow.cookie) in whose:
                    public_ip, direction = whose[flow.table, flow.cookie]
                    counts.append(
                        {"public_ip": public_ip, "direction": direction, "age": age, "packets": packets, "bytes": size}
                    )
    except OutcomeUnknownError as error:
        LOG.warning("host %s: its flows' counters could not be read: %s", bridge.host, error)
        return None
    return counts
