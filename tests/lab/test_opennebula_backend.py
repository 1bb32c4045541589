"""The whole cloud with OpenNebula as what runs instances: from RunInstances to a web page at an elastic IP."""

import ipaddress
import secrets
import tempfile
import time
from pathlib import Path

import pytest

from econe_api.compute.namespaces import Host, NamespaceBackend
from topologies.cloud import Cloud, Plan
from topologies.control_plane import ACCOUNT
from topologies.oned.bus import Bus
from topologies.oned.cloud import Oned
from topologies.oned.hypervisors import Hypervisors
from topologies.oned.model import Network
from topologies.oned.server import Server
from topologies.oned.templates import Template
from topologies.vantage import SHUT

pytestmark = pytest.mark.lab


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)
    return seen


def _oned():
    oned = Oned()
    oned.add_user("serveradmin", "service-secret", group=0, driver="server_cipher")
    oned.add_user(ACCOUNT, "secret")
    oned.hosts = {0: "h1"}
    oned.networks[7] = Network(7, "instances", oned.users[0], "02:00:5e:00:00:00", 4096)
    oned.templates[3] = Template.parse('CPU="0.1"\nMEMORY="64"')
    return oned


def _switch_backend(cloud, server, bus):
    """Let the cloud's worker and API go on with OpenNebula."""
    auth = cloud.plan.state / "auth"
    auth.write_text("serveradmin:service-secret\n")
    settings = f'endpoint = "{server.url}"\nsecret_file = "{auth}"\nnetwork = 7\ntemplate = 3\nevents = "{bus.address}"'
    text = cloud.config_file.read_text().replace('backend = "namespace"', 'backend = "opennebula"')
    cloud.config_file.write_text(f"{text}\n[opennebula]\n{settings}\nresync = 1\n")
    for name in ("compute", "api"):
        cloud.restart(name)
    cloud.await_ready()


@pytest.fixture
def built():
    with (
        tempfile.TemporaryDirectory() as state,
        Server(_oned()) as server,
        Bus(server.oned, lost=0.5) as bus,
        Cloud(Plan(f"o{secrets.token_hex(3)}", Path(state), hypervisors=1)) as cloud,
    ):
        _switch_backend(cloud, server, bus)
        ec2 = cloud.ec2()

        def address_of(interface):
            (shown,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
            (subnet,) = ec2.describe_subnets(SubnetIds=[shown["SubnetId"]])["Subnets"]
            network = ipaddress.IPv4Network(subnet["CidrBlock"])
            return shown["PrivateIpAddress"], network.prefixlen, str(network.network_address + 1)

        lab = cloud.lab
        hosts = [Host("h1", lab.netns("h1"), lab.hypervisor("h1").ovsdb, "br-int", lab.name)]
        backend = NamespaceBackend(hosts)
        server.oned.changed.append(Hypervisors(backend, {"h1": "h1"}, address_of).follow)
        yield cloud, server, ec2
        backend.destroy_all()


def test_an_instance_of_opennebula_answers_at_its_elastic_ip_until_its_vm_is_gone(built):
    cloud, server, ec2 = built

    def state(instance):
        return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]

    group = ec2.create_security_group(GroupName="web", Description="web")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    asked = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SecurityGroupIds": [group]}
    instance = ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    until(lambda: state(instance) == "running")
    address = ec2.allocate_address()
    ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance)
    public = address["PublicIp"]
    answers = until(lambda: (said := cloud.outside.fetch(public)) != SHUT and said)
    assert instance in answers

    server.trouble = "down"
    until(lambda: _refused(ec2, asked))
    assert instance in cloud.outside.fetch(public)
    server.trouble = ""
    until(lambda: not _refused(ec2, asked))

    (vm,) = (each for each in server.oned.vms.values() if each.name == instance)
    server.oned.act(server.oned.users[0], "terminate-hard", vm.id)
    until(lambda: state(instance) == "terminated")
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"][0]
    assert cloud.outside.fetch(public) == SHUT


def _refused(ec2, asked):
    """Whether RunInstances is refused for want of a backend."""
    try:
        ec2.run_instances(**{**asked, "DryRun": True})
    except ec2.exceptions.ClientError as error:
        return error.response["Error"]["Code"] == "Unavailable"
    return False
