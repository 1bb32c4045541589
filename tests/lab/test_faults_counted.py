"""Daemons killed, cut off and stopped under traffic, with every packet counted.

200 packets a second that are allowed, through an elastic IP and from another hypervisor, of which none may be lost, and
200 a second that are not, of which none may arrive.  ``scripts/test faults --long`` makes each fault last a minute and
tries twenty points of a push of 10,000 flows instead of one of 2,000.
"""

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time

import pytest

from channel.client import request
from econe_api.store.quotas import GROUPS_PER_INTERFACE, INBOUND_RULES, OUTBOUND_RULES, set_quota
from econe_api.store.store import Store
from topologies.ovs import SERVER, SWITCH

pytestmark = pytest.mark.lab

SECONDS = float(os.environ.get("SLUICE_FAULT_SECONDS", "1"))
POINTS = int(os.environ.get("SLUICE_FAULT_POINTS", "1"))
MANY = int(os.environ.get("SLUICE_FAULT_FLOWS", "2000"))
PER_GROUP = 2_000


@pytest.fixture(scope="module")
def big(stage):
    """Groups of a thousand rules each way, which nobody is in; joining them is one change of as many flows."""
    world = stage.world
    made = [world.group(f"big{number}", shut=True) for number in range(MANY // PER_GROUP)]
    owner = world.ec2.describe_security_groups(GroupIds=made[:1])["SecurityGroups"][0]["OwnerId"]
    store = Store.open(stage.cloud.config)
    for quota, value in {INBOUND_RULES: 1000, OUTBOUND_RULES: 1000, GROUPS_PER_INTERFACE: 16}.items():
        set_quota(store, owner, quota, value)
    store.close()
    for number, group in enumerate(made):
        ranges = [{"CidrIp": f"100.{64 + number}.{one // 256}.{one % 256}/32"} for one in range(PER_GROUP // 2)]
        asked = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": ranges}]
        world.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=asked)
        world.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=asked)
    return made


def test_what_is_forbidden_would_be_heard_if_it_came(stage, wait_until):
    """The counting itself: with a rule it arrives."""
    stage.world.allow(stage.group, "udp", stage.forbidden)
    pour = ("topologies.streams", "pour-udp", stage.public, str(stage.forbidden), "200", "30")
    try:
        with (
            stage.guest.inside.watch("topologies.streams", "serve-udp", str(stage.forbidden)) as ear,
            stage.cloud.outside.watch(*pour),
        ):
            assert wait_until(lambda: ear.echoes > 20, 30)
    finally:
        stage.world.revoke(stage.group, "udp", stage.forbidden)


@pytest.mark.parametrize("name", ["controller", "agent h1", "agent h2"])
def test_a_process_is_killed_and_comes_back(stage, wait_until, name):
    with stage.traffic():
        stage.cloud.kill(name)
        time.sleep(SECONDS)
        stage.cloud.restart(name)
        stage.cloud.await_ready()
        assert wait_until(stage.in_sync, 30)
    assert stage.findings() == []


def test_ovsdb_server_is_killed_and_comes_back(stage, wait_until):
    """The lab's datapath forwards in a thread that rests while Open vSwitch has no database (docs/limits.md)."""
    switch, before, spent = stage.cloud.hypervisor("h1"), table(stage), stage.host("h1")["flow_mods"]
    with stage.traffic(lossless=False):
        switch.kill(SERVER)
        time.sleep(SECONDS)
        switch.start_server()
        switch.vsctl("set", "Open_vSwitch", ".", "external_ids:fault=over")  # returns when the switch has read it
        assert wait_until(stage.in_sync, 60)
    with stage.traffic():
        assert wait_until(lambda: stage.findings() == [], 30)
    assert table(stage) == before
    assert stage.host("h1")["flow_mods"] == spent


def test_a_host_is_cut_off_without_a_word_and_catches_up(stage, wait_until, shut, outside_ip):
    h1 = stage.cloud.lab.netns("h1")
    with stage.traffic():
        stage.cloud.lab.run("h1", "ip", "link", "set", "mgmt0", "down")
        try:
            stage.world.allow(stage.group, "tcp", 80)
            assert stage.cloud.outside.fetch(stage.public) == shut, f"{h1} cannot know"
            lagging = stage.host("h1")
            assert lagging["installed"] < lagging["desired"]
            time.sleep(SECONDS)
        finally:
            stage.cloud.lab.run("h1", "ip", "link", "set", "mgmt0", "up")
        assert wait_until(stage.in_sync, 60)
        assert stage.cloud.outside.fetch(stage.public) == f"{stage.guest.id} saw {outside_ip}"
        stage.world.revoke(stage.group, "tcp", 80)
    assert stage.findings() == []


def test_a_switch_that_is_stopped_delays_no_other(stage, wait_until):
    """Asked by condition: what concerns the others is installed, while what concerns the stopped one is not."""
    socket, pid = stage.cloud.config.controller.socket, stage.cloud.hypervisor("h2").pid(SWITCH)
    with stage.traffic(across=False):
        os.kill(pid, signal.SIGSTOP)
        try:
            stage.world.allow(stage.far_group, "tcp", 80)  # h2 alone
            missed = stage.cloud.status()["revision"]
            for port in (9001, 9111, 9221):
                stage.world.allow(stage.group, "tcp", port)  # h1 alone
                assert f"tp_dst={port}" in "\n".join(stage.world.flows_of("h1"))
            asked = {"op": "installed", "timeout": 0.1}
            assert request(socket, asked | {"revision": missed}, 10.0)["lagging"] == ["h2"]
            latest = stage.cloud.status()["revision"]
            assert request(socket, asked | {"revision": latest}, 10.0)["installed"], "that one is not h2's concern"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert wait_until(stage.in_sync, 60)
        for port in (9001, 9111, 9221):
            stage.world.revoke(stage.group, "tcp", port)
    stage.world.revoke(stage.far_group, "tcp", 80)
    assert stage.findings() == []


def test_the_database_is_locked_and_what_was_asked_meanwhile_holds_afterwards(stage, wait_until):
    database = stage.cloud.config.state / "sluice.db"
    calling = threading.Thread(target=stage.world.allow, args=(stage.group, "tcp", 8082))
    with stage.traffic():
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            calling.start()
            time.sleep(min(SECONDS, 20))  # after 30 the call would be refused
            assert calling.is_alive(), "it waits for its turn"
            assert stage.world.state(stage.guest.id) == "running", "who only reads is answered"
        calling.join(60)
    assert "tp_dst=8082" in "\n".join(stage.world.flows_of("h1"))
    stage.world.revoke(stage.group, "tcp", 8082)


def test_a_controller_that_dies_in_the_middle_of_a_push_leaves_the_old_or_the_new_table(stage, big, wait_until):
    old, begun = table(stage), time.monotonic()
    join(stage, wait_until, *big)
    lasting, new = time.monotonic() - begun, table(stage)
    assert len(new) > MANY
    chance, tables = random.Random(POINTS), {"old": old, "new": new}
    with stage.traffic():
        for number in range(POINTS):
            groups = big if number % 2 else []
            changing = threading.Thread(target=stage.world.join, args=(stage.guest, stage.group, *groups))
            changing.start()
            time.sleep(chance.uniform(0, lasting))
            stage.cloud.kill("controller")
            assert table(stage) in tables.values(), "a mixture of both"
            changing.join()
            stage.cloud.restart("controller")
            stage.cloud.await_ready()
            assert wait_until(lambda groups=groups: table(stage) == tables["new" if groups else "old"], 30)
    assert stage.findings() == []


def test_a_switch_with_many_flows_is_killed_and_has_its_table_back(stage, big, wait_until, record_property):
    switch = stage.cloud.hypervisor("h1")
    join(stage, wait_until, *big)
    wanted = table(stage)
    assert len(wanted) > MANY
    switch.kill(SWITCH)
    switch.start_switch()
    begun = time.monotonic()
    assert wait_until(lambda: f"flow_count={len(wanted)}" in switch.ofctl("dump-aggregate", "br-int"), 30)
    record_property(f"seconds until {MANY} flows were back", round(time.monotonic() - begun, 2))
    assert table(stage) == wanted
    join(stage, wait_until)


def join(stage, wait_until, *groups):
    """Put the guest into these groups besides its own, and wait until the switch has what follows."""
    stage.world.join(stage.guest, stage.group, *groups)
    assert wait_until(stage.in_sync, 60)


def table(stage):
    return stage.world.flows_of("h1")
