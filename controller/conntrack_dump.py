"""Reads ``dpctl/dump-conntrack -m`` of ovs-vswitchd.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flowrules.addresses import ipv4_to_int, ipv6_to_int, version_of
from flowrules.fields import BLOCKED
from flowrules.judge import Connection

_LINE = re.compile(r"([a-z0-9]+),orig=\(src=([0-9a-f.:]+),dst=([0-9a-f.:]+)((?:,[a-z]+=\d+)*)\),")
#: Protocols that Open vSwitch names (``ct_dpif_format_ipproto``); it writes the number of all others.
_NAMES = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}
_DETAIL = re.compile(r"([a-z]+)=(\d+)")
_READERS = {4: ipv4_to_int, 6: ipv6_to_int}
_MARK = re.compile(r",mark=(\d+)")


def read_connections(text: str) -> Iterator[tuple[Connection, bool]]:
    """Each connection in ``text``, and whether it is marked as blocked; lines that are none are passed over."""
    for line in text.splitlines():
        found = _LINE.match(line)
        protocol = _number(found.group(1)) if found else None
        if found is None or protocol is None:
            continue
        details = {name: int(value) for name, value in _DETAIL.findall(found.group(4))}
        version = version_of(found.group(2))
        try:
            source, destination = (_READERS[version](found.group(place)) for place in (2, 3))
        except ValueError:
            continue
        connection = Connection(
            protocol,
            source,
            destination,
            details.get("sport", details.get("type", 0)),
            details.get("dport", details.get("code", 0)),
            details.get("id", 0),
            version,
        )
        mark = _MARK.search(line)
        yield connection, bool(mark and int(mark.group(1)) & BLOCKED.mask)


def _number(name: str) -> int | None:
    return int(name) if name.isdigit() else _NAMES.get(name)
