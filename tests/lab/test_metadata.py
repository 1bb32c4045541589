"""The metadata service, asked by instances over real packets."""

import base64
import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from channel.client import request
from econe_api.store.accounts import create_account
from econe_api.store.store import Store
from topologies.control_plane import Keys
from topologies.frames import Ear
from topologies.layout import OUTSIDE_GATEWAY_IP
from topologies.ovs import SWITCH
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

SERVICE = "169.254.169.254"
TOKEN = "X-aws-ec2-metadata-token"
LIFE = "X-aws-ec2-metadata-token-ttl-seconds"
NO_ANSWER = (7, 28)  # curl: could not connect, timed out


def curl(guest, path, *options, seconds=5):
    """Ask; returns (status, body), or (None, curl's exit status) without an answer."""
    words = " ".join(f"'{word}'" for word in options)
    url = f"http://{SERVICE}{path}"
    command = f"curl -sS --noproxy '*' --max-time {seconds} -w '%{{stderr}}%{{http_code}}' {words} {url} | base64 -w0; "
    done = guest.run("bash", "-c", f"set -o pipefail; {command}exit ${{PIPESTATUS[0]}}", seconds=seconds + 10)
    if done.returncode != 0:
        return None, done.returncode
    return int(done.stderr[-3:]), base64.b64decode(done.stdout)


def get(guest, path, *options):
    status, body = curl(guest, path, *options)
    assert status == 200, (path, status, body)
    return body.decode()


def token(guest, life=60):
    return get(guest, "/latest/api/token", "-X", "PUT", "-H", f"{LIFE}: {life}")


def crawl(guest, path="/2009-04-04/meta-data/"):
    """All leaves, found as cloud-init finds them (cloudinit/sources/helpers/ec2.py)."""
    leaves = {}
    for line in get(guest, path).splitlines():
        if line.endswith("/"):
            leaves |= crawl(guest, path + line)
        elif "=" in line:
            number, _, name = line.partition("=")
            leaves[f"{path}{name}"] = get(guest, f"{path}{number}/openssh-key")
        else:
            leaves[path + line] = get(guest, path + line)
    return leaves


def test_an_instance_reads_what_the_api_says_of_it(world):
    group = world.group("nothing-allowed", shut=True)
    secret = bytes(range(256)) * 64  # 16 KiB
    key = world.ec2.create_key_pair(KeyName="of-the-guest", KeyType="ed25519")["KeyPairId"]
    (pair,) = world.ec2.describe_key_pairs(KeyPairIds=[key], IncludePublicKey=True)["KeyPairs"]
    for host in ("h1", "h2"):
        guest = world.launch([group], host=host, UserData=secret, KeyName="of-the-guest")
        public, _ = world.address(guest)
        shown = world.ec2.describe_instances(InstanceIds=[guest.id])["Reservations"][0]
        instance = shown["Instances"][0]
        interface = instance["NetworkInterfaces"][0]
        leaves = {path.removeprefix("/2009-04-04/meta-data/"): text for path, text in crawl(guest.inside).items()}
        name = f"ip-{guest.private_ip.replace('.', '-')}.ec2.internal"
        expected = {
            "ami-id": instance["ImageId"],
            "ami-launch-index": "0",
            "hostname": name,
            "local-hostname": name,
            "instance-action": "none",
            "instance-id": guest.id,
            "instance-type": "t3.micro",
            "local-ipv4": guest.private_ip,
            "mac": guest.mac,
            "public-ipv4": public,
            "public-hostname": instance["PublicDnsName"],
            "reservation-id": shown["ReservationId"],
            "security-groups": "nothing-allowed",
            "placement/availability-zone": instance["Placement"]["AvailabilityZone"],
            "placement/region": "us-east-1",
            "services/partition": "aws",
            "public-keys/of-the-guest": pair["PublicKey"].strip(),
        }
        of_interface = {
            "device-number": "0",
            "interface-id": guest.interface,
            "local-ipv4s": guest.private_ip,
            "mac": guest.mac,
            "owner-id": shown["OwnerId"],
            "public-ipv4s": public,
            f"ipv4-associations/{public}": guest.private_ip,
            "security-group-ids": group,
            "security-groups": "nothing-allowed",
            "subnet-id": interface["SubnetId"],
            "vpc-id": interface["VpcId"],
            "vpc-ipv4-cidr-block": "172.31.0.0/16",
        }
        prefix = f"network/interfaces/macs/{guest.mac}/"
        expected |= {prefix + key: value for key, value in of_interface.items()}
        assert {key: leaves.get(key) for key in expected} == expected
        assert curl(guest.inside, "/latest/user-data") == (200, secret)
        document = json.loads(get(guest.inside, "/latest/dynamic/instance-identity/document"))
        assert (document["instanceId"], document["privateIp"]) == (guest.id, guest.private_ip)
        traced = request(
            world.cloud.config.controller.socket,
            {
                "op": "trace",
                "source": {"interface": guest.interface},
                "destination": {"address": SERVICE},
                "protocol": 6,
                "port": 80,
                "code": None,
            },
            10.0,
        )
        assert (traced["allowed"], traced["reason"]) == (True, f"the metadata service of {host} gets it")
        assert document["pendingTime"] == f"{instance['LaunchTime']:%Y-%m-%dT%H:%M:%SZ}"


def test_the_next_request_sees_the_change(world):
    group, other = world.group("first"), world.group("second")
    guest = world.launch([group], host="h1")
    asked = "/latest/meta-data/public-ipv4"
    assert curl(guest.inside, asked)[0] == 404
    for _ in range(3):
        public, allocation = world.address(guest)
        assert get(guest.inside, asked) == public
        association = world.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]["AssociationId"]
        world.ec2.disassociate_address(AssociationId=association)
        assert curl(guest.inside, asked)[0] == 404
    world.join(guest, other)
    assert get(guest.inside, "/latest/meta-data/security-groups") == "second"
    assert curl(guest.inside, "/latest/user-data")[0] == 404


@pytest.fixture
def stranger(world):
    """Another account, whose VPC has the same addresses."""
    store = Store.open(world.cloud.config)
    try:
        created = create_account(store, f"stranger-{os.getpid()}-{time.monotonic_ns()}")
        credential = store.credential(created.access_key_id)
    finally:
        store.close()
    made = type(world)(world.cloud)
    made.ec2 = world.cloud.ec2(Keys(created.access_key_id, credential.secret))
    try:
        yield made
    finally:
        made.clean()


def test_two_of_one_private_address_are_told_apart(world, stranger):
    mine = world.launch([world.group("mine")], host="h1", UserData=b"mine")
    group = stranger.group("theirs")
    filler = stranger.launch([group], host="h2")
    subnet = stranger.ec2.describe_instances(InstanceIds=[filler.id])["Reservations"][0]["Instances"][0]["SubnetId"]
    if filler.private_ip == mine.private_ip:
        stranger.launch([group], SubnetId=subnet, PrivateIpAddress="172.31.0.200")
        stranger.terminate(filler.id)
    asked = {"SubnetId": subnet, "PrivateIpAddress": mine.private_ip, "UserData": b"theirs"}
    theirs = stranger.launch([group], **asked)
    for number in range(4):  # until it is on the same host as well
        if theirs.host == mine.host:
            break
        stranger.terminate(theirs.id)
        stranger.launch([group], SubnetId=subnet, PrivateIpAddress=f"172.31.0.{201 + number}")
        theirs = stranger.launch([group], **asked)
    assert (theirs.private_ip, theirs.host) == (mine.private_ip, mine.host)
    for guest, text in ((mine, "mine"), (theirs, "theirs")):
        assert get(guest.inside, "/latest/user-data") == text
        assert get(guest.inside, "/latest/meta-data/instance-id") == guest.id
    # A token is of use to its instance alone.
    assert get(mine.inside, "/latest/user-data", "-H", f"{TOKEN}: {token(mine.inside)}") == "mine"
    assert curl(theirs.inside, "/latest/user-data", "-H", f"{TOKEN}: {token(mine.inside)}")[0] == 401


def test_nobody_reads_what_is_anothers(world):
    group = world.group("open")
    world.allow(group, "-1")
    victim, attacker = (world.launch([group], host="h1", UserData=text) for text in (b"victim", b"attacker"))
    public, _ = world.address(victim)
    world.address(attacker)
    # As the victim: the switch drops it.
    attacker.inside.run("ip", "address", "add", f"{victim.private_ip}/32", "dev", "eth0")
    assert curl(attacker.inside, "/latest/user-data", "--interface", victim.private_ip, seconds=1)[1] in NO_ANSWER
    assert get(attacker.inside, "/latest/user-data") == "attacker"
    attacker.inside.run("ip", "address", "del", f"{victim.private_ip}/32", "dev", "eth0")
    # By way of the victim: the switch answers for the port that it comes from.
    for way in (victim.private_ip, public):
        attacker.inside.run("ip", "route", "replace", SERVICE, "via", way, "dev", "eth0", "onlink")
        body = curl(attacker.inside, "/latest/user-data", seconds=1)[1]
        assert body == b"attacker" or body in NO_ANSWER
    # As if it were a neighbour: ARP is answered.
    attacker.inside.run("ip", "route", "replace", SERVICE, "dev", "eth0")
    attacker.inside.run("ip", "neighbour", "flush", "dev", "eth0")
    assert get(attacker.inside, "/latest/user-data") == "attacker"
    # Other services of the address, and those of the host, are not there.
    for port in (22, 8080):
        assert attacker.inside.echo(SERVICE, port) != "echo"
    # From outside, through an elastic IP's host.
    outside = world.cloud.outside
    outside.run("ip", "route", "add", SERVICE, "via", OUTSIDE_GATEWAY_IP)
    router = Vantage(world.cloud.lab.netns("rtr"))
    router.run("ip", "route", "add", SERVICE, "via", public, "dev", "pub", "onlink")
    try:
        assert curl(outside, "/latest/user-data", seconds=1)[1] in NO_ANSWER
    finally:
        outside.run("ip", "route", "del", SERVICE)
        router.run("ip", "route", "del", SERVICE)


def test_tokens(world):
    guest = world.launch([world.group("tokens")], host="h1", MetadataOptions={"HttpTokens": "required"})
    asked = "/latest/meta-data/instance-id"
    assert curl(guest.inside, asked)[0] == 401
    fresh = token(guest.inside)
    assert get(guest.inside, asked, "-H", f"{TOKEN}: {fresh}") == guest.id
    for bad in (fresh[:-4], fresh[::-1], "", "x", "é" * 28):
        assert curl(guest.inside, asked, "-H", f"{TOKEN}: {bad or ';'}")[0] == 401, bad
    brief = token(guest.inside, 1)
    time.sleep(1.1)
    assert curl(guest.inside, asked, "-H", f"{TOKEN}: {brief}")[0] == 401
    put = ("/latest/api/token", "-X", "PUT")
    for life in ("0", "21601", "-1", "1e3", ""):
        assert curl(guest.inside, *put, "-H", f"{LIFE}: {life or ';'}")[0] == 400, life
    assert curl(guest.inside, *put)[0] == 400
    assert curl(guest.inside, *put, "-H", f"{LIFE}: 60", "-H", "X-Forwarded-For: 10.0.0.1")[0] == 403
    for hops in (1, 5):
        world.ec2.modify_instance_metadata_options(InstanceId=guest.id, HttpPutResponseHopLimit=hops)
        with Ear(guest.inside, "eth0", f"Ttl-Seconds: 7{hops}".encode()) as ear:
            token(guest.inside, 70 + hops)
            heard = ear.heard()
        assert [frame[22] for frame in heard if b"Ttl-Seconds" in frame and b"HTTP/1.1 200" in frame] == [hops]
    world.ec2.modify_instance_metadata_options(InstanceId=guest.id, HttpTokens="optional")
    assert get(guest.inside, asked) == guest.id
    world.ec2.modify_instance_metadata_options(InstanceId=guest.id, HttpEndpoint="disabled")
    assert curl(guest.inside, asked)[0] == 403


def test_a_flood_of_one_instance_leaves_the_others_theirs(world):
    group = world.group("crowd")
    attacker, neighbour = world.launch([group], host="h1"), world.launch([group], host="h1")
    hold = (
        "import socket,time\n"
        "held=[]\n"
        "for _ in range(100):\n"
        f"  s=socket.create_connection(('{SERVICE}',80)); s.send(b'GET / HT'); held.append(s)\n"
        "print('held',flush=True)\n"
        "time.sleep(60)\n"
    )
    hammer = ("curl", "-s", "-o", "/dev/null", "--max-time", "1", f"http://{SERVICE}/latest/meta-data/?[1-1000000]")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(attacker.inside.converse_with(*hammer))
        held = stack.enter_context(attacker.inside.converse_with("python3", "-c", hold))
        deadline = time.monotonic() + 10
        while not held.echoes and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held.echoes
        for _ in range(5):
            began = time.monotonic()
            assert get(neighbour.inside, "/latest/meta-data/instance-id") == neighbour.id
            assert time.monotonic() - began < 2


def test_without_the_controller_the_answer_is_quick_and_503(world, wait_until):
    cloud = world.cloud
    guest = world.launch([world.group("waiting")], host="h1")
    asked = "/latest/meta-data/instance-id"
    assert get(guest.inside, asked) == guest.id
    os.kill(cloud.pid("controller"), signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert curl(guest.inside, asked, seconds=6)[0] == 503
        assert time.monotonic() - began < 5
    finally:
        os.kill(cloud.pid("controller"), signal.SIGCONT)
    assert wait_until(lambda: curl(guest.inside, asked) == (200, guest.id.encode()), 30)
    cloud.kill("controller")
    try:
        assert wait_until(lambda: curl(guest.inside, asked)[0] == 503, 5)
        began = time.monotonic()
        assert curl(guest.inside, asked)[0] == 503
        assert time.monotonic() - began < 1
    finally:
        cloud.restart("controller")
        cloud.await_ready()
    assert wait_until(lambda: curl(guest.inside, asked) == (200, guest.id.encode()), 30)


def test_what_restarts_on_the_host_brings_the_service_back(world, wait_until):
    """The agent changes no flow by it; the service ends with the agent, for it is the agent's child."""
    cloud = world.cloud
    guest = world.launch([world.group("patient")], host="h1")
    asked = "/latest/meta-data/instance-id"

    def back():
        return curl(guest.inside, asked, seconds=1) == (200, guest.id.encode())

    def told():
        host = cloud.status()["hosts"][0]
        return host["flow_mods"], host["problems"]

    assert back()
    before = world.flows(), told()
    cloud.kill("agent h1")
    try:
        assert curl(guest.inside, asked, seconds=1)[0] is None
    finally:
        cloud.restart("agent h1")
    assert wait_until(back, 30)
    assert wait_until(lambda: (world.flows(), told()) == before, 30)
    agent = cloud.pid("agent h1")
    (service,) = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    status = Path(f"/proc/{service}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000000" in status
    os.kill(int(service), signal.SIGKILL)
    assert wait_until(back, 30)
    assert wait_until(lambda: (world.flows(), told()) == before, 30)
    cloud.hypervisor("h1").kill(SWITCH)
    cloud.hypervisor("h1").start_switch()
    cloud.await_ready()
    assert wait_until(back, 30)
