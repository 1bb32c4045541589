"""Traffic between real namespaces through real bridges: who reaches whom, and what they see."""

import pytest

pytestmark = pytest.mark.lab


def seen(guest, client):
    """What a probe says when ``guest`` answered and saw ``client``."""
    return f"{guest.id} saw {client}"


def test_from_outside_an_open_port_passes_and_the_instance_sees_the_real_client(world, outside_ip, shut):
    group = world.group("web")
    guest = world.launch([group])
    public, _ = world.address(guest)
    assert world.cloud.outside.fetch(public) == shut
    world.allow(group, "tcp", 80)
    assert world.cloud.outside.fetch(public) == seen(guest, outside_ip)
    assert world.cloud.outside.fetch(public, 8080) == shut


def test_range_ends_are_exact(world, outside_ip, shut):
    group = world.group("ranges")
    guest = world.launch([group])
    public, _ = world.address(guest)
    outside = world.cloud.outside
    for first, last, opened in [(80, 80, 80), (81, 8080, 8080), (79, 80, 80), (8080, 9000, 8080)]:
        world.allow(group, "tcp", first, last)
        assert outside.fetch(public, opened) == seen(guest, outside_ip), (first, last)
        world.revoke(group, "tcp", first, last)
    for first, last, closed in [(81, 8079, 80), (81, 8079, 8080), (8081, 8999, 8080), (1, 79, 80), (0, 79, 80)]:
        world.allow(group, "tcp", first, last)
        assert outside.fetch(public, closed) == shut, (first, last, closed)
        world.revoke(group, "tcp", first, last)


def test_to_the_outside_the_elastic_ip_is_the_source(world, outside_ip, shut):
    group = world.group("client")
    guest = world.launch([group])
    assert guest.inside.fetch(outside_ip) == shut
    public, allocation = world.address(guest)
    assert guest.inside.fetch(outside_ip) == f"outside saw {public}"
    association = world.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]["AssociationId"]
    world.ec2.disassociate_address(AssociationId=association)
    assert guest.inside.fetch(outside_ip) == shut


@pytest.mark.parametrize("same_host", [True, False], ids=["same host", "other host"])
def test_elastic_ip_to_elastic_ip(world, shut, same_host):
    group = world.group("both")
    one = world.launch([group], host="h1")
    other = world.launch([group], host="h1" if same_host else "h2")
    (public_one, _), (public_other, _) = world.address(one), world.address(other)
    assert one.inside.fetch(public_other) == shut
    world.allow(group, "tcp", 80, source=f"{public_one}/32")
    assert one.inside.fetch(public_other) == seen(other, public_one)
    assert other.inside.fetch(public_one) == shut


def test_a_group_reference_does_not_match_an_elastic_ip(world, shut):
    group = world.group("self")
    one, other = world.launch([group], host="h1"), world.launch([group], host="h1")
    world.address(one)
    public_other, _ = world.address(other)
    world.allow(group, "-1", source=group)
    assert one.inside.fetch(other.private_ip) == seen(other, one.private_ip)
    assert one.inside.fetch(public_other) == shut


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["same host", "other host"])
def test_private_traffic_follows_group_membership(world, shut, host):
    clients, servers = world.group("clients"), world.group("servers")
    server = world.launch([servers], host="h1")
    member = world.launch([clients], host=host)
    stranger = world.launch([world.group("strangers")], host=host)
    world.allow(servers, "tcp", 80, source=clients)
    assert member.inside.fetch(server.private_ip) == seen(server, member.private_ip)
    assert member.inside.fetch(server.private_ip, 8080) == shut
    assert stranger.inside.fetch(server.private_ip) == shut
    world.join(stranger, clients)
    assert stranger.inside.fetch(server.private_ip) == seen(server, stranger.private_ip)
    world.join(stranger, world.groups[-1])
    assert stranger.inside.fetch(server.private_ip) == shut
    assert server.inside.fetch(member.private_ip) == shut


def test_who_is_in_two_referenced_groups_and_leaves_one_is_still_allowed(world, shut):
    one, two, servers = world.group("one"), world.group("two"), world.group("servers")
    server, client = world.launch([servers]), world.launch([one, two])
    world.allow(servers, "tcp", 80, source=one)
    world.allow(servers, "tcp", 80, source=two)
    world.join(client, two)
    assert client.inside.fetch(server.private_ip) == seen(server, client.private_ip)
    world.revoke(servers, "tcp", 80, source=two)
    assert client.inside.fetch(server.private_ip) == shut


def test_of_two_overlapping_rules_one_is_enough(world, outside_ip, shut):
    group = world.group("overlap")
    guest = world.launch([group])
    public, _ = world.address(guest)
    world.allow(group, "tcp", 80, 90)
    world.allow(group, "tcp", 70, 80)
    world.revoke(group, "tcp", 80, 90)
    assert world.cloud.outside.fetch(public) == seen(guest, outside_ip)
    world.revoke(group, "tcp", 70, 80)
    assert world.cloud.outside.fetch(public) == shut


def test_the_order_of_calls_leaves_no_trace_in_the_flows(world):
    group, peers = world.group("order"), world.group("peers")
    world.launch([group, peers], host="h1")
    world.launch([peers], host="h2")
    calls = [
        ("tcp", 80, 90, "0.0.0.0/0"),
        ("tcp", 85, 8080, "203.0.113.0/24"),
        ("udp", 53, 53, "10.0.0.0/8"),
        ("-1", None, None, peers),
        ("icmp", 8, -1, "203.0.113.0/24"),
    ]
    results = []
    for order in (calls, calls[::-1], calls[2:] + calls[:2]):
        for call in order:
            world.allow(group, *call)
        results.append(world.flows())
        for call in calls:
            world.revoke(group, *call)
    assert results[0] == results[1] == results[2]


def test_a_group_without_rules_lets_nothing_in_and_by_default_everything_out(world, outside_ip, shut):
    group = world.group("quiet")
    guest = world.launch([group])
    public, _ = world.address(guest)
    assert world.cloud.outside.fetch(public) == shut
    assert guest.inside.fetch(outside_ip) == f"outside saw {public}"
    world.revoke_egress(group, "-1")
    assert guest.inside.fetch(outside_ip) == shut
    world.allow_egress(group, "tcp", 80, destination=f"{outside_ip}/32")
    assert guest.inside.fetch(outside_ip) == f"outside saw {public}"
    assert guest.inside.fetch(outside_ip, 8080) == shut


def test_five_groups_are_a_union(world, outside_ip, shut):
    groups = [world.group(f"g{number}") for number in range(5)]
    guest = world.launch(groups)
    public, _ = world.address(guest)
    world.allow(groups[0], "tcp", 80)
    world.allow(groups[4], "tcp", 8080)
    assert world.cloud.outside.fetch(public, 80) == seen(guest, outside_ip)
    assert world.cloud.outside.fetch(public, 8080) == seen(guest, outside_ip)
    assert world.cloud.outside.echo(public, 9000) == shut
