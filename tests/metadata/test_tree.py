"""Paths of the metadata tree, against EC2's documentation and cloud-init's way through it."""

import json
from typing import Any

import pytest

from agents.metadata.tree import look_up


def _text(facts: Any, path: str) -> str:
    found = look_up(facts, path)
    assert found is not None, path
    return found.decode()


def test_the_root_lists_versions(facts: Any) -> None:
    versions = _text(facts, "/").splitlines()
    assert {"1.0", "2009-04-04", "2016-09-02", "2021-03-23", "2021-07-15", "latest"} <= set(versions)
    assert versions == [*sorted(versions[:-1]), "latest"]
    for version in versions:
        assert _text(facts, f"/{version}/").splitlines() == ["dynamic/", "meta-data/", "user-data"]


@pytest.mark.parametrize("path", ["/latest/meta-data", "/latest/meta-data/", "//latest//meta-data", "/1.0/meta-data/"])
def test_a_directory_is_found_with_and_without_its_slash(facts: Any, path: str) -> None:
    lines = _text(facts, path).splitlines()
    assert lines == sorted(lines)
    assert {"ami-id", "network/", "placement/", "public-keys/", "services/"} <= set(lines)
    assert "public-ipv4" not in lines


@pytest.mark.parametrize(
    "path",
    [
        "/latest/meta-data/instance-id/",
        "/latest/meta-data/instance-id/x",
        "/latest/meta-data/nothing",
        "/latest/meta-data/../user-data",
        "/2030-01-01/meta-data/",
        "/latest/user-data/",
        "/latest/meta-data/public-keys/1/openssh-key",
        "/latest/meta-data/public-ipv4",
        "/latest/meta-data/ipv6",
        "/favicon.ico",
    ],
)
def test_nothing_is_there(facts: Any, path: str) -> None:
    assert look_up(facts, path) is None


def test_user_data_is_exact_or_absent(facts: Any) -> None:
    assert look_up(facts, "/latest/user-data") == bytes(range(256))
    assert look_up(facts | {"user_data": None}, "/latest/user-data") is None
    assert "user-data" not in _text(facts | {"user_data": None}, "/latest/")


def test_public_keys(facts: Any) -> None:
    assert _text(facts, "/latest/meta-data/public-keys/") == "0=my=key"
    assert _text(facts, "/latest/meta-data/public-keys/0/") == "openssh-key"
    assert _text(facts, "/latest/meta-data/public-keys/0/openssh-key") == "ssh-ed25519 AAAA my=key"
    assert look_up(facts | {"key": None}, "/latest/meta-data/public-keys/") is None


def test_interfaces(facts: Any, interface: Any) -> None:
    macs = "/latest/meta-data/network/interfaces/macs/"
    assert _text(facts, macs) == "02:00:00:00:00:00/\n02:00:00:00:00:01/"
    assert _text(facts, f"{macs}02:00:00:00:00:01/device-number") == "1"
    assert _text(facts, f"{macs}02:00:00:00:00:00/security-group-ids") == "sg-1\nsg-2"
    assert look_up(facts, f"{macs}02:00:00:00:00:00/public-ipv4s") is None
    public = [["198.51.100.64", "172.31.0.4"], ["198.51.100.65", "172.31.0.9"]]
    both = facts | {"interfaces": [interface(public=public, ipv6=["fd00::4"], vpc_ipv6="fd00::/56")]}
    assert _text(both, "/latest/meta-data/public-ipv4") == "198.51.100.64"
    assert _text(both, "/latest/meta-data/ipv6") == "fd00::4"
    own = f"{macs}02:00:00:00:00:00/"
    assert _text(both, f"{own}public-ipv4s") == "198.51.100.64\n198.51.100.65"
    assert _text(both, f"{own}ipv4-associations/198.51.100.65") == "172.31.0.9"
    assert _text(both, f"{own}vpc-ipv6-cidr-blocks") == "fd00::/56"


def test_the_identity_document(facts: Any) -> None:
    document = json.loads(_text(facts, "/latest/dynamic/instance-identity/document"))
    assert document["accountId"] == "123456789012"
    assert (document["instanceId"], document["region"], document["privateIp"]) == ("i-1", "us-east-1", "172.31.0.4")
