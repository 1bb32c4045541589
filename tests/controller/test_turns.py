"""One thread serves all switches: echoes are answered in the middle of a big compilation, waits end one by one."""

import gc
import signal
import weakref

import eventlet
import pytest
from eventlet.timeout import Timeout

from controller.acknowledgements import Acknowledgements
from controller.bindings import Binding, HostPorts
from controller.collector import Collector
from controller.composer import Composer
from controller.pending import Pending, Span
from econe_api.store.records import (
    Batch,
    Change,
    GroupRecord,
    InterfaceRecord,
    Kind,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules.addresses import ipv4_to_text
from flowrules.encode import HEADER

NEIGHBOURS = 4000
HELLO, ECHO_REQUEST, ECHO_REPLY = 0, 2, 3


def crowd():
    """A VPC of thousands, all of them in a group that admits its own members."""
    rules = (RuleRecord("sgr-1", False, -1, None, None, None, "sg-1"),)
    yield Change(Kind.VPC, "vpc-1", VpcRecord("vpc-1", 1, "10.0.0.0/16", 101))
    yield Change(Kind.SUBNET, "subnet-1", SubnetRecord("subnet-1", "vpc-1", "10.0.0.0/16", "10.0.0.1"))
    yield Change(Kind.GROUP, "sg-1", GroupRecord("sg-1", 1, "vpc-1", "all", rules))
    for number in range(NEIGHBOURS):
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        addresses = (ipv4_to_text(0x0A000010 + number),)
        record = InterfaceRecord(f"eni-{number}", None, "vpc-1", "subnet-1", mac, addresses, ("sg-1",))
        yield Change(Kind.INTERFACE, record.id, record)


class Asker:
    """Another switch on the same controller, which asks whether it is there, again and again."""

    def __init__(self, port, note):
        self.peer = eventlet.connect(("127.0.0.1", port))
        self.peer.sendall(HEADER.pack(4, HELLO, 8, 0))
        self.note = note
        self.greenlet = eventlet.spawn(self.run)

    def run(self):
        for number in range(1, 1 << 30):
            self.peer.sendall(HEADER.pack(4, ECHO_REQUEST, 8, number))
            kind = None
            while kind != ECHO_REPLY:
                _, kind, length, _ = HEADER.unpack(self.read(8))
                self.read(length - 8)
            self.note()
            eventlet.sleep(0)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.peer.recv(size - len(data))
            assert part, "closed"
            data += part
        return data

    def close(self):
        self.greenlet.kill()
        self.peer.close()


def test_echoes_are_answered_while_thousands_of_fragments_are_compiled(session, ryu_server):
    composer = Composer()
    composer.take_batch(Batch(1, full=True, changes=tuple(crowd())))
    seen = {"compiling": 0, "before": 0}

    def note():
        bridge = composer.bridges.get("h1")
        if bridge is None:
            seen["before"] += 1
        elif bridge.desired.counters.resolved and not bridge.desired.flows:
            seen["compiling"] += 1

    asker = Asker(ryu_server.port, note)
    try:
        ryu_server.wait(lambda: seen["before"], "an answer before there is anything to do")
        composer.switch_connected(session.dpid, session)
        ports = HostPorts(session.dpid, "br-int", 1, 2, {"eni-0": Binding(10, 0x020000000000)})
        composer.take_snapshot("h1", ports)
        ryu_server.wait(lambda: composer.bridges["h1"].quiet, "the flows to be there")
        assert composer.bridges["h1"].flows > 2 * NEIGHBOURS
        assert seen["compiling"] >= 2
    finally:
        asker.close()
        composer.close()


def test_a_switch_that_takes_nothing_costs_bounded_queues_and_is_read_again_when_it_does(
    session, ryu_server, private_ovs, bridge
):
    """Stopped in the middle of a push, with changes coming on: neither what is sent nor what is remembered piles up."""
    session._timeout = 0.5
    composer, everybody = Composer(), tuple(crowd())
    composer.take_batch(Batch(1, full=True, changes=everybody[:3]))
    composer.switch_connected(session.dpid, session)
    ports = HostPorts(session.dpid, "br-int", 1, 2, {"eni-0": Binding(10, 0x020000000000)})
    composer.take_snapshot("h1", ports)
    host, queue = composer.bridges["h1"], session._datapath.send_q
    try:
        ryu_server.wait(lambda: host.quiet, "the first flows")
        private_ovs.signal(signal.SIGSTOP)
        try:
            for revision, change in enumerate(everybody[3:], 2):
                composer.take_batch(Batch(revision, full=False, changes=(change,)))
                if revision % 100 == 0:
                    eventlet.sleep(0)
                    assert queue.qsize() <= 16
            ryu_server.wait(lambda: "no answer within" in (host.problem or ""), "it to be given up")
            assert queue.qsize() <= 16
            assert len(host._pending._waiting) + len(host._pending._taken) <= 2 * 64
            assert host.backlog <= 2 * NEIGHBOURS, "a fragment is marked once, however often it changes"
            assert not host.has_installed(composer.revision())
        finally:
            private_ovs.signal(signal.SIGCONT)
            session._timeout = 10.0
        ryu_server.wait(lambda: host.quiet, "it to catch up")
        assert host.has_installed(composer.revision())
        assert private_ovs.flow_count(bridge) == host.flows == len(host.desired.flows) > 2 * NEIGHBOURS
    finally:
        composer.close()


def test_a_wait_is_over_when_the_last_of_its_hosts_has_come_or_gone():
    waits, over = Acknowledgements(), []
    has, lacks = (lambda _: True), (lambda _: False)
    eventlet.spawn(lambda: over.append(waits.wait(7, {"h1", "h2", "h3"})))
    eventlet.sleep(0)
    for host, state in (("h1", has), ("h2", lacks), ("h4", has), ("h3", None)):
        waits.settled(host, state)
    eventlet.sleep(0)
    assert not over
    waits.settled("h2", has)
    eventlet.sleep(0)
    assert over == [None]


def test_a_wait_that_is_given_up_is_forgotten():
    waits = Acknowledgements()
    with Timeout(0.01, False):
        waits.wait(7, {"h1"})
    waits.settled("h1", lambda _: True)
    assert waits._waits == []


def test_a_host_misses_the_revisions_that_concern_it_and_no_others():
    pending = Pending()
    pending.add(Span(4, 6))
    pending.take()
    pending.add(Span(8, 9))
    assert [revision for revision in range(12) if pending.has(revision)] == [5, 6, 9]
    assert pending.oldest == 6
    pending.done()
    assert [revision for revision in range(12) if pending.has(revision)] == [9]
    pending.take()
    pending.done()
    assert pending.oldest is None
    assert not pending.in_flight


@pytest.mark.parametrize("taken", [False, True])
def test_what_a_silent_host_misses_stays_small_and_is_never_less(taken):
    pending = Pending()
    for revision in range(2, 4000, 2):
        pending.add(Span(revision - 1, revision))
        if taken:
            pending.take()
    assert len(pending._waiting) + len(pending._taken) <= 64
    assert all(pending.has(revision) for revision in range(2, 4000, 2))


class Node:
    """Something in a cycle."""

    def __init__(self):
        self.itself = self


def test_what_stays_is_set_aside_and_what_connections_leave_behind_is_found_again():
    collector, node = Collector(), Node()
    gone = weakref.ref(node)
    try:
        before = gc.get_freeze_count()
        collector.set_aside()
        assert gc.get_freeze_count() > before
        del node
        gc.collect()
        assert gone() is not None, "the collector has looked at what was set aside"
        for _ in range(1024):
            collector.lost()
        assert gone() is None
    finally:
        gc.unfreeze()
