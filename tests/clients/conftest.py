"""A small cloud for clients that were written for EC2, each of which does the whole story of an elastic IP on it."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from topologies.cloud import Cloud, Plan


@pytest.fixture(scope="session")
def cloud():
    state = Path(tempfile.mkdtemp(prefix="sluice-client-"))
    try:
        with Cloud(Plan(f"client{os.getpid()}", state, hypervisors=1)) as running:
            yield running
    finally:
        shutil.rmtree(state)


@pytest.fixture
def nothing_left(cloud):
    """What the account had before it has afterwards, and nothing else."""
    ec2 = cloud.ec2()

    def owned():
        instances = ec2.get_paginator("describe_instances").paginate().search("Reservations[].Instances[]")
        return {
            "addresses": [one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]],
            "groups": [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]],
            "instances": [one["InstanceId"] for one in instances if one["State"]["Name"] != "terminated"],
            "interfaces": [one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]],
            "keys": [one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"]],
            "vpcs": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]],
        }

    before = owned()
    yield
    assert owned() == before


@pytest.fixture
def wait_until():
    def wait(condition, seconds):
        deadline = time.monotonic() + seconds
        while not (seen := condition()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen

    return wait
