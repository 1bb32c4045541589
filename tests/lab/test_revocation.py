"""What becomes of live connections when the rule that allowed them goes, and comes back."""

import pytest

pytestmark = pytest.mark.lab

STREAMS = "topologies.streams"
TICKS = 5300
#: Seconds within which a connection has to stop.
BOUND = 2.0


@pytest.fixture
def server(world, wait_until):
    """An instance in a group of its own, with an elastic IP: (guest, group, public IP)."""
    group = world.group("revoked")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    return guest, group, public


@pytest.fixture
def stops(wait_until):
    """Does a talk stop within the bound, and stay silent?"""

    def look(talk):
        if not wait_until(lambda: talk.silence > 0.5, BOUND + 0.5):
            return False
        heard = talk.echoes
        return not wait_until(lambda: talk.echoes > heard, 1.5)

    return look


@pytest.fixture
def goes_on(wait_until):
    def look(talk, seconds=5.0):
        heard = talk.echoes
        return wait_until(lambda: talk.echoes > heard + 10, seconds)

    return look


def connections(world, host):
    return world.cloud.hypervisor(host).unixctl("dpctl/dump-conntrack", "-m").splitlines()


def serving(guest, *role):
    return guest.inside.watch(STREAMS, *role)


def test_tcp_is_cut_both_ways_and_the_same_connection_resumes(world, server, stops, goes_on, shut):
    _guest, group, public = server
    world.allow(group, "tcp", 9000)
    with world.cloud.outside.converse(public, 9000) as talk:
        assert goes_on(talk)
        world.revoke(group, "tcp", 9000)
        assert stops(talk)
        assert world.cloud.outside.echo(public, 9000) == shut
        world.allow(group, "tcp", 9000)
        assert goes_on(talk, 15.0)


def test_udp_of_a_talking_client_is_cut_both_ways_and_resumes(world, server, stops, goes_on, wait_until):
    guest, group, public = server
    world.allow(group, "udp", TICKS)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with world.cloud.outside.watch(STREAMS, "call-udp", public, str(TICKS), "0", "4000") as client:
            assert goes_on(client)
            world.revoke(group, "udp", TICKS)
            assert stops(client)
            assert inside.silence > 1.0
            world.allow(group, "udp", TICKS)
            assert goes_on(client)
            assert goes_on(inside)


def test_udp_in_which_only_the_server_sends_is_cut_and_resumes(world, server, stops, goes_on, wait_until):
    guest, group, public = server
    world.allow(group, "udp", TICKS)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with world.cloud.outside.watch(STREAMS, "call-udp", public, str(TICKS), "1", "4001") as client:
            assert goes_on(client)
            heard = inside.echoes
            world.revoke(group, "udp", TICKS)
            assert stops(client)
            world.allow(group, "udp", TICKS)
            assert goes_on(client)
            assert inside.echoes == heard  # the client has said nothing more


@pytest.mark.parametrize("peer", ["h1", "h2"], ids=["same host", "other host"])
def test_a_member_that_leaves_is_cut_off_though_only_the_server_sends(world, stops, goes_on, wait_until, peer):
    clients, servers, others = world.group("clients"), world.group("servers"), world.group("others")
    server, client = world.launch([servers], host="h1"), world.launch([clients], host=peer)
    world.allow(servers, "udp", TICKS, source=clients)
    with serving(server, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with client.inside.watch(STREAMS, "call-udp", server.private_ip, str(TICKS), "1", "4002") as talk:
            assert goes_on(talk)
            world.join(client, others)
            assert stops(talk)
            world.join(client, clients)
            assert goes_on(talk)


def test_an_egress_rule_that_goes_cuts_what_only_the_far_side_sends(world, stops, goes_on, wait_until, outside_ip):
    group = world.group("outgoing")
    guest = world.launch([group], host="h1")
    world.address(guest)
    with world.cloud.outside.watch(STREAMS, "serve-udp", str(TICKS)) as far:
        assert wait_until(lambda: far.echoes)
        with guest.inside.watch(STREAMS, "call-udp", outside_ip, str(TICKS), "1", "4003") as talk:
            assert goes_on(talk)
            world.revoke_egress(group, "-1")
            assert stops(talk)
            world.allow_egress(group, "udp", TICKS, destination=f"{outside_ip}/32")
            assert goes_on(talk)


def test_a_tcp_download_whose_client_is_mute_is_cut_and_resumes(world, server, goes_on, wait_until):
    guest, group, public = server
    outside = world.cloud.outside
    world.allow(group, "tcp", TICKS)

    def marks():
        lines = [line for line in connections(world, "h1") if f"dst={guest.private_ip}," in line and "tcp" in line]
        return ["mark=1" in line for line in lines]

    with serving(guest, "serve-tcp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with outside.watch(STREAMS, "call-tcp", public, str(TICKS)) as talk:
            assert goes_on(talk)
            outside.run("ip", "route", "add", "blackhole", f"{public}/32")
            try:
                world.revoke(group, "tcp", TICKS)
                assert wait_until(lambda: marks() == [True], BOUND)
                world.allow(group, "tcp", TICKS)
                assert wait_until(lambda: marks() == [False], BOUND)
            finally:
                outside.run("ip", "route", "del", "blackhole", f"{public}/32")
            assert goes_on(talk, 15.0)
            world.revoke(group, "tcp", TICKS)
            heard = talk.echoes
            assert wait_until(lambda: talk.silence > 1.0, 4.0)
            assert talk.echoes - heard < 2 * BOUND * 50


def test_what_another_rule_still_allows_is_neither_marked_nor_disturbed(world, server, goes_on, wait_until):
    guest, group, public = server
    world.allow(group, "udp", TICKS)
    world.allow(group, "udp", TICKS - 10, TICKS + 10)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with world.cloud.outside.watch(STREAMS, "call-udp", public, str(TICKS), "1", "4004") as client:
            assert goes_on(client)
            before = world.cloud.status()["counters"]["marked"]
            world.revoke(group, "udp", TICKS)
            heard = client.echoes
            assert not wait_until(lambda: client.silence > 0.5, 2.5)
            assert client.echoes > heard + 50
            assert world.cloud.status()["counters"]["marked"] == before


def test_an_elastic_ip_given_to_another_stops_the_connections_of_the_first(world, server, stops, goes_on, shut):
    _guest, group, public = server
    other = world.launch([group], host="h2")
    world.allow(group, "tcp", 9000)
    with world.cloud.outside.converse(public, 9000) as talk:
        assert goes_on(talk)
        world.associate(world.allocations[-1], other)
        assert stops(talk)
        assert world.cloud.outside.echo(public, 9000) == "echo"


def test_kept_connections_outlive_their_rule_and_new_ones_are_refused(keeping, goes_on, wait_until, shut):
    group = keeping.group("kept")
    guest = keeping.launch([group])
    public, _ = keeping.address(guest)
    outside = keeping.cloud.outside
    keeping.allow(group, "tcp", 9000)
    keeping.allow(group, "udp", TICKS)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with (
            outside.converse(public, 9000) as tcp,
            outside.watch(STREAMS, "call-udp", public, str(TICKS), "0", "4005") as udp,
            outside.watch(STREAMS, "call-udp", public, str(TICKS), "1", "4006") as listener,
        ):
            assert goes_on(tcp)
            assert goes_on(udp)
            keeping.revoke(group, "tcp", 9000)
            keeping.revoke(group, "udp", TICKS)
            assert wait_until(lambda: outside.echo(public, 9000) == shut)
            assert not wait_until(lambda: max(tcp.silence, udp.silence, inside.silence) > 1.0, 4.0)
            assert goes_on(tcp)
            with outside.watch(STREAMS, "call-udp", public, str(TICKS), "0", "4007") as late:
                assert not wait_until(lambda: late.echoes, 1.5)
            assert listener.echoes  # the server's attention was on it for a moment; it was never refused
            assert keeping.cloud.status()["counters"]["marked"] == 0


def test_a_stream_is_cut_that_lost_its_rule_while_the_controller_was_down(world, server, stops, goes_on, wait_until):
    guest, group, public = server
    cloud = world.cloud
    world.allow(group, "udp", TICKS)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with cloud.outside.watch(STREAMS, "call-udp", public, str(TICKS), "1", "4008") as client:
            assert goes_on(client)
            cloud.kill("controller")
            try:
                world.revoke(group, "udp", TICKS)
                assert goes_on(client)
            finally:
                cloud.restart("controller")
                cloud.await_ready()
            assert stops(client)


def test_a_stream_is_cut_when_the_agent_is_back(world, server, stops, goes_on, wait_until):
    guest, group, public = server
    cloud = world.cloud
    world.allow(group, "udp", TICKS)
    with serving(guest, "serve-udp", str(TICKS)) as inside:
        assert wait_until(lambda: inside.echoes)
        with cloud.outside.watch(STREAMS, "call-udp", public, str(TICKS), "1", "4009") as client:
            assert goes_on(client)
            cloud.kill("agent h1")
            try:
                world.revoke(group, "udp", TICKS)
                assert goes_on(client)
            finally:
                cloud.restart("agent h1")
                cloud.await_ready()
            assert wait_until(lambda: client.silence > 1.0, 10.0)
            assert stops(client)
