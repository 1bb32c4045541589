"""The seed that tells a virtual machine who it is, for cloud-init and what understands it: a NoCloud disk.

An ISO 9660 file system with the label ``cidata`` and the files ``meta-data``, ``user-data`` and ``network-config``
(https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html).  Nothing here touches a file.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping

import pycdlib

from econe_api.compute.backend import InterfaceSpec, LaunchSpec

_LABEL = "cidata"


def files(spec: LaunchSpec) -> Mapping[str, bytes]:
    """Return the seed's files by name.

    Values are written as JSON, which YAML contains, so that nothing in them can be taken for syntax.
    """
    return {
        "meta-data": _meta_data(spec).encode(),
        "user-data": _user_data(spec.user_data),
        "network-config": _network_config(spec.interfaces).encode(),
    }


def image(contents: Mapping[str, bytes]) -> bytes:
    """Return the disk that holds ``contents``, by names of up to 64 characters (Joliet and Rock Ridge)."""
    disk = pycdlib.PyCdlib()
    disk.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=_LABEL)
    for name, data in contents.items():
        plain = f"/{name.upper().replace('-', '_')}.;1"
        disk.add_fp(io.BytesIO(data), len(data), plain, rr_name=name, joliet_path=f"/{name}")
    written = io.BytesIO()
    disk.write_fp(written)
    disk.close()
    return written.getvalue()


def host_name(spec: LaunchSpec) -> str:
    """Return the host name that EC2 gives an instance: "ip-172-31-0-5"."""
    return f"ip-{spec.interfaces[0].address.replace('.', '-')}" if spec.interfaces else spec.instance_id


def _meta_data(spec: LaunchSpec) -> str:
    lines = [f"instance-id: {spec.instance_id}", f"local-hostname: {host_name(spec)}"]
    if spec.public_key is not None:
        lines.append(f"public-keys: {json.dumps([spec.public_key.strip()])}")
    return "".join(f"{line}\n" for line in lines)


def _user_data(text: str | None) -> bytes:
    """What the client sent, byte for byte; cloud-init wants a file also where there is nothing to say."""
    try:
        return base64.b64decode("".join((text or "").split()), validate=True) or b"#cloud-config\n{}\n"
    except (binascii.Error, ValueError):
        return b"#cloud-config\n{}\n"


def _network_config(interfaces: tuple[InterfaceSpec, ...]) -> str:
    """DHCP on every interface (version 2, as netplan has it); only the first is the way out."""
    ethernets = {}
    for link in interfaces:
        settings: dict[str, object] = {"match": {"macaddress": link.mac}, "dhcp4": True}
        if link.device_index > 0:
            settings["dhcp4-overrides"] = {"use-routes": False}
        addresses = [f"{address}/{link.prefix_length}" for address in link.secondary]
        addresses += [f"{address}/{link.ipv6_prefix_length}" for address in link.ipv6]
        if addresses:
            settings["addresses"] = addresses
        if link.ipv6 and link.device_index == 0:
            settings["routes"] = [{"to": "::/0", "via": link.ipv6_gateway}]
        ethernets[f"eth{link.device_index}"] = settings
    return json.dumps({"version": 2, "ethernets": ethernets}, indent=1) + "\n"
