"""A whole cloud for the traffic cases, and short words for what the cases do with it."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from channel.client import request
from econe_api.store.engine import make_engine
from econe_api.store.feed import Feed
from sluice.commands import cli
from topologies.cloud import Cloud, Plan
from topologies.layout import OUTSIDE_IP, fabric_ip
from topologies.oracle import DENIED, State, verdict
from topologies.ping import Ping
from topologies.vantage import SHUT

NOBODY = frozenset()
ANYONE = "0.0.0.0/0"
ANYONE_IPV6 = "::/0"
#: Seconds within which a revalidation of cached datapath flows must be over.
REVALIDATION = 2.0


def until(condition, seconds=30.0):
    """Wait for a condition, bounded; returns what it was last."""
    deadline = time.monotonic() + seconds
    while not (seen := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen


@dataclass
class Guest:
    """A running instance."""

    id: str
    private_ip: str
    interface: str
    mac: str
    host: str
    inside: object
    ipv6: str | None = None


class World:
    """The cloud through an EC2 client, with everything a case made noted for the end."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.ec2 = cloud.ec2()
        self.instances, self.groups, self.allocations = [], [], []

    def group(self, name, *, shut=False):
        made = self.ec2.create_security_group(GroupName=name, Description=name)["GroupId"]
        self.groups.append(made)
        if shut:
            self.revoke_egress(made, "-1")
        return made

    def launch(self, groups, host=None, **asked):
        """Run an instance in these groups; with ``host`` on that hypervisor."""
        passed_by = []
        for _ in range(4):
            answer = self.ec2.run_instances(
                ImageId=self.image(),
                InstanceType="t3.micro",
                MinCount=1,
                MaxCount=1,
                SecurityGroupIds=groups,
                **asked,
            )
            made = answer["Instances"][0]
            self.instances.append(made["InstanceId"])
            assert until(lambda made=made: self.state(made["InstanceId"]) == "running", 30)
            interface = made["NetworkInterfaces"][0]
            where = self.cloud.host_of(interface["NetworkInterfaceId"])
            if host in (None, where):
                if passed_by:
                    self.terminate(*passed_by)
                return Guest(
                    made["InstanceId"],
                    made["PrivateIpAddress"],
                    interface["NetworkInterfaceId"],
                    interface["MacAddress"],
                    where,
                    self.cloud.guest(made["InstanceId"]),
                )
            passed_by.append(made["InstanceId"])
        raise AssertionError(f"no instance came to {host}")

    def image(self):
        return self.ec2.describe_images()["Images"][0]["ImageId"]

    def state(self, instance):
        found = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found["State"]["Name"]

    def terminate(self, *instances):
        self.ec2.terminate_instances(InstanceIds=list(instances))
        for instance in instances:
            assert until(lambda instance=instance: self.state(instance) == "terminated", 30)
            self.instances.remove(instance)

    def address(self, guest=None):
        """Allocate an elastic IP and give it to a guest; returns (public IP, allocation id)."""
        made = self.ec2.allocate_address(Domain="vpc")
        self.allocations.append(made["AllocationId"])
        if guest is not None:
            self.associate(made["AllocationId"], guest)
        return made["PublicIp"], made["AllocationId"]

    def associate(self, allocation, guest):
        return self.ec2.associate_address(AllocationId=allocation, InstanceId=guest.id, AllowReassociation=True)

    def allow(self, group, protocol, first=None, last=None, source=ANYONE):
        self.ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[_permission(protocol, first, last, source)]
        )

    def revoke(self, group, protocol, first=None, last=None, source=ANYONE):
        self.ec2.revoke_security_group_ingress(
            GroupId=group, IpPermissions=[_permission(protocol, first, last, source)]
        )

    def allow_egress(self, group, protocol, first=None, last=None, destination=ANYONE):
        self.ec2.authorize_security_group_egress(
            GroupId=group, IpPermissions=[_permission(protocol, first, last, destination)]
        )

    def revoke_egress(self, group, protocol, first=None, last=None, destination=ANYONE):
        self.ec2.revoke_security_group_egress(
            GroupId=group, IpPermissions=[_permission(protocol, first, last, destination)]
        )

    def join(self, guest, *groups):
        self.ec2.modify_instance_attribute(InstanceId=guest.id, Groups=list(groups))

    def flows(self):
        """Every flow of ours on every hypervisor, without counters."""
        return {name: self.flows_of(name) for name in self.cloud.lab.hypervisors}

    def flows_of(self, host):
        """Every flow of ours on one hypervisor, without counters."""
        lines = self.cloud.hypervisor(host).ofctl("--no-stats", "--no-names", "dump-flows", "br-int").splitlines()
        return sorted(line.strip() for line in lines if "actions=" in line)

    def clean(self):
        if self.instances:
            self.terminate(*self.instances)
        for allocation in self.allocations:
            self.ec2.release_address(AllocationId=allocation)
        for group in self.groups:
            found = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
            if found["IpPermissions"]:
                self.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=found["IpPermissions"])
        for group in self.groups:
            self.ec2.delete_security_group(GroupId=group)


def _permission(protocol, first, last, remote):
    permission = {"IpProtocol": protocol}
    if first is not None:
        permission |= {"FromPort": first, "ToPort": first if last is None else last}
    if remote.startswith("sg-"):
        permission["UserIdGroupPairs"] = [{"GroupId": remote}]
    elif ":" in remote:
        permission["Ipv6Ranges"] = [{"CidrIpv6": remote}]
    else:
        permission["IpRanges"] = [{"CidrIp": remote}]
    return permission


class SixWorld:
    """Instances with one IPv6 address each, and rules about it."""

    def __init__(self, world):
        self.world = world
        self.group = world.group

    def launch(self, groups, host=None):
        guest = self.world.launch(groups, host, Ipv6AddressCount=1)
        found = self.world.ec2.describe_instances(InstanceIds=[guest.id])["Reservations"][0]["Instances"][0]
        guest.ipv6 = found["NetworkInterfaces"][0]["Ipv6Addresses"][0]["Ipv6Address"]
        assert found["Ipv6Address"] == guest.ipv6
        return guest

    def allow(self, group, protocol, first=None, last=None, source=ANYONE_IPV6):
        self.world.allow(group, protocol, first, last, source)

    def revoke(self, group, protocol, first=None, last=None, source=ANYONE_IPV6):
        self.world.revoke(group, protocol, first, last, source)


@pytest.fixture
def six(world):
    return SixWorld(world)


@pytest.fixture(scope="session")
def cloud():
    state = Path(tempfile.mkdtemp(prefix="sluice-lab-"))
    try:
        with Cloud(Plan(name=f"case{os.getpid()}", state=state)) as running:
            yield running
    finally:
        shutil.rmtree(state)


@pytest.fixture
def world(cloud):
    made = World(cloud)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture(scope="module")
def module_world(cloud):
    """For a module whose cases share what they need."""
    made = World(cloud)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def shut():
    """What a probe says when nothing came back."""
    return SHUT


@pytest.fixture
def outside_ip():
    return OUTSIDE_IP


@pytest.fixture(scope="module")
def keeping_cloud():
    """A cloud in which connections outlive the rule that allowed them."""
    state = Path(tempfile.mkdtemp(prefix="sluice-keep-"))
    try:
        with Cloud(Plan(f"keep{os.getpid()}", state, hypervisors=1, revoked_connections="keep")) as running:
            yield running
    finally:
        shutil.rmtree(state)


@pytest.fixture
def keeping(keeping_cloud):
    made = World(keeping_cloud)
    try:
        yield made
    finally:
        made.clean()


class Trace:
    """``sluice trace --json`` as the shell would run it, held against the oracle each time."""

    def __init__(self, world):
        self.world = world
        self.config = world.cloud.config

    def __call__(self, source, destination, protocol="tcp", port="80"):
        words = [source, destination, protocol, *([port] if port else [])]
        done = CliRunner().invoke(cli, ["--config", str(self.world.cloud.config_file), "trace", "--json", *words])
        assert done.exit_code in (0, 2), (done.output, done.exception)
        found = json.loads(done.output)
        assert done.exit_code == (0 if found["allowed"] else 2)
        return found

    def state(self):
        """The cloud as the oracle sees it."""
        engine = make_engine(self.config.database)
        records = tuple(change.record for change in Feed(engine).snapshot().changes)
        engine.dispose()
        interfaces = [record.id for record in records if hasattr(record, "mac")]
        hosts = {key: host for key in interfaces if (host := self.world.cloud.host_of(key))}
        everywhere = frozenset(self.world.cloud.lab.hypervisors)
        vxlan = self.world.cloud.plan.fabric == "vxlan"
        return State(records, hosts, everywhere, everywhere, frozenset(map(fabric_ip, everywhere)) if vxlan else NOBODY)

    def agrees(self, found, sender, destination, service):
        """Does the oracle say the same?"""
        return found["allowed"] is (verdict(self.state(), sender, destination, service) != DENIED)


@pytest.fixture
def trace(world):
    return Trace(world)


class Stage:
    """A guest on h1 that may be pinged, its neighbour on h2, and the packets between them and from outside."""

    forbidden = 7
    """A UDP port that no rule opens."""

    def __init__(self, world):
        self.world, self.cloud = world, world.cloud
        self.group = world.group("counted")
        world.allow(self.group, "icmp", -1, -1)
        self.guest = world.launch([self.group], host="h1")
        self.far_group = world.group("counted-far")
        self.far = world.launch([self.far_group], host="h2")
        self.public, _ = world.address(self.guest)

    def host(self, name):
        return next(host for host in self.cloud.status()["hosts"] if host["name"] == name)

    def in_sync(self):
        return all(host["in_sync"] and host["agent"] for host in self.cloud.status()["hosts"])

    def findings(self):
        asked = {"op": "audit", "host": None, "repair": False, "foreign": False}
        return request(self.cloud.config.controller.socket, asked, 60.0)["findings"]

    @contextlib.contextmanager
    def traffic(self, *, across=True, lossless=True):
        """Count while the block runs; then none of the allowed may be lost, and no other may have come."""
        pour = ("topologies.streams", "pour-udp", self.public, str(self.forbidden), "200", "3600")
        senders = [(self.cloud.outside, self.public), *([(self.far.inside, self.guest.private_ip)] if across else [])]
        with contextlib.ExitStack() as stack:
            ear = stack.enter_context(self.guest.inside.watch("topologies.streams", "serve-udp", str(self.forbidden)))
            assert until(lambda: ear.echoes == 1), "it is ready"
            pouring = stack.enter_context(self.cloud.outside.watch(*pour))
            pings = [stack.enter_context(Ping(*one)) for one in senders]
            begun = time.monotonic()
            yield
            seconds = time.monotonic() - begun
            lost = [ping.stop() for ping in pings]
            told = ", ".join(f"{sent} allowed sent and {len(missing)} lost" for sent, missing in lost)
            poured = f"some {200 * seconds:.0f} forbidden sent and {ear.echoes - 1} delivered"
            sys.stdout.write(f"in {seconds:.1f} s {told}, {poured}\n")  # pytest shows it with -rP
            assert all(sent > 30 * seconds for sent, _ in lost), "it was counted to the end, on a busy machine as well"
            assert pouring.alive
            assert ear.alive
            assert ear.echoes == 1, "nothing but the line that it is ready"
            assert not lossless or not any(missing for _, missing in lost), lost


@pytest.fixture(scope="module")
def stage(module_world):
    return Stage(module_world)
