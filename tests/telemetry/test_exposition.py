"""The endpoint answers GET /metrics, and says in one line why it cannot."""

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Gauge

from telemetry import exposition


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_answers(host):
    registry = CollectorRegistry()
    Gauge("some_gauge", "words", registry=registry).set(7)
    listener = exposition.listen(f"{host}:0")
    port = listener.getsockname()[1]
    # Somebody who says nothing keeps nobody else waiting.
    with socket.create_connection((host.strip("[]"), port), timeout=10):
        exposition.serve(registry, listener)
        text = urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10).read().decode()
    assert "some_gauge 7.0" in text


def test_a_port_that_is_taken_is_named():
    with exposition.listen("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(exposition.EndpointError, match=f"cannot listen at {address}: Address already in use"):
            exposition.listen(address)
