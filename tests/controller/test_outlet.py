"""Whole messages leave in their order, whichever way they take, also through a socket that has no room."""

import contextlib
import random
import socket

import eventlet
import pytest

from controller import outlet
from flowrules.encode import HEADER, VERSION, MessageType

SMALL_BUFFER = 4096


@pytest.fixture
def peer(ryu_server):
    """The far end of a connection of Ryu's, with little room, its hello read."""
    with socket.socket() as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        end.connect(("127.0.0.1", ryu_server.port))
        ryu_server.wait(lambda: ryu_server.datapaths, "the connection")
        datapath = ryu_server.datapaths[0]
        datapath.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        ryu_server.wait(lambda: datapath.send_q is not None and datapath.send_q.getting(), "Ryu's hello to be sent")
        end.settimeout(5)
        assert end.recv(8)[1] == MessageType.HELLO
        end.setblocking(False)
        yield end, datapath


def message(number, size):
    return HEADER.pack(VERSION, MessageType.ECHO_REPLY, HEADER.size + size, number) + bytes([number % 251]) * size


def read(end, size, ryu_server):
    found = bytearray()

    def some():
        with contextlib.suppress(BlockingIOError):
            found.extend(end.recv(65536))
        return len(found) >= size

    ryu_server.wait(some, f"{size} bytes")
    return bytes(found)


def test_a_small_message_is_there_before_anybody_else_had_a_turn(peer):
    end, datapath = peer
    assert outlet.send(datapath, message(7, 16))
    assert end.recv(100) == message(7, 16)


def test_messages_of_all_sizes_keep_their_order_through_a_full_socket(peer, ryu_server):
    end, datapath = peer
    chance = random.Random(3)
    sizes = [chance.choice([0, 16]) for _ in range(60)] + [chance.choice([0, 16, 900, 60_000]) for _ in range(140)]
    messages = [message(number, size) for number, size in enumerate(sizes)]

    def all_of_them():
        for number, one in enumerate(messages):
            # Ryu sends for itself too: echoes, and its own handshake.
            assert (datapath.send if number % 5 == 0 else lambda data: outlet.send(datapath, data))(one)
            if number % 7 == 0:
                eventlet.sleep(0)

    sender = eventlet.spawn(all_of_them)
    wanted = b"".join(messages)
    assert read(end, len(wanted), ryu_server) == wanted
    sender.wait()


def test_nothing_comes_into_the_middle_of_a_message(peer, ryu_server):
    end, datapath = peer
    long, short = message(1, 60_000), message(2, 0)
    assert datapath.send(long)
    ryu_server.wait(lambda: datapath.send_q.empty() and not datapath.send_q.getting(), "Ryu to be in the middle of it")
    begun = end.recv(65536)  # there is room again
    assert 0 < len(begun) < len(long)
    assert outlet.send(datapath, short)
    assert begun + read(end, len(long) + len(short) - len(begun), ryu_server) == long + short


def test_a_lost_connection_takes_no_more(peer, ryu_server):
    end, datapath = peer
    end.close()
    ryu_server.wait(lambda: not datapath.is_active, "the connection to end")
    assert not outlet.send(datapath, message(1, 16))
