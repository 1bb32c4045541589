"""The guard: what a switch says is let through, anything else ends the connection, and nothing hangs."""

import struct

import eventlet
import pytest
from ryu.controller import controller as ryu_controller
from ryu.ofproto import ofproto_parser

from controller import wire
from controller.guard import Frame, read_frame
from controller.guard_lists import BadFrameError
from controller.openflow import OpenFlowSession
from flowrules.encode import HEADER, MessageType

PORT = struct.pack("!I4x6s2x16sIIIIIIII", 1, bytes(6), b"eth0", 0, 0, 0, 0, 0, 0, 0, 0)
MATCH = struct.pack("!HH4x", 1, 4)
FLOW = struct.pack("!H46x", 56) + MATCH


def message(kind, body=b"", version=4, xid=7, length=None):
    return HEADER.pack(version, kind, 8 + len(body) if length is None else length, xid) + body


HELLOS = [
    message(0),
    message(0, struct.pack("!HHI", 1, 8, 1 << 4)),
    message(0, struct.pack("!HHI", 1, 8, 1 << 4 | 1 << 6), version=6),
    message(0, struct.pack("!HH4xHHI", 9, 8, 1, 8, 1 << 4)),
    message(0, version=5),
]
GOOD = [
    *HELLOS,
    message(1, struct.pack("!HH", 4, 9) + bytes(64)),
    message(2, b"are you there"),
    message(3),
    message(4, struct.pack("!IIIHH", 0x4F4E4600, 2300, 1, 1, 3)),
    message(6, struct.pack("!QIBB2xII", 0xD0, 0, 254, 0, 0, 0)),
    message(8, bytes(4)),
    message(10, bytes(16) + MATCH + bytes(2)),
    message(11, bytes(40) + MATCH),
    message(12, bytes(8) + PORT),
    message(19, struct.pack("!HH4x", 1, 1) + FLOW * 2),
    message(19, struct.pack("!HH4x", 13, 0) + PORT * 3),
    message(21),
    message(25, bytes(16)),
]
BAD = [
    (message(0, length=4), "8 bytes says it has 4"),
    (message(2, b"x", length=7), "9 bytes says it has 7"),
    (message(0, struct.pack("!HH", 1, 0)), "hello element of length 0"),
    (message(0, struct.pack("!HH", 9, 0)), "hello element of length 0"),
    (message(0, struct.pack("!HH", 9, 64)), "hello element of length 64"),
    (message(0, struct.pack("!HHIHH", 9, 8, 0, 1, 3)), "hello element of length 3"),
    (message(0, struct.pack("!HHB", 1, 5, 0)), "bitmap of length 5"),
    (message(0, b"\0\1"), "cut short"),
    (message(0, version=1), r"versions \[1\], not OpenFlow 1.3"),
    (message(0, struct.pack("!HHI", 1, 8, 1 << 6 | 1 << 5), version=6), r"versions \[5, 6\], not OpenFlow 1.3"),
    (message(0, struct.pack("!HH", 1, 4), version=6), "not OpenFlow 1.3"),
    (message(1, bytes(3)), "message type 1 of 11 bytes"),
    (message(4, bytes(15)), "message type 4 of 23 bytes"),
    (message(2, bytes(1017)), "message type 2 of 1025 bytes"),
    (message(6, bytes(23)), "message type 6 of 31 bytes"),
    (message(6, bytes(25)), "message type 6 of 33 bytes"),
    (message(12, bytes(71)), "message type 12 of 79 bytes"),
    (message(19, bytes(7)), "message type 19 of 15 bytes"),
    (message(21, b"\0"), "message type 21 of 9 bytes"),
    (message(14, bytes(48)), "message type 14 is not for a switch to send"),
    (message(255), "message type 255 is not for a switch to send"),
    (message(21, version=1), "message type 21 of protocol version 1"),
    (b"\4\0", "frame of 2 bytes"),
]


@pytest.mark.parametrize("frame", GOOD, ids=lambda frame: f"type {frame[1]}")
def test_what_a_switch_says_is_read(frame):
    assert read_frame(frame) == Frame(MessageType(frame[1]), 7, frame[8:])


@pytest.mark.parametrize(("frame", "reason"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_anything_else_is_named(frame, reason):
    with pytest.raises(BadFrameError, match=reason):
        read_frame(frame)


class Peer:
    """Stands where Ryu's Datapath stands; tells whether it was closed."""

    address = ("192.0.2.1", 6653)

    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


def parse(peer, frame):
    """What Ryu does with the bytes of one message."""
    version, kind, length, xid = HEADER.unpack_from(frame)
    length = max(length, 8)
    return ofproto_parser.msg(peer, version, kind, length, xid, bytearray(frame[:length]))


def test_answers_go_to_the_session_of_their_connection(ryu_handlers):
    one, other = Peer(), Peer()
    received = []
    wire.attach(one, received.append)
    assert parse(one, message(21)) is None
    assert parse(other, message(21)) is None
    wire.detach(one)
    assert parse(one, message(21)) is None
    assert received == [Frame(MessageType.BARRIER_REPLY, 7, b"")]
    assert not one.closed
    assert not other.closed


def test_a_refused_hello_is_told(ryu_handlers, caplog):
    wire.install()  # whoever was refused in the last second has had its line
    peer = Peer()
    assert parse(peer, message(1, struct.pack("!HH", 0, 0) + b"wrong version")) is None
    assert peer.closed
    assert "peer refuses our hello: b'wrong version'" in caplog.text


@pytest.mark.parametrize(
    "frames",
    [
        [message(0, struct.pack("!HH", 1, 0))],
        [message(0, version=1)],
        [message(0), message(6, bytes(25))],
        [HELLOS[1], GOOD[9], message(19, struct.pack("!HH4x", 13, 0) + bytes(63))],
        [b"\4\0\0\0\0\0\0\0"],
    ],
    ids=["zero-length element", "old version", "odd features", "odd ports", "zero length"],
)
def test_a_hostile_peer_is_put_out_and_a_switch_served(ryu_server, private_ovs, bridge, frames):
    with eventlet.Timeout(10):
        peer = eventlet.connect(("127.0.0.1", ryu_server.port))
        peer.sendall(b"".join(frames))
        while peer.recv(4096):
            pass
        peer.close()
    session = OpenFlowSession(ryu_server.wait(ryu_server.ready, "the switch"))
    assert session.dump() == []
    session.close()


def test_a_peer_that_never_ends_its_message_is_put_out(ryu_server):
    options = {"echo_request_interval": 0.1, "maximum_unreplied_echo_requests": 2, "socket_timeout": 0.2}
    for name, value in options.items():
        ryu_controller.CONF.set_override(name, value)
    try:
        with eventlet.Timeout(10):
            peer = eventlet.connect(("127.0.0.1", ryu_server.port))
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while peer.recv(4096):
                pass
            peer.close()
    finally:
        for name in options:
            ryu_controller.CONF.clear_override(name)
