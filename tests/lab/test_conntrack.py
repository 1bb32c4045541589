"""Floods: while rules change, from many clients, and by one instance against its neighbours."""

import re
import threading
import time

import pytest

pytestmark = pytest.mark.lab

STREAMS = "topologies.streams"
ALLOWED, DENIED, UNTOUCHED = 5400, 5401, 5402
TRIES = 4
RATE, SECONDS = 2500, 6
FEW, MANY = 20, 1000

CALL = """
import socket, sys
host, port, clients = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for client in clients:
    address, source = client.split(":")
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        peer.settimeout(3)
        peer.bind((address, int(source)))
        peer.connect((host, port))
        peer.sendall(b"hello\\n")
        assert peer.recv(64) == b"hello\\n"
print("all")
"""
SPRAY = """
import socket, sys, time
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[2])):
    try:
        peer.sendto(b"x", (sys.argv[1], 1024 + number))
    except OSError:
        pass  # the outside host says that nobody listens
    if number % 100 == 99:
        time.sleep(0.01)
"""


def pour(vantage, host, port):
    return vantage.run(
        "python3", "-m", STREAMS, "pour-udp", host, str(port), str(RATE), str(SECONDS), seconds=SECONDS + 10
    )


def count(vantage, port, found):
    done = vantage.run("python3", "-m", STREAMS, "count-udp", str(port), str(SECONDS + 8), seconds=SECONDS + 20)
    found[port] = int(done.stdout.split()[-1])


@pytest.mark.parametrize("sender", ["outside", "same host", "other host"])
def test_rules_change_under_a_flood_and_nothing_is_lost_or_leaked(world, wait_until, sender, record_property):
    group = world.group("flooded")
    guest = world.launch([group], host="h1")
    if sender == "outside":
        source, (target, _) = world.cloud.outside, world.address(guest)
    else:
        one = world.launch([world.group("flooding")], host="h1" if sender == "same host" else "h2")
        source, target = one.inside, guest.private_ip
    world.allow(group, "udp", ALLOWED)
    world.allow(group, "udp", UNTOUCHED)
    for _ in range(TRIES):
        changes, sent, found = flood(world, wait_until, group, guest, source, target)
        record_property("flood", f"{changes} changes, sent {sent}, arrived {found}")
        assert min(sent.values()) > 2000 * SECONDS
        assert found[DENIED] == 0, f"after {changes} changes"
        assert changes >= 8
        if found[UNTOUCHED] == sent[UNTOUCHED]:
            break  # else the machine itself was too busy to take every packet, and its loss says nothing of ours
    assert (found[ALLOWED], found[UNTOUCHED]) == (sent[ALLOWED], sent[UNTOUCHED]), f"after {changes} changes"


def flood(world, wait_until, group, guest, source, target):
    """Pour at the three ports while rules change; returns how many changes, and what was sent and arrived by port."""
    found, sent = {}, {}
    ports = (ALLOWED, DENIED, UNTOUCHED)
    threads = [threading.Thread(target=count, args=(guest.inside, port, found)) for port in ports]
    threads += [
        threading.Thread(
            target=lambda port=port: sent.update({port: int(pour(source, target, port).stdout.split()[1])})
        )
        for port in ports
    ]
    for thread in threads[: len(ports)]:
        thread.start()
    for port in ports:
        assert wait_until(lambda port=port: guest.inside.run("ss", "-Hlun", "sport", "=", f":{port}").stdout.strip())
    for thread in threads[len(ports) :]:
        thread.start()
    changes, begin = 0, time.monotonic()
    world.allow(group, "udp", 5300, 5400)
    while time.monotonic() - begin < SECONDS - 1:
        world.revoke(group, "udp", ALLOWED)  # the wider one goes on allowing it, by other flows
        world.allow(group, "udp", 5399, 5400, source="0.0.0.0/1")
        world.allow(group, "udp", ALLOWED)
        world.revoke(group, "udp", 5399, 5400, source="0.0.0.0/1")
        changes += 4
    world.revoke(group, "udp", 5300, 5400)
    for thread in threads:
        thread.join()
    return changes, sent, found


def cached(world, host):
    """Number of flows in the datapath's cache."""
    return sum("actions:" in line for line in world.cloud.hypervisor(host).unixctl("dpctl/dump-flows").splitlines())


def test_the_number_of_cached_flows_does_not_grow_with_clients(world, outside_ip, record_property):
    group = world.group("popular")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    world.allow(group, "tcp", 9000)
    outside = world.cloud.outside

    def call(clients):
        assert outside.run("python3", "-c", CALL, public, "9000", *clients, seconds=60).stdout == "all\n"
        return cached(world, "h1")

    few = call([f"{outside_ip}:{20000 + number}" for number in range(FEW)])
    many = call([f"{outside_ip}:{30000 + number}" for number in range(MANY)])
    addresses = [f"203.0.113.{number}" for number in range(20, 220)]
    batch = "".join(f"ip address add {address}/24 dev out0;" for address in addresses)
    outside.run("sh", "-c", batch, seconds=30)
    try:
        wide = call([f"{address}:{20000}" for address in addresses])
    finally:
        outside.run("sh", "-c", batch.replace(" add ", " del "), seconds=30)
    record_property("cached", f"few {few}, many ports {many}, many addresses {wide}")
    assert many <= few + 4, (few, many, wide)
    assert wide <= few + 8, (few, many, wide)
    assert max(few, many, wide) < 40


@pytest.fixture
def cramped(world):
    """A tracker on h1 with room for little more than one instance may have."""
    switch = world.cloud.hypervisor("h1")
    before = switch.unixctl("dpctl/ct-get-maxconns").strip()
    switch.unixctl("dpctl/ct-set-maxconns", "18000")
    yield switch
    switch.unixctl("dpctl/ct-set-maxconns", before)


def limit_of(switch, zone):
    """(limit, connections) of a zone, None when it has no limit."""
    found = re.search(rf"zone={zone},limit=(\d+),count=(\d+)", switch.unixctl("dpctl/ct-get-limits", f"zone={zone}"))
    return (int(found.group(1)), int(found.group(2))) if found else None


def zone_of(switch, guest):
    return int(
        switch.vsctl("--bare", "--columns=ofport", "find", "Interface", f"external_ids:iface-id={guest.interface}")
    )


def test_one_instance_cannot_exhaust_the_tracker_for_its_neighbours(world, cramped, wait_until, outside_ip, shut):
    greedy = world.launch([world.group("greedy")], host="h1")
    neighbour = world.launch([world.group("neighbour")], host="h1")
    world.address(greedy)
    world.address(neighbour)
    zone, quiet = zone_of(cramped, greedy), zone_of(cramped, neighbour)
    assert wait_until(lambda: limit_of(cramped, zone) and limit_of(cramped, quiet), 7.0)
    limit, _ = limit_of(cramped, zone)
    greedy.inside.run("python3", "-c", SPRAY, outside_ip, "30000", seconds=60)
    assert limit_of(cramped, zone) == (limit, limit) == (16384, 16384)
    # An answer needs a tracked connection, since no rule lets anything in.
    assert neighbour.inside.fetch(outside_ip) != shut
    assert greedy.inside.fetch(outside_ip) == shut


def test_limits_that_a_switch_has_forgotten_come_back(world, wait_until):
    guest = world.launch([world.group("limited")], host="h1")
    switch = world.cloud.hypervisor("h1")
    zone = zone_of(switch, guest)
    assert wait_until(lambda: limit_of(switch, zone), 7.0)
    switch.unixctl("dpctl/ct-del-limits", f"zone={zone}")
    assert not (limit_of(switch, zone) or (0, 0))[0]
    assert wait_until(lambda: (limit_of(switch, zone) or (0, 0))[0] == 16384, 7.0)


def test_thousands_of_connections_are_marked_when_their_rule_goes(world, wait_until, record_property):
    group = world.group("crowded")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    switch = world.cloud.hypervisor("h1")
    zone = zone_of(switch, guest)

    def marks():
        lines = switch.unixctl("dpctl/dump-conntrack", "-m", f"zone={zone}").splitlines()
        udp = [line for line in lines if line.startswith("udp") and f"dst={guest.private_ip}," in line]
        return sum("mark=1" in line for line in udp), len(udp)

    world.allow(group, "udp", 1024, 65535)

    def sprayed():
        """Whether all have arrived; a busy machine loses some, which are sent again."""
        world.cloud.outside.run("python3", "-c", SPRAY, public, "10000", seconds=60)
        return marks() == (0, 10000)

    assert wait_until(sprayed), marks()
    begin = time.monotonic()
    world.revoke(group, "udp", 1024, 65535)
    answered = time.monotonic()
    assert wait_until(lambda: marks()[0] == 10000)
    record_property("seconds", f"answered {answered - begin:.2f}, all marked {time.monotonic() - begin:.2f}")
