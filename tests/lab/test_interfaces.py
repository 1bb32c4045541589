"""Several network interfaces and addresses per instance, with real packets.

A ``t3.micro`` has two interfaces with two addresses each, as in EC2.
"""

import pytest

pytestmark = pytest.mark.lab


def seen(guest, client):
    return f"{guest.id} saw {client}"


class Links:
    """Interfaces that a case makes, deleted at its end."""

    def __init__(self, world):
        self.world, self.ec2, self.made = world, world.ec2, []

    def create(self, guest, groups, **asked):
        """An interface in the subnet of a guest; gives its id and its address."""
        shown = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[guest.interface])["NetworkInterfaces"][0]
        made = self.ec2.create_network_interface(SubnetId=shown["SubnetId"], Groups=groups, **asked)["NetworkInterface"]
        self.made.append(made["NetworkInterfaceId"])
        return made["NetworkInterfaceId"], made["PrivateIpAddress"]

    def attach(self, interface, guest, index=1):
        asked = {"NetworkInterfaceId": interface, "InstanceId": guest.id, "DeviceIndex": index}
        return self.ec2.attach_network_interface(**asked)["AttachmentId"]

    def status(self, interface):
        found = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
        return found["Status"], found.get("Attachment", {}).get("Status")

    def address(self, interface, **asked):
        """A new elastic IP for an interface."""
        public, allocation = self.world.address()
        self.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface, **asked)
        return public

    def clean(self):
        for interface in self.made:
            self.ec2.get_waiter("network_interface_available").wait(
                NetworkInterfaceIds=[interface], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
            )
            self.ec2.delete_network_interface(NetworkInterfaceId=interface)


@pytest.fixture
def links(world):
    made = Links(world)
    try:
        yield made
    finally:
        if world.instances:
            world.terminate(*world.instances)
        made.clean()


def source_of(guest, outside_ip, address):
    """What the outside host sees when the guest calls from one of its addresses."""
    got = guest.inside.run(
        "curl", "--silent", "--noproxy", "*", "--max-time", "2", "--interface", address, f"http://{outside_ip}/"
    )
    return " saw ".join(got.stdout.split())


def test_each_interface_has_its_own_groups_and_each_address_its_own_elastic_ip(
    world, links, outside_ip, shut, wait_until
):
    web, closed, outside = world.group("web"), world.group("closed"), world.cloud.outside
    world.allow(web, "tcp", 80)
    guest = world.launch([closed], host="h1")
    peer = world.launch([world.group("peers")], host="h1")
    interface, private = links.create(guest, [web], SecondaryPrivateIpAddressCount=1)
    shown = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
    (secondary,) = [one["PrivateIpAddress"] for one in shown["PrivateIpAddresses"] if not one["Primary"]]

    # Elastic IPs of an interface that is attached to nothing are there, and reach nobody.
    first = links.address(interface)
    second = links.address(interface, PrivateIpAddress=secondary)
    own, _ = world.address(guest)
    assert [outside.fetch(address) for address in (first, second, own)] == [shut] * 3
    assert links.status(interface) == ("available", None)

    attachment = links.attach(interface, guest)
    assert links.status(interface) == ("in-use", "attached")
    assert wait_until(lambda: outside.fetch(first) == seen(guest, outside_ip))
    assert outside.fetch(second) == seen(guest, outside_ip)
    assert outside.fetch(own) == shut
    assert peer.inside.fetch(private) == seen(guest, peer.private_ip)
    assert peer.inside.fetch(secondary) == seen(guest, peer.private_ip)
    assert peer.inside.fetch(guest.private_ip) == shut

    # The guest chooses by the address that it calls from.
    for address, public in ((private, first), (secondary, second), (guest.private_ip, own)):
        assert source_of(guest, outside_ip, address) == f"outside saw {public}"

    # Rules of one interface's groups are not the other's.
    world.allow(closed, "tcp", 8080)
    assert (outside.fetch(own, 8080), outside.fetch(first, 8080)) == (seen(guest, outside_ip), shut)

    # Detached, it is dark at once, connections that are open included; the other interface goes on.
    world.allow(web, "tcp", 9000)
    with outside.converse(first, 9000) as talk:
        assert wait_until(lambda: talk.echoes)
        world.ec2.detach_network_interface(AttachmentId=attachment)
        assert [outside.fetch(address) for address in (first, second)] == [shut, shut]
        assert wait_until(lambda: talk.silence > 1.0)
    assert peer.inside.fetch(private) == shut
    assert outside.fetch(own, 8080) == seen(guest, outside_ip)
    assert links.status(interface) == ("available", None)
    assert "eth1" not in guest.inside.run("ip", "link").stdout

    # Attached elsewhere, on the other hypervisor, it takes addresses, groups and elastic IPs along.
    other = world.launch([closed], host="h2")
    links.attach(interface, other)
    assert wait_until(lambda: outside.fetch(first) == seen(other, outside_ip))
    assert outside.fetch(second) == seen(other, outside_ip)
    assert peer.inside.fetch(private) == seen(other, peer.private_ip)
    assert source_of(other, outside_ip, secondary) == f"outside saw {second}"

    # It outlives its instance, with its elastic IPs.
    world.terminate(other.id)
    assert links.status(interface) == ("available", None)
    assert outside.fetch(first) == shut
    held = world.ec2.describe_addresses(PublicIps=[first])["Addresses"][0]
    assert (held["NetworkInterfaceId"], "InstanceId" in held) == (interface, False)


def test_a_launch_with_two_interfaces(world, links, outside_ip, shut):
    web, closed = world.group("web"), world.group("closed")
    world.allow(web, "tcp", 80)
    answer = world.ec2.run_instances(
        ImageId=world.image(),
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=[
            {"DeviceIndex": 0, "Groups": [closed]},
            {"DeviceIndex": 1, "Groups": [web], "SecondaryPrivateIpAddressCount": 1},
        ],
    )["Instances"][0]
    instance = answer["InstanceId"]
    world.instances.append(instance)
    world.ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    first, second = answer["NetworkInterfaces"]
    addresses = [one["PrivateIpAddress"] for one in second["PrivateIpAddresses"]]
    peer = world.launch([closed], host=world.cloud.host_of(first["NetworkInterfaceId"]))
    for address in addresses:
        assert peer.inside.fetch(address) == f"{instance} saw {peer.private_ip}"
    assert peer.inside.fetch(first["PrivateIpAddress"]) == shut
    public = links.address(second["NetworkInterfaceId"], PrivateIpAddress=addresses[1])
    assert world.cloud.outside.fetch(public) == f"{instance} saw {outside_ip}"


def test_an_address_that_moves_takes_its_elastic_ip_along(world, links, outside_ip, shut, wait_until):
    group, outside = world.group("web"), world.cloud.outside
    world.allow(group, "tcp", 80)
    one, other = world.launch([group], host="h1"), world.launch([group], host="h2")
    made = world.ec2.assign_private_ip_addresses(NetworkInterfaceId=one.interface, SecondaryPrivateIpAddressCount=1)[
        "AssignedPrivateIpAddresses"
    ][0]["PrivateIpAddress"]
    # What is assigned to a running instance is for the instance to configure.
    for guest in (one, other):
        assert guest.inside.run("ip", "address", "add", f"{made}/20", "dev", "eth0").returncode == 0
    public = links.address(one.interface, PrivateIpAddress=made)
    assert outside.fetch(public) == seen(one, outside_ip)
    assert source_of(one, outside_ip, made) == f"outside saw {public}"
    # The instance that does not have it cannot pretend to.
    assert source_of(other, outside_ip, made) == ""

    world.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=other.interface, PrivateIpAddresses=[made], AllowReassignment=True
    )
    assert wait_until(lambda: outside.fetch(public) == seen(other, outside_ip))
    assert source_of(one, outside_ip, made) == ""
    world.ec2.unassign_private_ip_addresses(NetworkInterfaceId=other.interface, PrivateIpAddresses=[made])
    assert outside.fetch(public) == shut
    assert "AssociationId" not in world.ec2.describe_addresses(PublicIps=[public])["Addresses"][0]


def test_stop_and_start_with_several_interfaces(world, links, outside_ip, shut, wait_until):
    web, outside = world.group("web"), world.cloud.outside
    world.allow(web, "tcp", 80)
    guest = world.launch([web], host="h1")
    second, _ = links.create(guest, [web])
    own, _ = world.address(guest)
    attachment = links.attach(second, guest)
    further = links.address(second)
    both = (own, further)
    assert wait_until(lambda: [outside.fetch(address) for address in both] == [seen(guest, outside_ip)] * 2)
    switch = world.cloud.lab.hypervisor("h1")

    def ports():
        return switch.vsctl("--bare", "--columns=name", "find", "Interface", f'external_ids:vm-id="{guest.id}"').split()

    def settle(what):
        world.ec2.get_waiter(what).wait(InstanceIds=[guest.id], WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    assert len(ports()) == 2
    world.ec2.stop_instances(InstanceIds=[guest.id])
    settle("instance_stopped")
    assert ports() == []
    assert [outside.fetch(address) for address in both] == [shut] * 2
    assert links.status(second) == ("in-use", "attached")

    world.ec2.start_instances(InstanceIds=[guest.id])
    settle("instance_running")
    assert len(ports()) == 2
    assert wait_until(lambda: [outside.fetch(address) for address in both] == [seen(guest, outside_ip)] * 2)

    # What is detached while the instance stands still does not come back.
    world.ec2.stop_instances(InstanceIds=[guest.id])
    settle("instance_stopped")
    world.ec2.detach_network_interface(AttachmentId=attachment)
    assert links.status(second) == ("available", None)
    world.ec2.start_instances(InstanceIds=[guest.id])
    settle("instance_running")
    assert wait_until(lambda: outside.fetch(own) == seen(guest, outside_ip))
    assert (len(ports()), outside.fetch(further)) == (1, shut)
