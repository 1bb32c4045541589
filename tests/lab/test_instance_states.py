"""Instances stopped, started and rebooted under traffic; what their status and their consoles say meanwhile."""

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.lab


def quick(ec2, name):
    waiter = ec2.get_waiter(name)
    waiter.config.delay, waiter.config.max_attempts = 0.2, 100
    return waiter


def shown(world, guest):
    return world.ec2.describe_instances(InstanceIds=[guest.id])["Reservations"][0]["Instances"][0]


def without_arp_for(guest, flows):
    """Flows but those that answer ARP for the guest: its address and MAC are its own also while it is stopped."""
    answer = f"arp_tpa={guest.private_ip},arp_op=1 "
    return {host: [flow for flow in found if answer not in flow] for host, found in flows.items()}


def devices(world, guest):
    return world.cloud.lab.hypervisor(guest.host).vsctl("list-ports", "br-int").split()


def test_stop_and_start_under_traffic(world, wait_until, shut, outside_ip):
    ec2, outside = world.ec2, world.cloud.outside
    group = world.group("states")
    world.allow(group, "tcp", 80)
    neighbour = world.launch([group], host="h1")
    before_it = world.flows()
    ports_before = devices(world, neighbour)
    guest = world.launch([group], host="h1")
    public, allocation = world.address(guest)
    waiting = {"InstanceIds": [guest.id]}
    for name in ("instance_exists", "instance_running", "instance_status_ok", "system_status_ok"):
        quick(ec2, name).wait(**waiting)
    assert outside.fetch(public) == f"{guest.id} saw {outside_ip}"
    assert neighbour.inside.fetch(guest.private_ip) == f"{guest.id} saw {neighbour.private_ip}"
    running = shown(world, guest)
    flow_counts = {host: len(found) for host, found in world.flows().items()}  # the port's number may be another later
    address = ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]

    (change,) = ec2.stop_instances(**waiting)["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    quick(ec2, "instance_stopped").wait(**waiting)
    assert devices(world, guest) == ports_before
    assert guest.id not in "".join(world.cloud.lab.run("h1", "ip", "netns", "list").stdout)
    assert wait_until(lambda: without_arp_for(guest, world.flows()) == before_it)
    assert outside.fetch(public) == shut
    assert neighbour.inside.fetch(guest.private_ip) == shut
    assert ec2.describe_instance_status(**waiting)["InstanceStatuses"] == []
    (status,) = ec2.describe_instance_status(**waiting, IncludeAllInstances=True)["InstanceStatuses"]
    assert status["InstanceStatus"]["Status"] == status["SystemStatus"]["Status"] == "not-applicable"
    assert ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0] == address

    ec2.start_instances(**waiting)
    quick(ec2, "instance_running").wait(**waiting)
    assert wait_until(lambda: {host: len(found) for host, found in world.flows().items()} == flow_counts, 30)
    assert wait_until(lambda: outside.fetch(public) == f"{guest.id} saw {outside_ip}")
    assert neighbour.inside.fetch(guest.private_ip) == f"{guest.id} saw {neighbour.private_ip}"
    again = shown(world, guest)
    changed = {"LaunchTime": running["LaunchTime"]}
    assert again | changed == running


def test_reboot_keeps_the_port_and_starts_a_new_console(world, wait_until):
    ec2 = world.ec2
    group = world.group("reboot")
    world.allow(group, "tcp", 80)
    one, other = world.launch([group], host="h1"), world.launch([group], host="h1")
    first = ec2.get_console_output(InstanceId=one.id)
    assert first["Output"].splitlines()[0].startswith(f"{one.id} boots from ami-")
    assert f"eth0: {one.mac} {one.private_ip}/" in first["Output"]
    assert "listens on port 80\n" in first["Output"]
    pids = world.cloud.lab.run("h1", "ip", "netns", "pids", f"{world.cloud.lab.name}-{one.id}").stdout
    flows, ports = world.flows(), devices(world, one)
    ec2.reboot_instances(InstanceIds=[one.id])
    assert wait_until(
        lambda: (
            world.cloud.lab.run("h1", "ip", "netns", "pids", f"{world.cloud.lab.name}-{one.id}").stdout
            not in ("", pids)
        ),
        10,
    )
    assert wait_until(lambda: other.inside.fetch(one.private_ip) == f"{one.id} saw {other.private_ip}")
    assert (world.flows(), devices(world, one)) == (flows, ports)
    assert world.state(one.id) == "running"
    second = ec2.get_console_output(InstanceId=one.id)
    assert second["Output"].count("boots from") == 1
    assert second["Timestamp"] >= first["Timestamp"]


def test_an_association_ends_with_the_instance_that_was_stopped(world, wait_until):
    ec2 = world.ec2
    guest = world.launch([world.group("gone")])
    _, allocation = world.address(guest)
    ec2.stop_instances(InstanceIds=[guest.id], Force=True)
    quick(ec2, "instance_stopped").wait(InstanceIds=[guest.id])
    with pytest.raises(ClientError, match="IncorrectState"):
        ec2.reboot_instances(InstanceIds=[guest.id])
    ec2.terminate_instances(InstanceIds=[guest.id])
    quick(ec2, "instance_terminated").wait(InstanceIds=[guest.id])
    world.instances.remove(guest.id)
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]
