"""scripts/up: clients work against it, its state outlives it, it looks after its processes, its errors are one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from boto.ec2.connection import EC2Connection
from boto.regioninfo import RegionInfo
from botocore.config import Config

from topologies.vantage import Vantage

pytestmark = pytest.mark.lab

IMAGE = "ami-0123456789abcdef0"
OUTSIDE_IP = "203.0.113.10"


def client(exports: dict[str, str]):
    return boto3.client(
        "ec2",
        endpoint_url=exports["AWS_ENDPOINT_URL_EC2"],
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
        region_name=exports["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def tool(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def test_the_printed_lines_point_the_aws_command_line_at_it(up: Callable, tmp_path: Path) -> None:
    exports = up().exports
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    asked = subprocess.run(
        [tool("aws"), "ec2", "describe-addresses", "--output", "text", "--query", "length(Addresses)"],
        env={**own, **exports, "NO_PROXY": "127.0.0.1", "AWS_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == "0"
    status = [tool("sluice"), "--config", str(tmp_path / "state" / "sluice.toml"), "status"]
    assert "all in sync" in subprocess.run(status, capture_output=True, text=True, check=True).stdout


def test_the_script_of_2012_runs_with_boto_2(up: Callable, name: str) -> None:
    exports = up().exports
    host, _, port = exports["AWS_ENDPOINT_URL_EC2"].removeprefix("http://").partition(":")
    ec2 = EC2Connection(
        exports["AWS_ACCESS_KEY_ID"],
        exports["AWS_SECRET_ACCESS_KEY"],
        is_secure=False,
        host=host,
        port=int(port),
        path="/",
        region=RegionInfo(name=exports["AWS_DEFAULT_REGION"], endpoint=host),
        proxy=None,
    )
    group = ec2.create_security_group("web", "a web server")
    group.authorize("tcp", 80, 80, "0.0.0.0/0")
    image = ec2.get_image(IMAGE)
    instance = image.run(instance_type="m1.small", security_groups=[group.id]).instances[0]
    assert instance.update() == "running"
    address = ec2.allocate_address()
    assert ec2.associate_address(instance.id, address.public_ip)
    outside = Vantage(f"{name}-out")
    assert outside.fetch(address.public_ip) == f"{instance.id} saw {OUTSIDE_IP}"
    with pytest.raises(ec2.ResponseError, match="exactly one of"):
        group.authorize("tcp", 22, 22)  # without a source: never "anyone"
    assert ec2.disassociate_address(address.public_ip)
    assert outside.fetch(address.public_ip) == "no answer"
    assert address.release()
    assert ec2.get_all_addresses() == []


def test_state_outlives_it(up: Callable, name: str) -> None:
    first = up()
    ec2 = client(first.exports)
    group = ec2.create_security_group(GroupName="web", Description="a web server")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    made = ec2.run_instances(ImageId=IMAGE, InstanceType="t3.micro", MinCount=1, MaxCount=1, SecurityGroupIds=[group])
    instance = made["Instances"][0]["InstanceId"]
    address = ec2.allocate_address()
    ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance)
    first.signal_all(signal.SIGINT)
    assert first.ended() == 128 + signal.SIGINT

    second = up()
    same = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert [second.exports[key] for key in same] == [first.exports[key] for key in same]
    ec2 = client(second.exports)
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["GroupName"] == "web"
    (kept,) = ec2.describe_addresses()["Addresses"]
    assert (kept["PublicIp"], kept["InstanceId"]) == (address["PublicIp"], instance)
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    assert Vantage(f"{name}-out").fetch(address["PublicIp"]) == f"{instance} saw {OUTSIDE_IP}"


def test_a_process_that_dies_is_started_again(up: Callable, tmp_path: Path) -> None:
    cloud = up()
    children = Path(f"/proc/{cloud.process.pid}/task/{cloud.process.pid}/children").read_text().split()
    (controller,) = [pid for pid in children if b"-m\0controller\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(controller), signal.SIGKILL)
    cloud.read_until("controller ended with status -9")
    assert "starting it again" in cloud.lines[-1]
    assert client(cloud.exports).describe_addresses()["Addresses"] == []


def one_line_of(start: Callable, *arguments: str) -> str:
    program = start("up", *arguments)
    assert program.ended() == 1
    (line,) = program.process.stderr.read().splitlines()
    return line


def test_a_taken_port_is_named(start: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be had" in one_line_of(start, "--api-port", str(port))


def test_a_state_directory_that_cannot_be_written_is_named(start: Callable, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"state directory {file} is not writable" in one_line_of(start, "--api-port", "0", "--state", str(file))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--hypervisors", "0"), "1 to 64 hypervisors"),
        (("--api-port", "70000"), "'70000' is no port"),
        (("--public-range", "10.0.0.1-10.0.0.9"), "is no range of 198.51.100.0/24"),
        (("--state", "/tmp/" + 90 * "x"), "too long"),
        (("--unheard-of",), "unrecognized arguments: --unheard-of"),
    ],
)
def test_a_wrong_argument_is_one_line(start: Callable, arguments: tuple[str, ...], text: str) -> None:
    assert text in one_line_of(start, "--api-port", "0", *arguments)


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (("setpriv", "--reuid=65534", "--clear-groups"), "must run as root"),
        (("env", "PATH=/usr/bin:/bin"), "ovs-vswitchd; run: apt-get install openvswitch-switch"),
    ],
    ids=["not root", "no Open vSwitch"],
)
def test_a_machine_that_will_not_do_is_one_line(prefix: tuple[str, ...], text: str) -> None:
    command = [*prefix, sys.executable, "-m", "topologies.up", "--api-port", "0"]
    # Measuring coverage as another user would only add that user's complaints.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert text in line
