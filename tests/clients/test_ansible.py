"""Ansible's amazon.aws modules: a playbook runs, a second run changes nothing, its undoing leaves nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent


@pytest.fixture
def play(cloud, tmp_path):
    def run(playbook):
        """Run a playbook; returns a word for every task (or item of its loop) that changed something."""
        settings = cloud.environment
        given = {
            "endpoint": cloud.endpoint,
            "region": settings["AWS_DEFAULT_REGION"],
            "access_key": settings["AWS_ACCESS_KEY_ID"],
            "secret_key": settings["AWS_SECRET_ACCESS_KEY"],
            "image": cloud.ec2().describe_images()["Images"][0]["ImageId"],
            "ansible_python_interpreter": sys.executable,
        }
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str(tmp_path),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "LC_ALL": "C.UTF-8",
        }
        command = [sys.executable, "-m", "ansible", "playbook", str(HERE / playbook), "-i", "localhost,"]
        done = subprocess.run(
            [*command, "-e", json.dumps(given)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return re.findall(r"^changed: ", done.stdout, re.MULTILINE)

    return run


def test_a_playbook_run_twice_changes_nothing_the_second_time(play, cloud, nothing_left):
    assert len(play("story.yml")) == 4  # two groups, a server, an address
    ec2 = cloud.ec2()
    (address,) = ec2.describe_addresses()["Addresses"]
    (reservation,) = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])[
        "Reservations"
    ]
    assert reservation["Instances"][0]["PublicIpAddress"] == address["PublicIp"]
    assert play("story.yml") == []
    assert len(play("end.yml")) == 4
    assert play("end.yml") == []
