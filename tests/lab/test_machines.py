"""Instances that are real virtual machines: two hypervisors with a libvirtd each, everything else as always."""

import base64
import os
import shutil
import signal
import struct
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.ports import interface_id
from channel.client import request
from econe_api.compute.libvirt_xml import interface_uuid
from sluice.commands import cli
from topologies.cloud import Cloud, Plan
from topologies.layout import OUTSIDE_IP
from topologies.libvirtd import Libvirtd
from topologies.machines import IMAGE
from topologies.vantage import SHUT

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

#: Seconds; the CPUs are emulated, and other labs may run beside this one.
PATIENCE = 120.0
HELLO = '#!/bin/sh\necho "guest: user data of $(cat /run/id)"\n'


def until(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return seen


class Room:
    """The cloud, and the two machines that run in it from the first test to the last."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.ec2 = cloud.ec2()
        self.group = self.ec2.create_security_group(GroupName="machines", Description="machines")["GroupId"]
        self.ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=b"ssh-ed25519 " + base64.b64encode(KEY))
        self.a, self.b = (self.launch(KeyName="mine", UserData=HELLO) for _ in range(2))
        for one in (self.a, self.b):
            self.await_state(one, "running")

    def launch(self, image=IMAGE, **asked):
        answer = self.ec2.run_instances(
            ImageId=image, InstanceType="t2.nano", MinCount=1, MaxCount=1, SecurityGroupIds=[self.group], **asked
        )
        return answer["Instances"][0]["InstanceId"]

    def shown(self, instance):
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def state(self, instance):
        return self.shown(instance)["State"]["Name"]

    def await_state(self, instance, state):
        until(lambda: self.state(instance) == state, f"{instance} is {self.state(instance)}, not {state}")

    def console(self, instance):
        return self.ec2.get_console_output(InstanceId=instance).get("Output", "")

    def await_console(self, instance, text):
        until(lambda: text in self.console(instance), f"{instance} does not say {text!r}")

    def host(self, instance):
        return self.cloud.host_of(self.shown(instance)["NetworkInterfaces"][0]["NetworkInterfaceId"])

    def daemon(self, host) -> Libvirtd:
        return self.cloud.machines.daemons[host]

    def problems(self):
        return request(self.cloud.config.compute.socket, {"op": "status"}, 30.0)["problems"]


KEY = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + bytes(range(32))


@pytest.fixture(scope="module")
def room():
    state = Path(tempfile.mkdtemp(prefix="sluice-vm-"))
    try:
        with Cloud(Plan(f"vm{os.getpid()}", state, backend="libvirt")) as running:
            yield Room(running)
    finally:
        shutil.rmtree(state)


def test_they_boot_and_know_who_they_are(room):
    """By the NoCloud seed, by DHCP and by the metadata service, all of which agree."""
    for instance in (room.a, room.b):
        room.await_console(instance, f"guest: {instance} is ready")
        said, shown = room.console(instance), room.shown(instance)
        address = shown["PrivateIpAddress"]
        assert f"guest: {instance} boots, 1 CPUs" in said
        assert f"guest: key ssh-ed25519 {base64.b64encode(KEY).decode()}" in said
        assert f"guest: eth0 has {address}/20, gateway 172.31.0.1" in said
        assert f"guest: user data of {instance}" in said
        assert f"guest: metadata says {instance}" in said
        assert room.cloud.guest(instance).run("hostname").strip() == f"ip-{address.replace('.', '-')}"
    assert {room.host(room.a), room.host(room.b)} == {"h1", "h2"}


def test_a_tap_is_a_port_of_the_bridge_that_says_whose_it_is(room):
    shown = room.shown(room.a)["NetworkInterfaces"][0]
    eni = shown["NetworkInterfaceId"]
    find = ("--bare", "--no-headings", "--columns=external_ids", "find", "Interface")
    said = room.cloud.hypervisor(room.host(room.a)).vsctl(*find, f"external_ids:iface-id={interface_uuid(eni)}")
    assert f"attached-mac={shown['MacAddress']}" in said.replace('"', "")
    assert interface_id(interface_uuid(eni)) == eni


def test_their_web_servers_are_reached_by_elastic_ips_as_rules_say(room):
    publics = {}
    for instance in (room.a, room.b):
        made = room.ec2.allocate_address(Domain="vpc")
        room.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance)
        publics[instance] = made["PublicIp"]
    outside = room.cloud.outside
    assert [outside.fetch(public) for public in publics.values()] == [SHUT, SHUT]
    anyone = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    room.ec2.authorize_security_group_ingress(GroupId=room.group, IpPermissions=anyone)
    for instance, public in publics.items():
        until(lambda i=instance, p=public: outside.fetch(p) == f"{i} saw {OUTSIDE_IP}", f"{instance} at {public}", 30)
    inside = room.cloud.guest(room.a)
    assert inside.fetch(OUTSIDE_IP) == f"outside saw {publics[room.a]}"
    assert inside.echo(room.shown(room.b)["PrivateIpAddress"], 9000) == SHUT


def test_an_interface_is_plugged_into_a_machine_that_runs_and_out_again(room):
    subnet = room.shown(room.a)["SubnetId"]
    made = room.ec2.create_network_interface(SubnetId=subnet, Groups=[room.group])["NetworkInterface"]
    eni = made["NetworkInterfaceId"]
    attached = room.ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=room.a, DeviceIndex=1)
    room.await_console(room.a, f"guest: eth1 has {made['PrivateIpAddress']}/20")
    assert room.cloud.host_of(eni) == room.host(room.a)
    room.ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])

    def status():
        return room.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["Status"]

    until(lambda: status() == "available", "it is not let go of")
    assert room.cloud.host_of(eni) is None
    assert "eth1" not in room.cloud.guest(room.a).run("ls /sys/class/net")


def test_a_hypervisor_that_does_not_answer_keeps_nobody_else_waiting(room):
    """And what is known of it is not forgotten: nothing of it is ended, nor started a second time."""
    silent, other = room.host(room.a), room.host(room.b)
    daemon = room.daemon(silent)
    daemon.kill(signal.SIGSTOP)
    try:
        until(
            lambda: any(f"hypervisor {silent} did not answer" in text for text in room.problems()), "no problem shown"
        )
        room.ec2.reboot_instances(InstanceIds=[room.b])
        until(lambda: room.console(room.b).count("SYSLINUX") == 2, f"{other} does not reboot")
        assert (room.state(room.a), room.state(room.b)) == ("running", "running")
    finally:
        daemon.kill(signal.SIGCONT)
    until(lambda: not room.problems(), "the problem stays")
    assert room.console(room.a).count("boots, 1 CPUs") == 1


def test_machines_outlive_the_daemon(room):
    daemon = room.daemon(room.host(room.a))
    daemon.stop()
    until(room.problems, "no problem shown")
    daemon.start()
    until(lambda: not room.problems(), "the problem stays")
    assert room.console(room.a).count("boots, 1 CPUs") == 1
    assert room.cloud.guest(room.a).run("cat /run/id").strip() == room.a


def test_a_machine_migrates_while_it_runs_and_keeps_its_addresses(room):
    source, target = room.host(room.a), room.host(room.b)
    assert source != target
    (address,) = room.ec2.describe_addresses(Filters=[{"Name": "instance-id", "Values": [room.a]}])["Addresses"]
    boots = room.cloud.guest(room.a).run("cat /proc/sys/kernel/random/boot_id")
    room.cloud.machines.migrate(room.a, source, target)
    said = CliRunner().invoke(cli, ["--config", str(room.cloud.config_file), "instance", "moved", room.a, target])
    assert said.exit_code == 0, said.output
    assert room.host(room.a) == target
    expected = f"{room.a} saw {OUTSIDE_IP}"
    until(lambda: room.cloud.outside.fetch(address["PublicIp"]) == expected, "its elastic IP does not follow", 30)
    assert room.cloud.guest(room.a).run("cat /proc/sys/kernel/random/boot_id") == boots
    assert room.state(room.a) == "running"


def test_stopping_presses_the_power_button_and_the_disk_stays(room):
    host, disk = room.host(room.a), f"{room.a}.qcow2"
    pool = room.daemon(host).pool
    before = (pool / disk).stat().st_ino
    room.ec2.stop_instances(InstanceIds=[room.a])
    room.await_state(room.a, "stopped")
    assert f"guest: {room.a} shuts down" in room.console(room.a)
    assert room.host(room.a) is None
    room.ec2.start_instances(InstanceIds=[room.a])
    room.await_state(room.a, "running")
    assert (pool / disk).stat().st_ino == before
    assert room.host(room.a) == host


def test_a_machine_that_shuts_itself_down_is_stopped_and_one_that_is_killed_comes_back(room):
    pid = room.daemon(room.host(room.a)).folder / "run" / "qemu" / f"{room.cloud.machines.domain(room.a).name()}.pid"
    killed = pid.read_text()
    os.kill(int(killed), signal.SIGKILL)
    room.cloud.guest(room.b).run("{ (sleep 1; poweroff -f) & }")
    room.await_state(room.b, "stopped")
    shown = room.shown(room.b)
    assert shown["StateReason"] == {
        "Code": "Client.InstanceInitiatedShutdown",
        "Message": "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    }
    assert shown["StateTransitionReason"] == ""
    assert room.host(room.b) is None
    until(lambda: pid.exists() and pid.read_text() not in ("", killed), "the one that was killed stays away")
    assert room.state(room.a) == "running"
    room.ec2.start_instances(InstanceIds=[room.b])
    room.await_state(room.b, "running")
    assert "StateReason" not in room.shown(room.b)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(Path.unlink, "Client.InvalidSnapshot.NotFound"), (lambda path: os.truncate(path, 4096), "Client.InternalError")],
    ids=["missing", "cut-off"],
)
def test_an_image_that_cannot_be_used_ends_the_launch_and_says_why(room, spoil, code):
    account = room.ec2.describe_security_groups(GroupIds=[room.group])["SecurityGroups"][0]["OwnerId"]
    room.cloud.machines.upload(account)
    image = room.ec2.register_image(Name=f"to be spoilt {code}", ImageLocation="guest.qcow2")["ImageId"]

    def shown():
        return room.ec2.describe_images(ImageIds=[image])["Images"][0]["State"]

    until(lambda: shown() == "available", "it is not copied")
    spoil(room.cloud.config.library.directory / f"{image}.qcow2")
    instance = room.launch(image)
    room.await_state(instance, "terminated")
    assert room.shown(instance)["StateReason"]["Code"] == code
    room.ec2.deregister_image(ImageId=image)


def test_termination_leaves_nothing_of_them(room):
    """Be it by the API or from inside, which no protection forbids."""
    room.ec2.modify_instance_attribute(InstanceId=room.a, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    room.ec2.modify_instance_attribute(InstanceId=room.a, DisableApiTermination={"Value": True})
    room.await_console(room.a, f"guest: {room.a} is ready")
    room.cloud.guest(room.a).run("{ (sleep 1; poweroff -f) & }")
    room.ec2.terminate_instances(InstanceIds=[room.b])
    for instance in (room.a, room.b):
        room.await_state(instance, "terminated")
    assert room.shown(room.a)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    for daemon in room.cloud.machines.daemons.values():
        left = {path.name for path in daemon.pool.iterdir()}
        assert left == {f"{IMAGE}.qcow2", f"{IMAGE}.ready"}
