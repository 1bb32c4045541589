"""OpenNebula's network driver, run as OpenNebula runs it, on hypervisors with real agent, controller and switch."""

import base64
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from econe_api.compute import guest_network, netns
from econe_api.compute.backend import InterfaceSpec
from econe_api.compute.namespaces import GUEST
from sluice.commands import cli
from topologies.cloud_file import driver_socket
from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

SCRIPTS = Path(__file__).parents[2] / "contrib" / "opennebula" / "sluice"
ALLOW_OUT = {"PROTOCOL": "ALL", "RULE_TYPE": "outbound"}
NETWORK = "41"


class Native:
    """A machine of OpenNebula's on hypervisor ``host``: a tap, what is behind it, and its document."""

    def __init__(self, world, host, number, address, rules):
        self.world, self.host, self.number = world, host, number
        self.address, self.mac = address, f"02:00:ac:1f:0f:{number:02x}"
        self.tap = f"one-{number}-0"
        self.namespace = f"{world.cloud.plan.name}-one{number}"
        self.inside = Vantage(self.namespace)
        self.rules = rules
        self.hosts = [f"{host}.example"]

    def boot(self):
        """What the hypervisor does between pre and post."""
        room = self.world.cloud.lab.netns(self.host)
        netns.ip_batch([f"netns add {self.namespace}"])
        netns.set_sysctls(self.namespace, netns.QUIET)
        netns.ip_batch(["link set lo up"], self.namespace)
        inner = f"name eth0 netns {self.namespace} address {self.mac}"
        netns.ip_batch([f"link add {inner} type veth peer name {self.tap} netns {room}"])
        netns.checksum_in_software(self.namespace, "eth0")
        netns.checksum_in_software(room, self.tap)
        netns.ip_batch([f"link set {self.tap} up"], room)
        spec = InterfaceSpec("eni-0", self.mac, self.address, 20, "172.31.0.1", 0, (), 64, "::1")
        with netns.there(self.namespace):
            guest_network.configure([spec])
        words = [sys.executable, "-I", "-S", str(GUEST), f"one{self.number}"]
        netns.run(netns.inside(self.namespace, words))

    def end(self):
        """What the hypervisor does when the machine ends."""
        netns.end_processes([self.namespace])
        netns.delete_link(self.world.cloud.lab.netns(self.host), self.tap)
        netns.delete(netns.namespaces(self.namespace))

    def document(self, **nic):
        values = {
            "NIC_ID": 0,
            "TARGET": self.tap,
            "MAC": self.mac,
            "IP": self.address,
            "NETWORK": "natives",
            "NETWORK_ID": NETWORK,
            "BRIDGE": "br-int",
            "VN_MAD": "sluice",
            "SECURITY_GROUPS": "100",
        } | nic
        group = {"SECURITY_GROUP_ID": 100, "SECURITY_GROUP_NAME": "web"}
        parts = [("SECURITY_GROUP_RULE", group | rule) for rule in self.rules] + [("NIC", values)]
        templates = "".join(f"<TEMPLATE><{kind}>{_elements(what)}</{kind}></TEMPLATE>" for kind, what in parts)
        history = "".join(f"<HISTORY><HOSTNAME>{one}</HOSTNAME></HISTORY>" for one in self.hosts)
        return f"<VM><ID>{self.number}</ID>{templates}<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"

    def driver(self, remotes, action, *arguments, **nic):
        """Run one script as one_vmm_exec does: the document in base64 on standard input, arguments in order."""
        text = base64.b64encode(self.document(**nic).encode())
        command = [str(remotes / self.host / action), *arguments]
        return subprocess.run(command, input=text + b"\n", capture_output=True, timeout=60, check=False)

    def deploy(self, remotes):
        done = self.driver(remotes, "pre")
        assert done.returncode == 0, done.stderr
        self.boot()
        return self.driver(remotes, "post", f"one-{self.number}", self.hosts[-1])


def _elements(values):
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())


@pytest.fixture(scope="module")
def remotes(cloud, tmp_path_factory):
    """The driver as ``onehost sync`` lays it out on each hypervisor, with where the lab's sockets are."""
    folder = tmp_path_factory.mktemp("vnm")
    for host, switch in cloud.lab.hypervisors.items():
        shutil.copytree(SCRIPTS, folder / host)
        settings = {
            "socket": driver_socket(cloud.lab, host),
            "ovs_vsctl": f"ovs-vsctl --db={switch.ovsdb}",
            "timeout": 20,
            "spool": folder / f"{host}-spool",
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (folder / host / "sluice.conf").write_text("\n".join(["[sluice]", *lines, ""]))
    return folder


@pytest.fixture
def machine(world, remotes):
    """Makes machines on a subnet that stands for OpenNebula's network; all of them are gone at the end."""
    subnet = world.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    world.ec2.create_tags(Resources=[subnet], Tags=[{"Key": "opennebula:network", "Value": NETWORK}])
    made = []

    def make(host, number, *rules):
        made.append(Native(world, host, number, f"172.31.15.{number}", list(rules)))
        return made[-1]

    yield make
    for one in made:
        one.driver(remotes, "clean", one.hosts[-1])
        with contextlib.suppress(netns.CommandError):
            one.end()


def web(port="80", **more):
    return {"PROTOCOL": "TCP", "RULE_TYPE": "inbound", "RANGE": port} | more


def native_flows(world, machine):
    """Flows on the machine's host that name its address or its MAC."""
    return [flow for flow in world.flows()[machine.host] if machine.address in flow or machine.mac in flow]


def test_a_machine_from_start_to_end(world, machine, remotes, shut):
    client = world.launch([world.group("clients")])
    before = world.flows()
    native = machine("h1", 21, web("80"), ALLOW_OUT)
    done = native.deploy(remotes)
    assert done.returncode == 0, done.stderr
    # post has returned: what the group allows passes at once, what it does not allow is dropped.
    assert client.inside.fetch(native.address).startswith("one21 ")
    assert client.inside.fetch(native.address, 8080) == shut
    # For the API it is an instance, which can have an elastic IP.
    seen = world.ec2.describe_instances(Filters=[{"Name": "private-ip-address", "Values": [native.address]}])
    instance = seen["Reservations"][0]["Instances"][0]
    public, allocation = world.address()
    world.ec2.associate_address(AllocationId=allocation, InstanceId=instance["InstanceId"])
    assert world.cloud.outside.fetch(public).startswith("one21 ")
    # update_sg opens a port and shuts another.
    native.rules = [web("8000:9000"), ALLOW_OUT]
    done = native.driver(remotes, "update_sg", "one-21")
    assert done.returncode == 0, done.stderr
    assert client.inside.fetch(native.address, 8080).startswith("one21 ")
    assert client.inside.fetch(native.address) == shut
    # What cannot be mapped is refused by name, and what was in force stays so.
    native.rules = [web("8000:9000"), ALLOW_OUT, {"PROTOCOL": "TCP", "RULE_TYPE": "inbound", "NETWORK_ID": 9}]
    done = native.driver(remotes, "update_sg", "one-21")
    assert done.returncode == 1
    assert b"ERROR MESSAGE --8<------" in done.stderr
    assert b"network 9 has no addresses" in done.stderr
    assert client.inside.fetch(native.address, 8080).startswith("one21 ")
    # clean leaves no flow and no row.
    done = native.driver(remotes, "clean", native.hosts[-1])
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert native_flows(world, native) == []
    assert "AssociationId" not in world.ec2.describe_addresses(PublicIps=[public])["Addresses"][0]
    assert world.flows() == before
    groups = world.ec2.describe_security_groups()["SecurityGroups"]
    assert not [group for group in groups if group["GroupName"].startswith("opennebula-")]


def test_pre_refuses_what_cannot_be_and_changes_nothing(world, machine, remotes):
    before = world.flows()
    native = machine("h1", 22, {"PROTOCOL": "ALL", "RULE_TYPE": "inbound", "RANGE": "22"})
    done = native.driver(remotes, "pre")
    assert (done.returncode, b"RANGE" in done.stderr) == (1, True)
    native.rules = []
    done = native.driver(remotes, "pre", BRIDGE="br-other")
    assert (done.returncode, b"Sluice keeps br-int" in done.stderr) == (1, True)
    done = native.driver(remotes, "pre", NETWORK_ID=99)
    assert (done.returncode, b"create-tags" in done.stderr) == (1, True)
    # A machine whose networks have another driver is none of ours, nor is another driver's interface that comes.
    assert native.driver(remotes, "pre", VN_MAD="bridge").returncode == 0
    assert native.driver(remotes, "post", "one-22", "h1", VN_MAD="bridge").returncode == 0
    done = native.driver(remotes, "update_nic", "one-22", NETWORK, MTU=1400)
    assert done.returncode == 0, done.stderr
    for action in ("vnet_create", "vnet_delete"):
        assert native.driver(remotes, action).returncode == 0
    assert world.flows() == before


def test_a_machine_keeps_what_it_has_while_it_moves(world, machine, remotes, wait_until):
    client = world.launch([world.group("clients")])
    native = machine("h1", 23, web("80"), ALLOW_OUT)
    assert native.deploy(remotes).returncode == 0
    named = [{"Name": "addresses.private-ip-address", "Values": [native.address]}]
    interface = world.ec2.describe_network_interfaces(Filters=named)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    # As in a live migration: pre there, the machine moves, clean here, post there.
    native.hosts.append("h2.example")
    native.host = "h2"
    assert native.driver(remotes, "pre").returncode == 0
    native.host = "h1"
    native.end()
    done = native.driver(remotes, "clean", "h1.example")
    assert (done.returncode, done.stderr) == (0, b"")
    native.host = "h2"
    native.boot()
    done = native.driver(remotes, "post", "one-23", "h1.example")
    assert done.returncode == 0, done.stderr
    seen = world.ec2.describe_network_interfaces(Filters=named)["NetworkInterfaces"][0]
    assert seen["NetworkInterfaceId"] == interface
    assert world.cloud.host_of(interface) == "h2"
    assert wait_until(lambda: client.inside.fetch(native.address).startswith("one23 "), 30)


def test_without_a_controller_post_fails_closed_and_clean_is_made_up_for(world, machine, remotes, shut):
    cloud = world.cloud
    client = world.launch([world.group("clients")])
    stays, ends, late = (machine("h1", number, web("80"), ALLOW_OUT) for number in (24, 25, 26))
    assert stays.deploy(remotes).returncode == 0
    assert ends.deploy(remotes).returncode == 0
    cloud.kill("controller")
    try:
        late.boot()
        settings = remotes / "h1" / "sluice.conf"
        before = settings.read_text()
        settings.write_text(before.replace("timeout = 20", "timeout = 3"))
        done = late.driver(remotes, "post", "one-26", "h1.example")
        settings.write_text(before)
        assert done.returncode == 1
        assert b"ERROR MESSAGE" in done.stderr
        assert late.tap not in cloud.hypervisor("h1").vsctl("list-ports", "br-int").split()
        # Whoever was admitted before goes on, and a machine ends all the same.
        assert client.inside.fetch(stays.address).startswith("one24 ")
        assert client.inside.fetch(late.address) == shut
        done = ends.driver(remotes, "clean", "h1.example")
        assert (done.returncode, b"will be forgotten" in done.stderr) == (0, True)
    finally:
        cloud.restart("controller")
        cloud.await_ready()
    assert taken_over(world) == {24, 25}
    assert late.driver(remotes, "pre").returncode == 0
    assert taken_over(world) == {24}
    assert late.driver(remotes, "post", "one-26", "h1.example").returncode == 0
    assert client.inside.fetch(late.address).startswith("one26 ")
    # What was there before the restart is in force, and can be changed.
    assert client.inside.fetch(stays.address).startswith("one24 ")
    stays.rules = [web("8080"), ALLOW_OUT]
    assert stays.driver(remotes, "update_sg", "one-24").returncode == 0
    assert client.inside.fetch(stays.address, 8080).startswith("one24 ")


def taken_over(world):
    """The machines that ``sluice opennebula list`` shows."""
    done = CliRunner().invoke(cli, ["--config", str(world.cloud.config_file), "opennebula", "list", "--json"])
    assert done.exit_code == 0, done.output
    return {one["machine"] for one in json.loads(done.output)}
