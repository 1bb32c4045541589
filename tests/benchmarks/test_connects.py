"""The load of the row "connections": whole connections, none with the ports of another."""

import socket
import subprocess
import sys
from itertools import pairwise

import pytest

from benchmarks import connects

HOST = "127.0.0.1"


@pytest.fixture
def port():
    """The first port of a server that serves; none of them is one that others get by chance."""
    taken = [22000, 22001]
    command = [sys.executable, "-m", "benchmarks.connects", "serve", *map(str, taken)]
    with subprocess.Popen(command) as server:
        try:
            assert connects.wait(HOST, taken[0], "")
            yield taken[0]
        finally:
            server.kill()


def test_connections_are_counted_and_numbered_on(port):
    whole, begun = connects.call(HOST, port, HOST, 0.2, 30_000)
    assert 0 < whole <= begun
    again, more = connects.call(HOST, port, HOST, 0.2, 30_000 + begun)
    assert 0 < again <= more


def test_where_nobody_listens_no_connection_comes_to_be():
    with socket.create_server((HOST, 0)) as gone:
        port = gone.getsockname()[1]
    whole, begun = connects.call(HOST, port, HOST, 0.05, 0)
    assert whole == 0
    assert begun > 0


@pytest.mark.parametrize(("first", "count"), [(0, 200_000), (64_000, 70_000)])
def test_no_two_connections_have_the_same_ports(first, count):
    pairs = connects.port_pairs(8000, first)
    taken = [next(pairs) for _ in range(count)]
    assert len(set(taken)) == count
    assert all(1024 <= own <= 65535 and 8000 <= theirs < 8000 + connects.PORTS for own, theirs in taken)
    assert all(own != other for (own, _), (other, _) in pairwise(taken))
