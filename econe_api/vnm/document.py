"""VM documents of OpenNebula, as its network drivers get them on standard input.  Pure.

``one_vmm_exec`` makes them out of the whole document, and gives every element that it copies a ``TEMPLATE`` of its own;
``update_nic`` alone gets the whole.  ``ATTACH`` marks the one interface that comes or goes while the machine runs.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from econe_api.vnm.native import EVERYTHING, NativeRule, RefusedError, group_rules

DRIVER = "sluice"
"""``VN_MAD`` of the networks that are ours."""
LONGEST = 512 * 1024
"""Bytes of a document, decoded."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAME = re.compile(r"one-\d{1,10}-\d{1,5}")
_SIX = ("IP6_GLOBAL", "IP6_ULA", "IP6")


@dataclass(frozen=True, slots=True)
class Group:
    """One of OpenNebula's groups as one machine has it: its id there, its name, and what it comes to."""

    number: int
    name: str
    rules: tuple[NativeRule, ...]


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface on a network of ours.

    ``tap`` is the device's name on the hypervisor, ``network`` OpenNebula's id of the virtual network, ``ipv6`` holds
    the global and unique local addresses.
    """

    number: int
    tap: str
    mac: str
    ip: str
    ipv6: tuple[str, ...]
    network: int
    bridge: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine: OpenNebula's id, and the interfaces on networks of ours that an action is about."""

    number: int
    nics: tuple[Nic, ...]


@dataclass(frozen=True, slots=True)
class Departure:
    """What goes: a machine's NICs by number, None = all of them."""

    number: int
    nics: frozenset[int] | None


def decode(text: str) -> bytes:
    """Return the document in what a driver reads; raises :class:`RefusedError`."""
    try:
        document = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError("standard input is no base64 text, which OpenNebula's VM documents come in") from None
    if len(document) > LONGEST:
        raise RefusedError(f"the VM document has {len(document)} bytes, over the limit of {LONGEST}")
    return document


def read_machine(document: bytes) -> Machine:
    """Read a VM document; raises :class:`RefusedError` for what is none, and for what Sluice cannot do."""
    root = read_xml(document, "VM")
    number = _number(root, "ID", "the VM document")
    for kind in ("NIC_ALIAS", "PCI"):
        for element in root.findall(f"TEMPLATE/{kind}"):
            if _text(element, "VN_MAD") == DRIVER:
                raise RefusedError(
                    f"VM {number} has a {kind} on network {_text(element, 'NETWORK')}: the driver {DRIVER} takes plain "
                    "NICs only; use an elastic IP, or a further NIC"
                )
    rules = _rules_by_group(root)
    return Machine(number, tuple(_nic(number, element, rules) for element in _concerned(root)))


def read_departure(document: bytes) -> Departure:
    """Read of a VM document what goes: that has to work whatever else is in it; raises :class:`RefusedError`."""
    root = read_xml(document, "VM")
    number = _number(root, "ID", "the VM document")
    if not _moving(root):
        return Departure(number, None)
    return Departure(number, frozenset(_number(nic, "NIC_ID", f"a NIC of VM {number}") for nic in _concerned(root)))


def _moving(root: ElementTree.Element) -> bool:
    """Is this about one interface that comes or goes, of whatever driver?"""
    return any(
        _text(element, "ATTACH").upper() == "YES"
        for kind in ("NIC", "NIC_ALIAS", "PCI")
        for element in root.findall(f"TEMPLATE/{kind}")
    )


def _concerned(root: ElementTree.Element) -> list[ElementTree.Element]:
    """The NICs of ours that an action is about: the one that comes or goes, else all."""
    mine = [element for element in root.findall("TEMPLATE/NIC") if _text(element, "VN_MAD") == DRIVER]
    return [nic for nic in mine if _text(nic, "ATTACH").upper() == "YES"] if _moving(root) else mine


def read_template(document: bytes) -> tuple[int, str, list[dict[str, str]]]:
    """Read what ``onesecgroup show -x`` prints: id, name and rules of a group; raises :class:`RefusedError`."""
    root = read_xml(document, "SECURITY_GROUP")
    number = _number(root, "ID", "the security group")
    return number, _text(root, "NAME"), [_attributes(rule) for rule in root.findall("TEMPLATE/RULE")]


def read_xml(document: bytes, tag: str) -> ElementTree.Element:
    """Return the root ``tag`` of a document without a type definition; raises :class:`RefusedError`."""
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise RefusedError("the document has a type definition, which OpenNebula's never have")
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - entities are refused above
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RefusedError(f"the document is no XML: {' '.join(str(error).split())}") from None
    if root.tag != tag:
        raise RefusedError(f"the document is a {root.tag[:40]}, not a {tag}")
    return root


def _nic(machine: int, element: ElementTree.Element, rules: Mapping[int, list[dict[str, str]]]) -> Nic:
    number = _number(element, "NIC_ID", f"a NIC of VM {machine}")
    where = f"NIC {number} of VM {machine}"
    mac = _text(element, "MAC").lower()
    if not _MAC.fullmatch(mac):
        raise RefusedError(f"{where} has no MAC address")
    tap = _text(element, "TARGET") or f"one-{machine}-{number}"
    if not _NAME.fullmatch(tap):
        raise RefusedError(f"{where} has the device {tap[:40]!r}; OpenNebula's own name is one-{machine}-{number}")
    try:
        ip = str(ipaddress.IPv4Address(_text(element, "IP")))
        six = tuple(str(ipaddress.IPv6Address(_text(element, name))) for name in _SIX if _text(element, name))
    except ValueError:
        raise RefusedError(f"{where} has no IPv4 address; give its network an IPv4 address range") from None
    return Nic(
        number=number,
        tap=tap,
        mac=mac,
        ip=ip,
        ipv6=six,
        network=_number(element, "NETWORK_ID", where),
        bridge=_text(element, "BRIDGE"),
        groups=_groups(where, _text(element, "SECURITY_GROUPS"), rules),
    )


def _groups(where: str, named: str, rules: Mapping[int, list[dict[str, str]]]) -> tuple[Group, ...]:
    """The groups of a NIC; a group that the document has no rules of lets nothing pass."""
    if not named:
        return (Group(0, "no security group", EVERYTHING),)
    try:
        numbers = sorted({int(one) for one in named.split(",")})
    except ValueError:
        raise RefusedError(f"{where} has the security groups {named[:60]!r}, which are no list of ids") from None
    return tuple(Group(number, _name(number, rules), group_rules(rules.get(number, ()))) for number in numbers)


def _name(number: int, rules: Mapping[int, list[dict[str, str]]]) -> str:
    return next((rule["SECURITY_GROUP_NAME"] for rule in rules.get(number, ()) if "SECURITY_GROUP_NAME" in rule), "")


def _rules_by_group(root: ElementTree.Element) -> dict[int, list[dict[str, str]]]:
    found: dict[int, list[dict[str, str]]] = {}
    for element in root.findall("TEMPLATE/SECURITY_GROUP_RULE"):
        number = _number(element, "SECURITY_GROUP_ID", "a SECURITY_GROUP_RULE")
        found.setdefault(number, []).append(_attributes(element))
    return found


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    """Names and texts; OpenNebula writes an attribute that is not set as an empty one, or not at all."""
    return {child.tag: child.text.strip() for child in element if child.text and child.text.strip()}


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _number(element: ElementTree.Element, name: str, where: str) -> int:
    text = _text(element, name)
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise RefusedError(f"{where} has no {name}")
    return int(text)
