"""The OVSDB seam by itself, on a real database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.agent import Agent
from agents.bridge import CreateBridge, DesiredBridge
from agents.ovsdb import Ovsdb
from agents.report import Link
from agents.session import Backoff, Timing

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

WANTED = DesiredBridge("br int", "tcp:127.0.0.1:6653", "netdev")


@pytest.fixture
def ovsdb(ovs: Any) -> Iterator[Ovsdb]:
    one = Ovsdb(ovs.remote, WANTED.name)
    yield one
    one.close()


def turn(ovsdb: Ovsdb, until: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        ovsdb.run()
        ovsdb.wait([], time.monotonic() + 0.05)


def test_a_refused_change_is_a_change_to_look_at_and_is_not_tried_at_once(
    ovs: Any, ovsdb: Ovsdb, caplog: pytest.LogCaptureFixture
) -> None:
    turn(ovsdb, ovsdb.observe)
    assert ovsdb.apply([CreateBridge(WANTED, ())])
    assert not ovsdb.apply([CreateBridge(WANTED, ())]), "one transaction at a time"
    turn(ovsdb, lambda: (seen := ovsdb.observe()) and seen.bridge)
    turn(ovsdb, lambda: ovsdb.apply([CreateBridge(WANTED, ())]))
    before = ovsdb.changes
    turn(ovsdb, lambda: "OVSDB refused the change" in caplog.text)
    assert ovsdb.changes != before
    assert not ovsdb.apply([CreateBridge(WANTED, ())]), "not at once"
    started = time.monotonic()
    turn(ovsdb, lambda: ovsdb.apply([CreateBridge(WANTED, ())]))
    assert time.monotonic() - started > 0.5


def test_a_database_that_goes_takes_the_knowledge_with_it_but_not_the_program(ovs: Any, ovsdb: Ovsdb) -> None:
    turn(ovsdb, ovsdb.observe)
    assert ovsdb.apply([CreateBridge(WANTED, ())])
    ovs.server.kill()
    ovs.server.wait(30)
    turn(ovsdb, lambda: ovsdb.observe() is None)
    ovs.start_server()
    turn(ovsdb, ovsdb.observe)
    turn(ovsdb, lambda: ((seen := ovsdb.observe()) and seen.bridge) or ovsdb.apply([CreateBridge(WANTED, ())]))
    turn(ovsdb, lambda: (seen := ovsdb.observe()) and seen.bridge)


def test_a_change_pending_when_the_database_goes_does_not_keep_the_loop_spinning(
    ovs: Any, ovsdb: Ovsdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.agent._QUIET_S", 1.0)
    monkeypatch.setattr("agents.agent._LONGEST_BURST_S", 1.0)
    timing = Timing(shortest_wait=60, longest_wait=60)
    link = Link("h1", ("127.0.0.1", 1), timing, Backoff(timing, lambda: 0.0))
    agent = Agent(WANTED, ovsdb, link)
    turn(ovsdb, ovsdb.observe)
    pending = agent.step()
    assert pending < time.monotonic() + 2
    ovs.server.kill()
    ovs.server.wait(30)
    turn(ovsdb, lambda: ovsdb.observe() is None and time.monotonic() > pending)
    assert agent.step() > time.monotonic() + 2
    link.close()


def test_ports_and_bonds_of_other_bridges_are_known_by_every_name(ovs: Any, ovsdb: Ovsdb) -> None:
    ovs.vsctl("--no-wait", "add-br", "br-ex", "--", "add-bond", "br-ex", "bond0", "eth8", "eth9")
    turn(ovsdb, lambda: (seen := ovsdb.observe()) and "bond0" in seen.elsewhere)
    seen = ovsdb.observe()
    assert seen is not None
    assert seen.elsewhere == dict.fromkeys(("br-ex", "bond0", "eth8", "eth9"), "br-ex")
