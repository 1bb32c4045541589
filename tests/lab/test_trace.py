"""``sluice trace`` against real probes and against the oracle, which was written apart from the compiler."""

import pytest
from click.testing import CliRunner

from econe_api.store.records import AddressRecord
from sluice.commands import cli
from topologies.oracle import DENIED, Sender, Service, verdict

pytestmark = pytest.mark.lab


def sender(guest):
    return Sender(guest.interface, guest.private_ip)


def rules(found):
    return [(rule["direction"], rule["group"], rule["host"]) for rule in found["rules"]]


def test_from_outside_to_an_open_and_a_closed_port(world, trace, outside_ip, shut):
    group = world.group("web")
    world.allow(group, "tcp", 80)
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    for port in (80, 8080):
        found = trace(outside_ip, guest.id, port=str(port))
        assert found["allowed"] is (world.cloud.outside.fetch(public, port) != shut)
        assert trace.agrees(found, Sender(None, outside_ip), public, Service(6, port))
        if found["allowed"]:
            assert rules(found) == [("ingress", group, "h1")]
            assert found["rules"][0]["words"] == "tcp 80 from 0.0.0.0/0"
            assert found["rules"][0]["rule"].startswith("sgr-")
        else:
            assert found["dropped"] == {"host": "h1", "table": 45, "name": "INGRESS_ACT"}
            assert f"no ingress rule of group web ({group}) allows tcp 8080 from {outside_ip}" in found["reason"]
            assert "tcp 80 from 0.0.0.0/0" in found["reason"]


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_between_groups_on_one_host_and_over_the_fabric(world, trace, shut, host):
    clients, servers = world.group("clients"), world.group("servers")
    world.allow(servers, "tcp", 80, source=clients)
    server, member = world.launch([servers], host="h1"), world.launch([clients], host=host)
    stranger = world.launch([world.group("strangers")], host=host)
    for guest in (member, stranger):
        found = trace(guest.id, server.private_ip)
        assert found["allowed"] is (guest.inside.fetch(server.private_ip) != shut)
        assert trace.agrees(found, sender(guest), server.private_ip, Service(6, 80))
        assert [hop["host"] for hop in found["hops"]] == (["h1"] if host == "h1" else ["h2", "h1"])
        if guest is member:
            assert rules(found) == [("egress", clients, host), ("ingress", servers, "h1")]
        else:
            assert found["dropped"]["host"] == "h1"


def test_denied_by_egress_and_for_want_of_an_elastic_ip(world, trace, outside_ip, shut):
    group = world.group("egress")
    guest = world.launch([group], host="h1")
    found = trace(guest.interface, outside_ip)
    assert guest.inside.fetch(outside_ip) == shut
    assert (found["allowed"], found["dropped"]["name"]) == (False, "ELASTIC_OUT")
    assert "has no elastic IP" in found["reason"]
    assert trace.agrees(found, sender(guest), outside_ip, Service(6, 80))
    world.address(guest)
    found = trace(guest.interface, outside_ip)
    assert guest.inside.fetch(outside_ip) != shut
    assert found["allowed"]
    assert found["hops"][0]["left"].startswith("uplink")
    assert trace.agrees(found, sender(guest), outside_ip, Service(6, 80))
    world.revoke_egress(group, "-1")
    found = trace(guest.interface, outside_ip)
    assert guest.inside.fetch(outside_ip) == shut
    assert (found["allowed"], found["dropped"]["name"]) == (False, "EGRESS_ACT")
    assert f"no egress rule of group egress ({group})" in found["reason"]
    assert trace.agrees(found, sender(guest), outside_ip, Service(6, 80))


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_elastic_ip_to_elastic_ip_with_the_usual_surprise_explained(world, trace, shut, host):
    group = world.group("own")
    world.allow(group, "-1", source=group)
    one, other = world.launch([group], host="h1"), world.launch([group], host=host)
    public_one, _ = world.address(one)
    public_other, _ = world.address(other)
    found = trace(one.id, public_other)
    assert one.inside.fetch(public_other) == shut
    assert not found["allowed"]
    assert trace.agrees(found, sender(one), public_other, Service(6, 80))
    assert f"the packet has its elastic IP {public_one}" in found["reason"]
    world.allow(group, "tcp", 80, source=f"{public_one}/32")
    found = trace(one.id, public_other)
    assert one.inside.fetch(public_other) != shut
    assert found["allowed"]
    assert rules(found)[-1] == ("ingress", group, host)
    assert trace.agrees(found, sender(one), public_other, Service(6, 80))


@pytest.mark.parametrize(
    ("service", "asked"),
    [
        (Service(1, 8), ("icmp", None)),
        (Service(47), ("gre", None)),
        (Service(17, 53), ("udp", "53")),
        (Service(1, 3, 4), ("icmp", "3/4")),
    ],
)
def test_other_protocols(world, trace, service, asked):
    group, clients = world.group("protocols"), world.group("clients")
    world.allow(group, "icmp", 8, -1, source=clients)
    world.allow(group, "udp", 53, source="172.31.0.0/16")
    one, other = world.launch([clients], host="h1"), world.launch([group], host="h2")
    found = trace(one.id, other.private_ip, *asked)
    assert trace.agrees(found, sender(one), other.private_ip, service)
    assert found["allowed"] is (asked[0] == "udp" or asked == ("icmp", None))


def test_names_and_the_unknown(world, trace, outside_ip):
    group = world.group("named")
    guest = world.launch([group], host="h1")
    world.ec2.create_tags(Resources=[guest.id], Tags=[{"Key": "Name", "Value": "web server"}])
    found = trace("web server", outside_ip)
    assert guest.interface in found["source"]
    nobody = trace(guest.id, "172.31.0.250")
    assert (nobody["allowed"], nobody["reason"]) == (
        False,
        "no interface of the VPC that is plugged in has the address 172.31.0.250",
    )
    config = ["--config", str(world.cloud.config_file), "trace"]
    for words, complaint in [
        (["i-0123", guest.id, "tcp", "80"], "there is no instance or interface 'i-0123'"),
        (["172.31.0.250", guest.id, "tcp", "80"], "nobody has 172.31.0.250"),
        ([outside_ip, "192.0.2.1", "tcp", "80"], "is in this cloud"),
        ([guest.id, outside_ip, "tcp"], "needs a port"),
    ]:
        done = CliRunner().invoke(cli, [*config, *words])
        assert done.exit_code not in (0,), words
        assert complaint in str(done.exception or done.output) + done.output


def test_a_flow_of_somebody_else_in_the_way_is_named(world, trace, outside_ip):
    group = world.group("spoilt")
    world.allow(group, "tcp", 80)
    guest = world.launch([group], host="h1")
    world.address(guest)
    assert trace(outside_ip, guest.id)["notes"] == []
    switch = world.cloud.hypervisor("h1")
    switch.ofctl("add-flow", "br-int", "table=41,priority=999,cookie=0xbad,tcp,actions=drop")
    try:
        found = trace(outside_ip, guest.id)
        assert not found["allowed"]
        assert "a flow that is not ours drops it on h1 in table 41" in found["reason"]
        assert found["notes"]
    finally:
        switch.ofctl("del-flows", "br-int", "cookie=0xbad/-1")


def test_every_pair_of_a_small_cloud_is_as_the_oracle_says(world, trace, outside_ip):
    web, clients = world.group("web"), world.group("clients")
    world.allow(web, "tcp", 80)
    world.allow(web, "tcp", 5000, 5010, source=clients)
    guests = [world.launch([web], host="h1"), world.launch([clients], host="h2"), world.launch([clients], host="h1")]
    for guest in guests[:2]:
        world.address(guest)
    state, asked = trace.state(), 0
    public = [record.public_ip for record in state.all(AddressRecord)]
    ends = [*(guest.private_ip for guest in guests), *public, outside_ip]
    for guest in guests:
        own = {guest.private_ip}
        for destination in [end for end in ends if end not in own]:
            for port in (22, 80, 5010):
                found = trace(guest.id, destination, port=str(port))
                expected = verdict(state, sender(guest), destination, Service(6, port)) != DENIED
                assert found["allowed"] is expected, (guest, destination, port, found["reason"])
                asked += 1
    assert asked == 45
