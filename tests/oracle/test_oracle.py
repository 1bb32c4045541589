"""The oracle says what EC2's documentation says, sentence by sentence."""

from dataclasses import replace

import pytest

from topologies.oracle import DENIED, OUTSIDE, Sender, Service, Verdict, verdict

WEB = Sender("eni-0", "10.0.1.10")
CLIENT = Sender("eni-1", "10.0.2.11")
DATABASE = Sender("eni-2", "10.0.1.12")
OTHER = Sender("eni-3", "10.0.1.10")
SILENT = Sender("eni-4", "10.0.1.14")
STRANGER = Sender(None, "198.51.100.7")
HTTP, SECOND, SSH, SQL, DNS = (Service(6, port) for port in (80, 81, 22, 5432, 53))
UDP_DNS, PING, TIMESTAMP = Service(17, 53), Service(1, 8), Service(1, 13)


@pytest.mark.parametrize(
    ("sender", "destination", "service", "expected"),
    [
        # An elastic IP stands for a private address, one to one, both ways.
        (STRANGER, "203.0.113.10", HTTP, Verdict("eni-0", "198.51.100.7", "10.0.1.10")),
        (STRANGER, "203.0.113.10", SECOND, Verdict("eni-0", "198.51.100.7", "10.0.1.10")),
        (STRANGER, "203.0.113.10", Service(6, 79), DENIED),
        (STRANGER, "203.0.113.10", Service(6, 82), DENIED),
        (STRANGER, "203.0.113.10", Service(17, 80), DENIED),
        (WEB, "198.51.100.7", HTTP, Verdict(OUTSIDE, "203.0.113.10", "198.51.100.7")),
        # Without one nothing leaves and nothing comes.
        (DATABASE, "198.51.100.7", HTTP, DENIED),
        (STRANGER, "10.0.1.12", SQL, DENIED),
        (STRANGER, "203.0.113.99", HTTP, DENIED),
        # Of an instance that does not run only the way out is left.
        (STRANGER, "203.0.113.15", HTTP, DENIED),
        (CLIENT, "203.0.113.15", HTTP, Verdict(OUTSIDE, "203.0.113.11", "203.0.113.15")),
        # A group stands for the private addresses of its members.
        (WEB, "10.0.1.12", SQL, Verdict("eni-2", "10.0.1.10", "10.0.1.12")),
        (CLIENT, "10.0.1.12", SQL, DENIED),
        (CLIENT, "10.0.1.10", PING, Verdict("eni-0", "10.0.2.11", "10.0.1.10")),
        (CLIENT, "10.0.1.10", TIMESTAMP, DENIED),
        # By elastic IP the sender is seen by its own elastic IP: no group stands for that, a CIDR may.
        (CLIENT, "203.0.113.10", PING, DENIED),
        (WEB, "203.0.113.11", UDP_DNS, Verdict("eni-1", "203.0.113.10", "10.0.2.11")),
        (WEB, "10.0.2.11", UDP_DNS, DENIED),
        (WEB, "203.0.113.11", DNS, DENIED),
        (WEB, "203.0.113.10", HTTP, Verdict("eni-0", "203.0.113.10", "10.0.1.10")),
        (DATABASE, "203.0.113.10", HTTP, DENIED),
        # Networks are apart, whatever their addresses; the public way is open to all.
        (OTHER, "10.0.1.12", SQL, DENIED),
        (OTHER, "203.0.113.10", HTTP, Verdict("eni-0", "203.0.113.13", "10.0.1.10")),
        (WEB, "203.0.113.13", SSH, Verdict("eni-3", "203.0.113.10", "10.0.1.10")),
        # Egress rules hold for the sender.
        (SILENT, "10.0.1.10", HTTP, DENIED),
        # A source that is not the sender's own is forged.
        (Sender("eni-1", "10.0.1.10"), "10.0.1.12", SQL, DENIED),
        (Sender("eni-0", "203.0.113.10"), "10.0.1.12", SQL, DENIED),
        (Sender(None, "10.0.2.11"), "203.0.113.10", HTTP, DENIED),
        # An unplugged interface neither sends nor receives.
        (Sender("eni-5", "10.0.1.15"), "10.0.1.10", HTTP, DENIED),
        (WEB, "10.0.1.15", HTTP, DENIED),
    ],
)
def test_documented_semantics(small_cloud, sender, destination, service, expected):
    assert verdict(small_cloud, sender, destination, service) == expected


def test_unwired_hosts(small_cloud):
    """Without a fabric two hosts have no private way; without an uplink a host has no public one, but its own."""
    alone = replace(small_cloud, fabric=frozenset(), uplinks=frozenset())
    assert verdict(alone, WEB, "10.0.1.12", SQL) == DENIED
    assert verdict(alone, CLIENT, "10.0.1.10", PING).receiver == "eni-0"
    assert verdict(alone, STRANGER, "203.0.113.10", HTTP) == DENIED
    assert verdict(alone, OTHER, "203.0.113.10", HTTP) == DENIED
    assert verdict(alone, CLIENT, "203.0.113.10", HTTP).receiver == "eni-0"
    assert verdict(alone, CLIENT, "198.51.100.7", HTTP) == DENIED
