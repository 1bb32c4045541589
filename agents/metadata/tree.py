"""The facts of one instance as the tree of paths that EC2 documents ("Instance metadata categories").  Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

#: Versions that the service answers to; a client that asks for one of them gets what the latest has.
VERSIONS = (
    *("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01"),
    *("2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19"),
    *("2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03"),
    *("2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest"),
)

Facts = Mapping[str, Any]
Node = str | bytes | Mapping[str, Any]
"""A leaf, or a directory of nodes by name."""


def look_up(facts: Facts, path: str) -> bytes | None:
    """What is at ``path``: a leaf's content or a directory's listing; None = nothing.

    A directory is found with and without a slash at its end, a leaf only without.
    """
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "\n".join(VERSIONS).encode()
    if parts[0] not in VERSIONS:
        return None
    node: Node = _root(facts)
    for part in parts[1:]:
        if isinstance(node, str | bytes) or part not in node:
            return None
        node = node[part]
    if isinstance(node, Mapping):
        return _listing(node)
    if path.endswith("/"):
        return None
    return node.encode() if isinstance(node, str) else node


def _listing(directory: Mapping[str, Any]) -> bytes:
    if directory.keys() == {"0"} and isinstance(directory["0"], _Key):
        return f"0={directory['0'].name}".encode()
    names = [f"{name}/" if isinstance(node, Mapping) else name for name, node in sorted(directory.items())]
    return "\n".join(names).encode()


class _Key(dict[str, str]):
    """The directory of a public key, which a listing shows as ``0=name``."""

    def __init__(self, name: str, material: str) -> None:
        super().__init__({"openssh-key": material})
        self.name = name


def _root(facts: Facts) -> dict[str, Node]:
    root: dict[str, Node] = {
        "dynamic": {"instance-identity": {"document": _document(facts)}},
        "meta-data": _meta_data(facts),
    }
    if facts["user_data"] is not None:
        root["user-data"] = base64.b64decode(facts["user_data"])
    return root


def _meta_data(facts: Facts) -> dict[str, Node]:
    primary = facts["interfaces"][0]
    name = _host_name(facts, primary)
    tree: dict[str, Node] = {
        "ami-id": facts["image"],
        "ami-launch-index": str(facts["launch_index"]),
        "ami-manifest-path": "(unknown)",
        "hostname": name,
        "instance-action": "none",
        "instance-id": facts["instance"],
        "instance-life-cycle": "on-demand",
        "instance-type": facts["type"],
        "local-hostname": name,
        "local-ipv4": primary["addresses"][0],
        "mac": primary["mac"],
        "network": {"interfaces": {"macs": {one["mac"]: _interface(facts, one) for one in facts["interfaces"]}}},
        "placement": {"availability-zone": facts["zone"], "region": facts["region"]},
        "profile": "default-hvm",
        "reservation-id": facts["reservation"],
        "security-groups": _lines(group[1] for group in primary["groups"]),
        "services": {"domain": facts["domain"], "partition": "aws"},
    }
    if primary["public"]:
        # There is no public DNS: the name is empty, as in DescribeInstances.
        tree |= {"public-hostname": "", "public-ipv4": primary["public"][0][0]}
    if primary["ipv6"]:
        tree["ipv6"] = primary["ipv6"][0]
    if facts["key"] is not None:
        tree["public-keys"] = {"0": _Key(*facts["key"])}
    return tree


def _interface(facts: Facts, one: Facts) -> dict[str, Node]:
    tree: dict[str, Node] = {
        "device-number": str(one["device"]),
        "interface-id": one["id"],
        "local-hostname": _host_name(facts, one),
        "local-ipv4s": _lines(one["addresses"]),
        "mac": one["mac"],
        "owner-id": facts["account"],
        "security-group-ids": _lines(group[0] for group in one["groups"]),
        "security-groups": _lines(group[1] for group in one["groups"]),
        "subnet-id": one["subnet"],
        "subnet-ipv4-cidr-block": one["subnet_cidr"],
        "vpc-id": one["vpc"],
        "vpc-ipv4-cidr-block": one["vpc_cidr"],
        "vpc-ipv4-cidr-blocks": one["vpc_cidr"],
    }
    if one["public"]:
        tree["public-hostname"] = ""
        tree["public-ipv4s"] = _lines(public for public, _ in one["public"])
        tree["ipv4-associations"] = dict(one["public"])
    if one["ipv6"]:
        tree["ipv6s"] = _lines(one["ipv6"])
        tree["subnet-ipv6-cidr-blocks"] = one["subnet_ipv6"] or ""
        tree["vpc-ipv6-cidr-blocks"] = one["vpc_ipv6"] or ""
    return tree


def _host_name(facts: Facts, interface: Facts) -> str:
    """The name that DHCP gives as well."""
    return f"ip-{interface['addresses'][0].replace('.', '-')}.{facts['domain']}"


def _lines(values: Any) -> str:
    return "\n".join(values)


def _document(facts: Facts) -> str:
    """The instance identity document; nobody signs it."""
    return json.dumps(
        {
            "accountId": facts["account"],
            "architecture": "x86_64",
            "availabilityZone": facts["zone"],
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": facts["image"],
            "instanceId": facts["instance"],
            "instanceType": facts["type"],
            "kernelId": None,
            "pendingTime": facts["launched"],
            "privateIp": facts["interfaces"][0]["addresses"][0],
            "ramdiskId": None,
            "region": facts["region"],
            "version": "2017-09-30",
        },
        indent=2,
    )
