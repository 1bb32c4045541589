"""A small edition of the big cloud: five hypervisors, each with an ovs-vswitchd of its own, behind the real API."""

import sqlite3
import threading
import time

import pytest

from benchmarks.scale_lab import ScaleLab, per_call
from channel.client import request

pytestmark = pytest.mark.lab
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def lab():
    with ScaleLab(80, lambda _: None, bridges=1) as lab:
        yield lab


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return seen


def counted(lab, act):
    """What the controller did for ``act``; hosts by name with their flow-mods, and the counters."""
    before = lab.status()
    act()
    after = lab.status()
    old = {host["name"]: host["flow_mods"] for host in before["hosts"]}
    spent = {host["name"]: host["flow_mods"] - old[host["name"]] for host in after["hosts"]}
    return {name: count for name, count in spent.items() if count}, per_call(before, after, 1)


def rule(port):
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


def elastic(lab):
    ec2, guest = lab.ec2(lab.tenant.keys), lab.tenant.guests[0]
    return ec2, guest, ec2.allocate_address(Domain="vpc")["AllocationId"]


def test_calls_cost_what_they_touch(lab):
    ec2, guest, allocation = elastic(lab)
    where = {"AllocationId": allocation, "NetworkInterfaceId": guest.interface}
    spent, counters = counted(lab, lambda: ec2.associate_address(**where))
    assert spent == {guest.host: 4}
    assert counters == {"flow_mods": 4, "bundles": 1, "compiled": 1, "resolved": 1}
    everybody = lab.ec2(lab.census.everywhere.keys)
    allow = {"GroupId": lab.census.shared, "IpPermissions": rule(22)}
    spent, counters = counted(lab, lambda: everybody.authorize_security_group_ingress(**allow))
    assert spent == dict.fromkeys(lab.census.hosts, 1)
    # The prefix that the rule is the first to name is looked at as well; "anyone" needs no flow.
    assert counters == {"flow_mods": 5, "bundles": 0, "compiled": 5, "resolved": 10}


def test_a_stopped_switch_holds_up_only_what_concerns_it(lab):
    """Its host lags, by name; calls that concern others are acknowledged, and it catches up when it goes on."""
    _, guest, allocation = elastic(lab)
    stopped = next(process for process in lab.switches.processes if process.bridges[0].name != guest.host)
    name = stopped.bridges[0].name
    stopped.pause()
    try:
        allow = {"GroupId": lab.census.shared, "IpPermissions": rule(2222)}
        lab.filler.call(lab.census.everywhere.caller, "AuthorizeSecurityGroupIngress", **allow)
        concerned = {"op": "installed", "revision": lab.filler.store.revision(), "timeout": 3}
        answer = request(lab.config.controller.socket, concerned, PATIENCE_S)
        assert (answer["installed"], answer["lagging"]) == (False, [name])
        where = {"AllocationId": allocation, "NetworkInterfaceId": guest.interface}
        lab.filler.call(lab.tenant.caller, "AssociateAddress", **where)
        other = {"op": "installed", "revision": lab.filler.store.revision(), "timeout": 20}
        answer = request(lab.config.controller.socket, other, PATIENCE_S)
        assert (answer["installed"], answer["lagging"]) == (True, [])
    finally:
        stopped.resume()
    until(lambda: all(host["in_sync"] for host in lab.status()["hosts"]), "the stopped switch to catch up")


def test_nobody_holds_the_database_while_a_call_waits(lab):
    """A call waits for a switch that does not answer; meanwhile others write, to the same database."""
    everybody = lab.ec2(lab.census.everywhere.keys)
    stopped = lab.switches.processes[0]
    allow = {"GroupId": lab.census.shared, "IpPermissions": rule(3333)}
    waiting = threading.Thread(target=everybody.authorize_security_group_ingress, kwargs=allow)
    revision = lab.filler.store.revision()
    stopped.pause()
    try:
        waiting.start()
        until(lambda: lab.filler.store.revision() > revision, "the commit of the call")
        with sqlite3.connect(lab.config.database.removeprefix("sqlite:///"), timeout=0, isolation_level=None) as other:
            until(lambda: _can_write(other), "a moment in which nobody writes")
        assert waiting.is_alive(), "the call has been answered although a switch has not acknowledged"
        tag = [{"Key": "written", "Value": "meanwhile"}]
        lab.ec2(lab.tenant.keys).create_tags(Resources=[lab.tenant.guests[0].instance], Tags=tag)
        assert waiting.is_alive()
    finally:
        stopped.resume()
        waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    until(lambda: all(host["in_sync"] for host in lab.status()["hosts"]), "the stopped switch to catch up")


def _can_write(connection):
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return True
