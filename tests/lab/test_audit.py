"""What is done behind our back on real switches: found, named, healed."""

import json
import os
import re
import signal

import pytest
from click.testing import CliRunner

from channel.client import request
from sluice.commands import cli

pytestmark = pytest.mark.lab


class Audit:
    """``sluice audit`` as the shell would run it, and its answer."""

    def __init__(self, cloud):
        self.cloud = cloud

    def __call__(self, *arguments):
        command = ["--config", str(self.cloud.config_file), "audit", "--json", *arguments]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code in (0, 2), (done.output, done.exception)
        return done.exit_code, json.loads(done.output)

    def kinds(self, *arguments):
        status, found = self(*arguments)
        assert status == (2 if found["remaining"] else 0)
        return sorted((one["host"], one["kind"]) for one in found["findings"])


@pytest.fixture
def audit(cloud, wait_until):
    made = Audit(cloud)
    assert wait_until(lambda: made.kinds("--repair", "--foreign") == [], 30)
    yield made
    assert wait_until(lambda: made.kinds() == [], 30), "the next case starts clean"


@pytest.fixture
def web(world):
    """A web server on h1 with an elastic IP."""
    group = world.group("audited")
    world.allow(group, "tcp", 80)
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    return group, guest, public


def ofctl(world, *words):
    return world.cloud.hypervisor("h1").ofctl(*words)


def port_of(world, guest):
    found = world.cloud.hypervisor(guest.host).vsctl(
        "--bare", "--columns=name,ofport", "find", "Interface", f"external_ids:iface-id={guest.interface}"
    )
    name, number = found.split()
    return name, int(number)


def test_a_flow_deleted_behind_our_back_is_found_named_and_healed(world, web, audit, outside_ip, shut, wait_until):
    group, guest, public = web
    assert audit.kinds() == []
    ofctl(world, "del-flows", "br-int", "table=43")
    assert wait_until(lambda: world.cloud.outside.fetch(public) == shut)
    status, found = audit()
    (one,) = found["findings"]
    assert (status, one["host"], one["kind"], one["objects"]) == (2, "h1", "missing flow", [group])
    assert re.search(rf"table 43 INGRESS_RULES of the ingress rules of group audited \({group}\)", one["what"])
    status, found = audit("--repair")
    assert (status, found["count"], found["remaining"]) == (0, 1, [])
    assert wait_until(lambda: world.cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}")


def test_a_flow_altered_behind_our_back_is_told_from_the_one_we_sent(world, web, audit, outside_ip, shut, wait_until):
    _, guest, public = web
    before = world.flows()
    # It keeps our cookie, so that only a look at the actions can tell.
    ofctl(world, "mod-flows", "--strict", "br-int", "table=50,priority=1,actions=drop")
    assert wait_until(lambda: world.cloud.outside.fetch(public) == shut)
    assert audit.kinds() == [("h1", "altered flow")]
    assert audit.kinds("--repair") == [("h1", "altered flow")]
    assert wait_until(lambda: world.cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}")
    assert world.flows() == before


def test_a_repair_of_a_port_keeps_its_connections(world, web, audit, wait_until):
    _, guest, public = web
    world.allow(web[0], "tcp", 9000)
    with world.cloud.outside.converse(public, 9000) as talk:
        assert wait_until(lambda: talk.echoes)
        port = port_of(world, guest)[1]
        ofctl(world, "mod-flows", "br-int", f"table=0,in_port={port},actions=resubmit(,10)")
        assert audit.kinds("--repair") == [("h1", "altered flow")]
        heard = talk.echoes
        assert wait_until(lambda: talk.echoes > heard)


def test_flows_added_behind_our_back_are_extra_or_foreign_and_go_when_asked(world, web, audit, shut):
    _, _, public = web
    assert world.cloud.outside.fetch(public, 8080) == shut
    _, port = port_of(world, web[1])
    # Past the rules: straight from table 41 to the port.
    ofctl(world, "add-flow", "br-int", f"table=41,priority=999,cookie=0xbad,tcp,tp_dst=8080,actions=output:{port}")
    ofctl(world, "add-flow", "br-int", "table=12,priority=999,cookie=0x51ce000000000bad,arp,actions=drop")
    ofctl(world, "add-flow", "br-int", "table=45,priority=1,actions=drop")  # in the place of ours
    expected = [("h1", "altered flow"), ("h1", "extra flow"), ("h1", "foreign flow")]
    assert audit.kinds() == expected
    assert audit.kinds("--repair") == expected
    assert audit.kinds() == [("h1", "foreign flow")]
    assert audit.kinds("--repair", "--foreign") == [("h1", "foreign flow")]
    assert world.cloud.outside.fetch(public, 8080) == shut


def test_a_port_renumbered_while_its_agent_sleeps_is_named(world, web, audit, wait_until):
    _, guest, _ = web
    name, number = port_of(world, guest)
    switch, agent = world.cloud.hypervisor("h1"), world.cloud.agent("h1")
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        switch.vsctl("set", "Interface", name, "ofport_request=77")
        status, found = audit("--host", "h1")
        kinds = {one["kind"]: one["what"] for one in found["findings"]}
        assert status == 2
        assert re.search(
            rf"{name} of {guest.interface}.* should be port {number}, the switch has it as port 77",
            kinds["wrong ofport"],
        )
        assert "not examined" in kinds, "its connections cannot be read either"
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    assert wait_until(lambda: audit.kinds() in ([], [("h1", "stale conntrack")]), 30)
    audit("--repair")


def test_connections_in_the_zone_of_a_port_that_is_gone_are_named_and_flushed(
    world, web, audit, outside_ip, wait_until
):
    _, guest, _ = web
    switch = world.cloud.hypervisor("h1")
    _, port = port_of(world, guest)
    # A flow of somebody else's commits into a zone that no port has.
    rule = f"table=0,priority=999,cookie=0xbad,tcp,in_port={port},actions=ct(commit,zone=4321)"
    switch.ofctl("add-flow", "br-int", rule)
    guest.inside.fetch(outside_ip)
    assert wait_until(lambda: "zone=4321" in switch.unixctl("dpctl/dump-conntrack"))
    assert audit.kinds("--repair", "--foreign") == [("h1", "foreign flow"), ("h1", "stale conntrack")]
    assert "zone=4321" not in switch.unixctl("dpctl/dump-conntrack")


def test_two_hosts_that_answer_for_one_elastic_ip_are_named(world, web, audit):
    _, _, public = web
    lines = world.cloud.hypervisor("h1").ofctl("--no-stats", "dump-flows", "br-int", f"table=5,arp,arp_tpa={public}")
    flow = next(line.strip() for line in lines.splitlines() if "arp_tpa" in line)
    world.cloud.hypervisor("h2").ofctl("add-flow", "br-int", flow)
    status, found = audit()
    owners = [one for one in found["findings"] if one["kind"] == "two owners"]
    assert status == 2
    assert [one["what"] for one in owners] == [f"h1 and h2 both answer ARP for elastic IP {public}"]
    assert sorted(audit.kinds("--repair")) == [("h1", "two owners"), ("h2", "extra flow")]


def test_a_wrong_mac_and_a_port_of_nobody_are_named(world, web, audit, wait_until):
    _, guest, _ = web
    switch = world.cloud.hypervisor("h1")
    name, _ = port_of(world, guest)
    switch.vsctl("set", "Interface", name, 'external_ids:attached-mac="02:00:00:00:00:99"')
    try:
        assert wait_until(lambda: ("h1", "wrong MAC") in audit.kinds())
    finally:
        switch.vsctl("set", "Interface", name, f'external_ids:attached-mac="{guest.mac}"')
    assert wait_until(lambda: audit.kinds() == [])
    switch.vsctl("set", "Interface", name, "external_ids:iface-id=eni-nobody")
    try:
        expected = [("h1", "interface without port"), ("h1", "port without interface")]
        assert wait_until(lambda: audit.kinds() == expected)
    finally:
        switch.vsctl("set", "Interface", name, f"external_ids:iface-id={guest.interface}")


def test_a_bridge_setting_that_was_changed_is_told_with_its_mend(world, web, audit, wait_until):
    switch = world.cloud.hypervisor("h1")
    switch.vsctl("set", "bridge", "br-int", "other_config:disable-in-band=false")
    try:
        assert wait_until(lambda: audit.kinds() == [("h1", "bridge setting")])
        (one,) = audit()[1]["findings"]
        assert "other_config:disable-in-band=true" in one["mend"]
    finally:
        switch.vsctl("set", "bridge", "br-int", "other_config:disable-in-band=true")


def test_a_host_that_is_down_is_named_and_the_others_are_looked_at(world, web, audit, wait_until):
    switch = world.cloud.hypervisor("h2")
    switch.kill("ovs-vswitchd")
    try:
        assert wait_until(lambda: ("h2", "not connected") in audit.kinds(), 30)
        ofctl(world, "del-flows", "br-int", "table=43")
        assert ("h1", "missing flow") in audit.kinds("--repair")
    finally:
        switch.start_switch()
    assert wait_until(lambda: audit.kinds() == [], 30)


def test_the_controller_looks_by_itself_and_the_status_and_the_log_tell(world, web, audit, wait_until):
    cloud = world.cloud
    plain = cloud.config_file.read_text()
    cloud.config_file.write_text(plain.replace("[controller]\n", "[controller]\naudit_interval = 0.3\n"))
    try:
        cloud.restart("controller")
        cloud.await_ready()
        ofctl(world, "mod-flows", "--strict", "br-int", "table=50,priority=1,actions=drop")

        def told():
            hosts = request(cloud.config.controller.socket, {"op": "status"}, 5.0)["hosts"]
            return [text for host in hosts for text in host["problems"] if "altered flow (1)" in text]

        assert wait_until(told)
        assert "audit: h1: altered flow: table 50 OUTPUT" in (cloud.plan.state / "controller.log").read_text()
        audit("--repair")
        assert wait_until(lambda: not told())
    finally:
        cloud.config_file.write_text(plain)
        cloud.restart("controller")
        cloud.await_ready()


def test_an_unknown_host_is_an_error(cloud):
    done = CliRunner().invoke(cli, ["--config", str(cloud.config_file), "audit", "--host", "h9"])
    assert "there is no host 'h9'" in str(done.exception)
