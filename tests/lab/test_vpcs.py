"""Two VPCs that one account has made, with the same ranges: what joins them is nothing, what opens them is a route."""

import contextlib
import ipaddress
import json

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from sluice.commands import cli
from topologies.frames import EVERY_INTERFACE, Ear, send

pytestmark = pytest.mark.lab

RANGE, SUBNETS = "10.20.0.0/16", ("10.20.0.0/28", "10.20.1.0/24")
ANYWHERE = "0.0.0.0/0"
TOKEN = b"this frame must not arrive"
MARK = b"this frame says that all before it have been dealt with"


class Network:
    """A VPC with two subnets, and a group that lets the web and UDP in from anywhere."""

    def __init__(self, world, ec2):
        self.world, self.ec2 = world, ec2
        self.id = ec2.create_vpc(CidrBlock=RANGE)["Vpc"]["VpcId"]
        self.subnets = [ec2.create_subnet(VpcId=self.id, CidrBlock=cidr)["Subnet"]["SubnetId"] for cidr in SUBNETS]
        self.group = ec2.create_security_group(GroupName="web", Description="web", VpcId=self.id)["GroupId"]
        world.allow(self.group, "tcp", 80)
        world.allow(self.group, "udp", 7)

    def launch(self, number, host=None):
        return self.world.launch([self.group], host=host, SubnetId=self.subnets[number])

    def main_table(self):
        asked = [{"Name": "vpc-id", "Values": [self.id]}, {"Name": "association.main", "Values": ["true"]}]
        return self.ec2.describe_route_tables(Filters=asked)["RouteTables"][0]["RouteTableId"]

    def delete(self):
        for subnet in self.subnets:
            self.ec2.delete_subnet(SubnetId=subnet)
        attached = [{"Name": "attachment.vpc-id", "Values": [self.id]}]
        for gateway in self.ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            self.ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=self.id)
            self.ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
        self.ec2.delete_security_group(GroupId=self.group)
        self.ec2.delete_vpc(VpcId=self.id)


@pytest.fixture
def networks(world):
    with contextlib.ExitStack() as ends:
        made = []
        for _ in range(2):
            made.append(Network(world, world.ec2))
            ends.callback(made[-1].delete)
        # Instances and addresses go before the networks that they are in.
        ends.callback(world.clean)
        ends.callback(_forget_addresses, world)
        yield made, ends.close
    world.instances, world.groups, world.allocations = [], [], []


def _forget_addresses(world):
    for address in world.ec2.describe_addresses(AllocationIds=world.allocations)["Addresses"]:
        if "AssociationId" in address:
            world.ec2.disassociate_address(AssociationId=address["AssociationId"])


def page(guest, client):
    return f"{guest.id} saw {client.private_ip}"


def test_one_account_with_two_vpcs(cloud, world, networks, wait_until, shut, outside_ip):
    (ours, others), delete_all = networks
    ends = [(network.launch(0, host="h1"), network.launch(1, host="h2")) for network in (ours, others)]
    (one, far), (twin, far_twin) = ends
    assert [guest.private_ip for guest in (one, far)] == [guest.private_ip for guest in (twin, far_twin)]
    assert [guest.private_ip for guest in (one, far)] == ["10.20.0.4", "10.20.1.4"]

    # Through the virtual router of the VPC, over the fabric, to the guest of one's own VPC.
    for near, distant in ends:
        assert near.inside.fetch(distant.private_ip) == page(distant, near)
        assert distant.inside.fetch(near.private_ip) == page(near, distant)
        router = str(ipaddress.ip_network(SUBNETS[0])[1])
        assert f"default via {router}" in near.inside.run("ip", "route").stdout
        asked = near.inside.run("udhcpc", "-f", "-n", "-q", "-i", "eth0", "-s", "/bin/true")
        assert f"lease of {near.private_ip} obtained" in asked.stdout + asked.stderr

    # What only one VPC has, the other does not reach; nor by frames that name the other's guest.
    strays = [
        bytes(Ether(src=one.mac, dst=far_twin.mac) / IP(src=one.private_ip, dst=far.private_ip) / UDP(dport=7)),
        bytes(Ether(src=twin.mac, dst=far_twin.mac) / IP(src=one.private_ip, dst="10.20.1.5") / UDP(dport=7)),
    ]
    good = Ether(src=twin.mac, dst=far_twin.mac) / IP(src=twin.private_ip, dst=far_twin.private_ip) / UDP(dport=7)
    routed = Ether(src=twin.mac, dst="02:5c:e0:00:00:01") / good.payload
    with Ear(far_twin.inside, EVERY_INTERFACE, MARK) as ear:
        send(one.inside, "eth0", [frame + TOKEN for frame in strays])
        send(twin.inside, "eth0", [bytes(routed / Raw(MARK))])
        heard = ear.heard()
    assert MARK in heard[-1]
    assert not any(TOKEN in frame for frame in heard)
    world.terminate(far_twin.id)
    assert twin.inside.fetch(far.private_ip) == shut
    assert one.inside.fetch(far.private_ip) == page(far, one)

    # Without a gateway there is no elastic IP, without a route it is dark.
    public, allocation = world.address()
    with pytest.raises(ClientError, match=r"Gateway\.NotAttached"):
        world.associate(allocation, one)
    gateway = world.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    world.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=ours.id)
    world.associate(allocation, one)
    assert cloud.outside.fetch(public) == one.inside.fetch(outside_ip) == shut
    for ends_of_trace in ((one.interface, outside_ip), (outside_ip, public)):
        assert "has no route to an internet gateway" in _traced(cloud, *ends_of_trace)["reason"]
    table = ours.main_table()
    world.ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, GatewayId=gateway)
    assert cloud.outside.fetch(public) == f"{one.id} saw {outside_ip}"
    assert one.inside.fetch(outside_ip) != shut
    assert far.inside.fetch(outside_ip) == shut, "it has no elastic IP"
    assert twin.inside.fetch(outside_ip) == shut, "the same private address in a VPC without a gateway"
    # A table of its own shuts a subnet off, and its end opens it again.
    own = world.ec2.create_route_table(VpcId=ours.id)["RouteTable"]["RouteTableId"]
    association = world.ec2.associate_route_table(RouteTableId=own, SubnetId=ours.subnets[0])["AssociationId"]
    assert cloud.outside.fetch(public) == one.inside.fetch(outside_ip) == shut
    world.ec2.disassociate_route_table(AssociationId=association)
    world.ec2.delete_route_table(RouteTableId=own)
    assert cloud.outside.fetch(public) == f"{one.id} saw {outside_ip}"
    world.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE)
    assert cloud.outside.fetch(public) == one.inside.fetch(outside_ip) == shut

    # Nothing is left of them.
    delete_all()
    assert [vpc["IsDefault"] for vpc in world.ec2.describe_vpcs()["Vpcs"]] == [True]
    assert wait_until(lambda: _findings(cloud) == [], 30), _findings(cloud)
    assert not any("10.20." in flow for flows in world.flows().values() for flow in flows)


def _findings(cloud):
    done = CliRunner().invoke(cli, ["--config", str(cloud.config_file), "audit", "--json"])
    return json.loads(done.output)["findings"] if done.exit_code in (0, 2) else [done.output]


def _traced(cloud, *ends):
    done = CliRunner().invoke(cli, ["--config", str(cloud.config_file), "trace", "--json", *ends, "tcp", "80"])
    return json.loads(done.output)
