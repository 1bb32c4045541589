"""Who is told of elastic IPs that have come to a host, how often, and for how long."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import eventlet
import pytest

from controller import announcer
from controller.announcer import Announcer
from controller.bindings import HostPorts
from controller.handover import Handover
from controller.index import Index
from flowrules.actions import Output
from flowrules.addresses import ipv4_to_int, ipv4_to_text
from flowrules.announce import announcement
from flowrules.packet_in import packet_out

UPLINK = 7
ADDRESSES = [ipv4_to_text(ipv4_to_int("198.51.100.0") + number) for number in range(1200)]


@dataclass
class Session:
    """Notes what is sent."""

    sent: list = field(default_factory=list)

    def emit(self, message):
        self.sent.append(message)

    def heard(self, public_ip):
        frame = packet_out([Output(UPLINK)], announcement(ipv4_to_int(public_ip)))
        return sum(message.count(frame) for message in self.sent)


class Cloud:
    def __init__(self):
        self.index = Index()
        self.handover = Handover(lambda: 0.0)
        self.bridges = {}
        for number, host in enumerate(("one", "two")):
            self.index.hosts[host] = HostPorts(number, "br-int", uplink=UPLINK, fabric=2, interfaces={})
            self.bridges[host] = SimpleNamespace(session=Session())


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(announcer, "_PAUSES", (0.0, 0.01, 0.02))
    return Cloud()


@pytest.fixture
def spawned(monkeypatch):
    greenlets = []

    def spawn(*what):
        greenlets.append(kept(*what))
        return greenlets[-1]

    kept = eventlet.spawn
    monkeypatch.setattr(announcer.eventlet, "spawn", spawn)
    return greenlets


def claim(cloud, told, host, addresses):
    for public_ip in addresses:
        cloud.handover.claimed(public_ip, host)
        told.announce(host, public_ip)


def test_a_thousand_that_come_at_once_are_one_greenlet_and_each_is_announced_every_time(cloud, spawned):
    told = Announcer(cloud)
    claim(cloud, told, "one", ADDRESSES)
    claim(cloud, told, "two", ["203.0.113.1"])
    assert len(spawned) == 1
    spawned[0].wait()
    one, two = (cloud.bridges[host].session for host in ("one", "two"))
    assert {one.heard(public_ip) for public_ip in ADDRESSES} == {3}
    assert len(one.sent) == 9  # 500 at a time
    assert (two.heard("203.0.113.1"), two.heard(ADDRESSES[0]), one.heard("203.0.113.1")) == (3, 0, 0)


def test_what_comes_later_is_a_wave_of_its_own(cloud, spawned):
    told = Announcer(cloud)
    claim(cloud, told, "one", ADDRESSES[:1])
    eventlet.sleep(0)
    claim(cloud, told, "one", ADDRESSES[1:2])
    for greenlet in spawned:
        greenlet.wait()
    assert len(spawned) == 2
    assert [cloud.bridges["one"].session.heard(public_ip) for public_ip in ADDRESSES[:2]] == [3, 3]


@pytest.mark.parametrize("lost", ["holder", "switch", "host"])
def test_who_has_lost_it_is_silent_from_then_on(cloud, spawned, lost):
    told = Announcer(cloud)
    claim(cloud, told, "one", ADDRESSES[:2])
    session = cloud.bridges["one"].session
    eventlet.sleep(0)
    eventlet.sleep(0)
    before = session.heard(ADDRESSES[0])
    if lost == "holder":
        cloud.handover.claimed(ADDRESSES[0], "two")
    elif lost == "switch":
        cloud.bridges["one"].session = None
    else:
        del cloud.bridges["one"]
    spawned[0].wait()
    assert (before, session.heard(ADDRESSES[0])) == (1, 1)
    assert session.heard(ADDRESSES[1]) == (3 if lost == "holder" else 1)
    assert cloud.bridges["two"].session.sent == []


def test_without_an_uplink_there_is_nobody_to_tell(cloud, spawned):
    cloud.index.hosts["one"] = HostPorts(1, "br-int", uplink=None, fabric=2, interfaces={})
    claim(cloud, Announcer(cloud), "one", ADDRESSES[:1])
    spawned[0].wait()
    assert cloud.bridges["one"].session.sent == []
