"""The aws command line: the whole story, as a shell script would tell it."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.lab


@pytest.fixture
def aws(cloud):
    environment = {
        **os.environ,
        **cloud.environment,
        "AWS_ENDPOINT_URL": cloud.endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*words, status=0):
        command = [sys.executable, "-m", "awscli", *words, "--output", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        if status:
            return done.stderr.strip()
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_the_whole_story(aws, cloud, nothing_left):
    assert aws("sts", "get-caller-identity")["Account"]
    address = aws(
        "ec2", "allocate-address", "--tag-specifications", "ResourceType=elastic-ip,Tags=[{Key=story,Value=cli}]"
    )
    group = aws("ec2", "create-security-group", "--group-name", "cli", "--description", "of the story")["GroupId"]
    aws(
        *("ec2", "authorize-security-group-ingress", "--group-id", group),
        *("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0"),
    )
    aws(
        *("ec2", "authorize-security-group-ingress", "--group-name", "cli", "--ip-permissions"),
        "IpProtocol=tcp,FromPort=8000,ToPort=8010,IpRanges=[{CidrIp=192.0.2.0/24,Description=lab}]",
    )
    aws("ec2", "create-key-pair", "--key-name", "cli")
    image = aws("ec2", "describe-images", "--query", "Images[0].ImageId")
    instance = aws(
        *("ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro", "--key-name", "cli"),
        *("--security-group-ids", group, "--query", "Instances[0].InstanceId"),
    )
    aws("ec2", "wait", "instance-running", "--instance-ids", instance)
    aws("ec2", "associate-address", "--instance-id", instance, "--public-ip", address["PublicIp"])
    assert cloud.outside.fetch(address["PublicIp"])
    shown = aws("ec2", "describe-addresses", "--filters", "Name=tag:story,Values=cl?")["Addresses"]
    assert [one["InstanceId"] for one in shown] == [instance]
    first = aws("ec2", "describe-security-groups", "--max-items", "1", "--page-size", "5")
    rest = aws("ec2", "describe-security-groups", "--starting-token", first["NextToken"])
    names = [one["GroupName"] for page in (first, rest) for one in page["SecurityGroups"]]
    assert sorted(names) == ["cli", "default"]
    aws("ec2", "create-tags", "--resources", group, instance, "--tags", "Key=story,Value=cli")
    assert len(aws("ec2", "describe-tags", "--filters", "Name=key,Values=story", "Name=value,Values=cli")["Tags"]) == 3

    refused = aws("ec2", "release-address", "--allocation-id", address["AllocationId"], "--dry-run", status=255)
    assert "(DryRunOperation)" in refused
    refused = aws("ec2", "delete-security-group", "--group-id", group, status=255)
    assert "(DependencyViolation)" in refused

    aws(
        *("ec2", "revoke-security-group-ingress", "--group-id", group),
        *("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0"),
    )
    aws("ec2", "disassociate-address", "--association-id", shown[0]["AssociationId"])
    aws("ec2", "terminate-instances", "--instance-ids", instance)
    aws("ec2", "wait", "instance-terminated", "--instance-ids", instance)
    aws("ec2", "release-address", "--allocation-id", address["AllocationId"])
    aws("ec2", "delete-security-group", "--group-id", group)
    aws("ec2", "delete-key-pair", "--key-name", "cli")
