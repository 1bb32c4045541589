"""Values for parameters: some right, most wrong in ways that have broken servers."""

from __future__ import annotations

import base64
import threading
from collections import defaultdict, deque
from random import Random
from typing import Any

STRINGS = (
    "",
    " ",
    "web",
    "default",
    "*",
    "?",
    "\\",
    "\x00",
    "a\x00b",
    "\ud7ff",
    "\U0001f980" * 20,
    "é" * 300,
    "<a>&amp;'\"]]>",
    "<?xml version='1.0'?>",
    "\r\nX: y",
    "\x1b[31m",
    "\ufffe\uffff",
    "%s%n%x",
    "${jndi:ldap://x}",
    "'; DROP TABLE groups; --",
    "../../etc/passwd",
    "a" * 256,
    "a" * 70_000,
    "1" * 5000,
    "null",
    "None",
    "NaN",
    "true",
    "0",
    "-1",
)
ADDRESSES = (
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/8",
    "100.68.0.18/18",
    "10.0.0.1/33",
    "10.0.0/8",
    "010.0.0.1/8",
    "256.1.1.1/32",
    "2001:db8::/32",
    "::ffff:10.0.0.1/120",
    "fe80::1%eth0/64",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "\u0661\u0660.0.0.0/8",
    "203.0.113.10",
    "172.31.0.4",
    "10.0.0.0/\u0668",
    "0x0a000000/8",
    "1/1",
)
NUMBERS = (
    "0",
    "1",
    "5",
    "80",
    "-1",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775808",
    "1e3",
    "1.0",
    " 1",
    "+1",
    "\u0663",
    "0x10",
    "",
    "1_000",
    "9" * 400,
    "inf",
)
BOOLEANS = ("true", "false", "True", "FALSE", "1", "0", "yes", "", "2", "truefalse")
TIMES = (
    "2026-01-01T00:00:00Z",
    "2026-01-01",
    "0",
    "9999-12-31T23:59:59.999Z",
    "-1",
    "tomorrow",
    "2026-02-30T00:00:00Z",
)
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "-1", "6", "50", "TCP", "256", "-2", "all", "58", "1", "")
PREFIXES = (
    *("sg", "sgr", "i", "eni", "eni-attach", "eipalloc", "eipassoc", "vpc", "subnet", "rtb", "rtbassoc", "igw", "acl"),
    *("pl", "key", "ami", "r", "dopt", "vpc-cidr-assoc"),
)
_MOST = 200


class Known:
    """Ids that the server has told, so that requests get past "not found"; safe to share between threads."""

    def __init__(self) -> None:
        self._ids: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_MOST))
        self._lock = threading.Lock()

    def add(self, identifier: str) -> None:
        """Remember an id."""
        with self._lock:
            self._ids[identifier.rpartition("-")[0]].append(identifier)

    def pick(self, random: Random, prefix: str) -> str | None:
        """One that was told, None when there is none of that kind."""
        with self._lock:
            return random.choice(self._ids[prefix]) if self._ids[prefix] else None


def identifier(random: Random, known: Known, name: str) -> str:
    """An id for the parameter ``name``: mostly one that is there and of the right kind."""
    prefix = random.choice(PREFIXES) if random.random() < 0.1 else _prefix(random, name)
    draw = random.random()
    if draw < 0.7 and (found := known.pick(random, prefix)) is not None:
        return found
    if draw < 0.9:
        return f"{prefix}-{random.getrandbits(68):017x}"
    return random.choice(
        (prefix, f"{prefix}-", f"{prefix}-{'g' * 17}", f"{prefix}-{'0' * 300}", random.choice(STRINGS))
    )


def _prefix(random: Random, name: str) -> str:
    words = {
        "GroupId": "sg",
        "Groups": "sg",
        "SecurityGroup": "sg",
        "RuleId": "sgr",
        "InstanceId": "i",
        "InterfaceId": "eni",
        "AllocationId": "eipalloc",
        "AssociationId": "eipassoc",
        "AttachmentId": "eni-attach",
        "VpcId": "vpc",
        "SubnetId": "subnet",
        "RouteTableId": "rtb",
        "GatewayId": "igw",
        "PrefixListId": "pl",
        "KeyPairId": "key",
        "ImageId": "ami",
        "NetworkAclId": "acl",
    }
    return next((prefix for word, prefix in words.items() if word in name), random.choice(PREFIXES))


def scalar(random: Random, known: Known, shape: Any, name: str, *, gentle: bool) -> str:
    """A value of a scalar ``shape`` of botocore's, for the parameter ``name``; ``gentle`` = one that may well do."""
    if not gentle and random.random() < 0.05:
        return random.choice(STRINGS)
    kind = shape.type_name
    if kind in ("integer", "long", "float", "double"):
        return random.choice(NUMBERS[1:4] if gentle else NUMBERS)
    if kind == "boolean":
        return random.choice(BOOLEANS[:2] if gentle else BOOLEANS)
    if kind == "timestamp":
        return random.choice(TIMES)
    if kind == "blob":
        return random.choice((base64.b64encode(b"#!/bin/sh").decode(), "====", "a" * 40_000, "é"))
    return _string(random, known, shape, name, gentle=gentle)


def _string(random: Random, known: Known, shape: Any, name: str, *, gentle: bool) -> str:
    if getattr(shape, "enum", None) and (gentle or random.random() < 0.8):
        return str(random.choice(shape.enum))
    if "Protocol" in name:
        return random.choice(PROTOCOLS[:5] if gentle else PROTOCOLS)
    if "Cidr" in name or name.endswith(("Ip", "IpAddress", "Ips", "Address")):
        return random.choice(ADDRESSES[:4] if gentle else ADDRESSES)
    if "Name" not in name and any(word in name for word in ("Id", "Group", "Resource")):
        return identifier(random, known, name)
    return f"{random.choice(STRINGS[2:5])}{random.randrange(9)}" if gentle else random.choice(STRINGS)
