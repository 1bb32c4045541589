"""OpenFlow messages as switches send them: caught from a real Open vSwitch, and built for what it does not send.

The real ones come over the bridge's management socket from a switch without a datapath, so no root is needed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from struct import Struct, pack

from flowrules.compiler import compile_intent
from flowrules.document import example
from flowrules.encode import BUNDLE_CONTROL, HEADER, ONF_EXPERIMENTER, BundleControl, flow_add
from flowrules.meters import meter_add
from topologies.dummy_switch import DummySwitch

_PORTS = (1, 2, 3, 4, 7, 8)
_TABLES, _TABLE_SIZE, _TABLE_FEATURES = 3, 24, 12
_MULTIPART_REPLY = 19
_BARRIER_REPLY = 21
_MOST_FLOWS = 12
_TLV = Struct("!HH")


def real_frames(folder: Path) -> list[bytes]:
    """Start a switch in ``folder``, ask it everything that OpenFlow 1.3 lets one ask, return what it said.

    Raises :class:`topologies.errors.LabError` when there is no Open vSwitch.
    """
    with DummySwitch(folder) as switch:
        switch.add_bridge("br0", _PORTS)
        peer = _Peer(folder / "br0.mgmt")
        try:
            for request in _requests():
                peer.send(request)
            switch.vsctl("del-port", "br0", f"br0-{_PORTS[-1]}")  # a port-status
            frames = peer.read_all()
        finally:
            peer.close()
    return list(_shortened(frames))


def _requests() -> Iterator[bytes]:
    """Hello, everything asynchronous switched on, some of everything made, and then every question."""
    xids = count(1)

    def message(kind: int, body: bytes = b"") -> bytes:
        return HEADER.pack(4, kind, 8 + len(body), next(xids)) + body

    yield HEADER.pack(4, 0, 16, 0) + pack("!HHI", 1, 8, 1 << 4)
    yield message(28, pack("!IIIIII", *(7, 7, 7, 7, 15, 15)))  # set-async
    yield message(9, pack("!HH", 0, 0xFFFF))  # set-config: whole packets
    flows = [flow for intent in example() for flow in compile_intent(intent)]
    yield from {meter_add(flow.meter) for flow in flows if flow.meter}
    yield from (flow_add(flow) for flow in flows[:_MOST_FLOWS])
    output = pack("!HHIH6x", 0, 16, 1, 0)
    bucket = pack("!HHIIxxxx", 32, 0, 0xFFFFFFFF, 0xFFFFFFFF) + output
    yield message(15, pack("!HBxI", 0, 0, 1) + bucket * 2)  # a group
    for body in (bytes(4), b"\0" * 48, bytes(40)):
        yield message(14, body)  # errors
    doomed = pack("!QQBBHHHIIIHxx", 1, 0, 99, 0, 0, 0, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 1)
    match = pack("!HHIH6x", 1, 10, 0x80000A02, 0x0800)
    yield message(14, doomed + match)
    yield message(14, doomed[:17] + b"\3" + doomed[18:] + match)  # a flow-removed
    to_us = pack("!HHIH6x", 0, 16, 0xFFFFFFFD, 0xFFFF)
    frame = bytes(12) + b"\x08\x00" + bytes(46)
    yield message(13, pack("!IIH6x", 0xFFFFFFFF, 1, 16) + to_us + frame)  # a packet-in
    bundle = pack("!IIIHH", ONF_EXPERIMENTER, BUNDLE_CONTROL, 5, BundleControl.OPEN_REQUEST, 3)
    yield message(4, bundle)
    yield message(4, pack("!IIIHH", ONF_EXPERIMENTER, BUNDLE_CONTROL, 5, BundleControl.COMMIT_REQUEST, 3))
    yield message(2, b"still there?")
    yield from (message(kind) for kind in (5, 7, 26))
    yield message(24, bytes(16))  # role
    yield message(22, pack("!I4x", 0xFFFFFFFF))  # queues
    every_flow = pack("!B3xII4xQQHH4x", 0xFF, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0, 1, 4)
    bodies = {1: every_flow, 2: every_flow, 4: pack("!I4x", 0xFFFFFFFF), 5: pack("!II", 0xFFFFFFFF, 0xFFFFFFFF)}
    bodies |= {6: pack("!I4x", 0xFFFFFFFC), 9: pack("!I4x", 0xFFFFFFFF), 10: pack("!I4x", 0xFFFFFFFF)}
    for kind in range(14):
        yield message(18, pack("!HH4x", kind, 0) + bodies.get(kind, b""))
    yield message(20)


class _Peer:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._buffer = b""

    def send(self, message: bytes) -> None:
        self._socket.sendall(message)

    def close(self) -> None:
        self._socket.close()

    def read_all(self) -> list[bytes]:
        """Everything up to the answer to the last barrier, and what follows a second one."""
        self.send(HEADER.pack(4, 20, 8, 0xFFFF))
        frames: list[bytes] = []
        while not frames or frames[-1] != HEADER.pack(4, _BARRIER_REPLY, 8, 0xFFFF):
            head = self._take(HEADER.size)
            length = HEADER.unpack(head)[2]
            frames.append(head + self._take(length - HEADER.size))
        return frames

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the switch has closed the connection")
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _shortened(frames: Iterable[bytes]) -> Iterator[bytes]:
    """One table stands for all 254, or most mutations would hit what is the same in each."""
    described = False
    for frame in frames:
        kind = _TLV.unpack_from(frame, 8)[0] if frame[1] == _MULTIPART_REPLY else None
        if kind == _TABLE_FEATURES:
            if not described:
                yield _cut(frame, _TLV.unpack_from(frame, 16)[0])
            described = True
        elif kind == _TABLES:
            yield _cut(frame, 3 * _TABLE_SIZE)
        else:
            yield frame


def _cut(frame: bytes, size: int) -> bytes:
    """The multipart reply with the first ``size`` bytes of its body."""
    version, kind, _, xid = HEADER.unpack_from(frame)
    return HEADER.pack(version, kind, 16 + size, xid) + frame[8 : 16 + size]


def built_frames() -> list[bytes]:
    """What Open vSwitch does not say by itself: other hellos, queue properties, bands of all kinds, deep actions."""

    def message(kind: int, body: bytes = b"", version: int = 4) -> bytes:
        return HEADER.pack(version, kind, 8 + len(body), 7) + body

    def statistics(kind: int, body: bytes) -> bytes:
        return message(_MULTIPART_REPLY, pack("!HH4x", kind, 0) + body)

    match = pack("!HHIH6x", 1, 10, 0x80000A02, 0x0800)
    conntrack = pack("!HHIHHIHB5x", 0xFFFF, 40, 0x2320, 35, 1, 0, 1, 0xFF) + pack("!HHIH6x", 0, 16, 1, 0)
    set_field = pack("!HHIB7x", 25, 16, 0x80001401, 6)
    applied = pack("!HH4x", 4, 8 + len(conntrack + set_field)) + conntrack + set_field
    flow = pack("!HBxIIHHHH4xQQQ", 48 + 16 + len(applied), 0, 1, 0, 1, 0, 0, 0, 0, 0, 0) + match + applied
    queue = pack("!IIH6x", 1, 1, 48) + pack("!HH4xH6x", 1, 16, 10) + pack("!HH4xH6x", 2, 16, 20)
    band = pack("!HHII4x", 1, 16, 1, 1)
    return [
        message(0),
        message(0, version=5),
        message(0, pack("!HH4xHHI", 9, 8, 1, 8, 1 << 4)),
        message(1, pack("!HHI", 0xFFFF, 2301, ONF_EXPERIMENTER) + bytes(64)),
        message(4, pack("!IIIHHHHI", ONF_EXPERIMENTER, BUNDLE_CONTROL, 5, 5, 3, 0xFFFF, 8, 1)),
        message(23, pack("!I4x", 1) + queue * 2),
        statistics(1, flow * 3),
        statistics(6, pack("!H2xII4xQQII", 56, 1, 1, 1, 1, 1, 1) + bytes(16)),
        statistics(9, pack("!IH6xIQQII", 1, 56, 1, 1, 1, 1, 1) + bytes(16)),
        statistics(10, pack("!HHI", 40, 5, 1) + band + pack("!HHIIB3x", 2, 16, 1, 1, 1)),
        statistics(5, bytes(80)),
    ]


def corpus(folder: Path) -> list[bytes]:
    """All of them, each once."""
    return list(dict.fromkeys([*real_frames(folder), *built_frames()]))
