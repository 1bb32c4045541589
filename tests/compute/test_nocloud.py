"""The seed holds what was asked for, byte for byte, and is on a disk with the label that is looked for."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from econe_api.compute import nocloud
from econe_api.compute.backend import InterfaceSpec, LaunchSpec

_FIRST = InterfaceSpec(
    id="eni-0123456789abcdef0",
    mac="02:00:00:00:00:01",
    address="172.31.0.5",
    prefix_length=20,
    gateway="172.31.0.1",
    device_index=0,
    ipv6=("fd00::5",),
    ipv6_gateway="fd00::1",
    secondary=("172.31.0.9",),
)


def spec(**more: object) -> LaunchSpec:
    fixed = {"instance_id": "i-0123456789abcdef0", "host": "h1", "image": "ami-1", "instance_type": "t2.nano"}
    return LaunchSpec(**{**fixed, "user_data": None, "interfaces": (_FIRST,), **more})


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=4096), st.text(max_size=200))
def test_what_was_asked_for_is_in_it(data: bytes, key: str) -> None:
    files = nocloud.files(spec(user_data=base64.b64encode(data).decode(), public_key=key))
    assert files["user-data"] == data
    lines = dict(line.split(": ", 1) for line in files["meta-data"].decode().splitlines())
    assert lines["instance-id"] == "i-0123456789abcdef0"
    assert lines["local-hostname"] == "ip-172-31-0-5"
    assert json.loads(lines["public-keys"]) == [key.strip()]


def test_without_user_data_and_key() -> None:
    files = nocloud.files(spec())
    assert files["user-data"].startswith(b"#cloud-config\n")
    assert b"public-keys" not in files["meta-data"]
    assert nocloud.files(spec(user_data="not base64!"))["user-data"] == files["user-data"]


def test_addresses_come_by_dhcp_on_every_interface_and_one_way_leads_out() -> None:
    second = InterfaceSpec("eni-1123456789abcdef0", "02:00:00:00:00:02", "172.31.16.5", 20, "172.31.16.1", 1)
    network = json.loads(nocloud.files(spec(interfaces=(_FIRST, second)))["network-config"])
    first, other = network["ethernets"]["eth0"], network["ethernets"]["eth1"]
    assert (first["match"], first["dhcp4"]) == ({"macaddress": "02:00:00:00:00:01"}, True)
    assert first["addresses"] == ["172.31.0.9/20", "fd00::5/64"]
    assert first["routes"] == [{"to": "::/0", "via": "fd00::1"}]
    assert (other["dhcp4"], other["dhcp4-overrides"]) == (True, {"use-routes": False})


def test_the_disk_is_what_cloud_init_looks_for(tmp_path: Path) -> None:
    """By its label; that the kernel of a guest reads the files is seen in tests/lab/test_machines.py."""
    disk = tmp_path / "seed.iso"
    disk.write_bytes(nocloud.image({"meta-data": b"instance-id: i-1\n", "user-data": b"\0\xff" * 3000}))
    said = subprocess.run(["blkid", "-p", "-o", "export", disk], capture_output=True, text=True, check=True).stdout
    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(said.split())
