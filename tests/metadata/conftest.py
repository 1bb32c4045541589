"""The facts of one instance, as the controller tells them."""

import base64
from typing import Any

import pytest


def one_interface(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"eni-{number}",
        "mac": f"02:00:00:00:00:{number:02x}",
        "device": number,
        "addresses": [f"172.31.0.{4 + number}"],
        "public": [],
        "ipv6": [],
        "groups": [["sg-1", "web"], ["sg-2", "db"]],
        "subnet": "subnet-1",
        "subnet_cidr": "172.31.0.0/20",
        "subnet_ipv6": None,
        "vpc": "vpc-1",
        "vpc_cidr": "172.31.0.0/16",
        "vpc_ipv6": None,
    } | changes


@pytest.fixture
def facts() -> dict[str, Any]:
    return {
        "account": "123456789012",
        "instance": "i-1",
        "image": "ami-1",
        "type": "t3.micro",
        "reservation": "r-1",
        "launch_index": 2,
        "launched": "2024-05-06T07:08:09Z",
        "zone": "us-east-1a",
        "region": "us-east-1",
        "domain": "ec2.internal",
        "key": ["my=key", "ssh-ed25519 AAAA my=key"],
        "user_data": base64.b64encode(bytes(range(256))).decode(),
        "tokens": "optional",
        "endpoint": True,
        "hop_limit": 1,
        "interfaces": [one_interface(), one_interface(1)],
    }


@pytest.fixture
def interface() -> Any:
    return one_interface
