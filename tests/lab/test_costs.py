"""What each API call costs in flow-mods: counted, never timed."""

import pytest

pytestmark = pytest.mark.lab


class Meter:
    """Flow-mods and compiled fragments per hypervisor since the last look."""

    def __init__(self, world):
        self.world = world
        self.look()

    def look(self):
        status = self.world.cloud.status()
        now = {host["name"]: host["flow_mods"] for host in status["hosts"]}
        compiled = status["counters"]["compiled"]
        spent = {name: count - self.last[name] for name, count in now.items()} if hasattr(self, "last") else {}
        fragments = compiled - self.compiled if hasattr(self, "compiled") else 0
        self.last, self.compiled = now, compiled
        return spent, fragments


def test_flow_mods_of_every_call(world):
    group, peers = world.group("counted"), world.group("peers")
    guest = world.launch([group], host="h1")
    other = world.launch([peers], host="h2")
    meter = Meter(world)

    _, allocation = world.address()
    assert meter.look() == ({"h1": 0, "h2": 0}, 0)
    world.associate(allocation, guest)
    assert meter.look() == ({"h1": 4, "h2": 0}, 1)
    world.associate(allocation, guest)  # the same again
    assert meter.look() == ({"h1": 0, "h2": 0}, 0)
    world.associate(allocation, other)  # to the other host
    assert meter.look() == ({"h1": 4, "h2": 4}, 1)
    association = world.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]["AssociationId"]
    world.ec2.disassociate_address(AssociationId=association)
    assert meter.look() == ({"h1": 0, "h2": 4}, 0)

    world.allow(group, "tcp", 80)
    assert meter.look() == ({"h1": 1, "h2": 0}, 1)
    world.allow(group, "tcp", 1024, 65535)  # six blocks of ports
    assert meter.look() == ({"h1": 6, "h2": 0}, 1)
    world.revoke(group, "tcp", 1024, 65535)
    assert meter.look() == ({"h1": 6, "h2": 0}, 1)
    world.allow(group, "udp", 53, source="203.0.113.0/24")  # the rule and the one prefix
    assert meter.look() == ({"h1": 2, "h2": 0}, 2)
    world.allow(group, "udp", 54, source=peers)  # the rule and the one member
    assert meter.look() == ({"h1": 2, "h2": 0}, 2)

    # One more address: who may send as it and who it is asked for by, and the way to it on each host of the VPC.
    asked = {"NetworkInterfaceId": guest.interface}
    made = world.ec2.assign_private_ip_addresses(**asked, SecondaryPrivateIpAddressCount=1)
    fresh = made["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    assert meter.look() == ({"h1": 4, "h2": 2}, 3)
    target = {"AllocationId": allocation, "NetworkInterfaceId": guest.interface, "PrivateIpAddress": fresh}
    world.ec2.associate_address(**target)
    assert meter.look() == ({"h1": 4, "h2": 0}, 1)
    world.ec2.unassign_private_ip_addresses(**asked, PrivateIpAddresses=[fresh])
    assert meter.look() == ({"h1": 8, "h2": 2}, 1)

    world.join(guest, group, peers)  # two rows of groups, and one more member for the host that cares
    spent, _ = meter.look()
    assert spent == {"h1": 4, "h2": 0}
    world.join(guest, group)
    spent, _ = meter.look()
    assert spent == {"h1": 4, "h2": 0}
