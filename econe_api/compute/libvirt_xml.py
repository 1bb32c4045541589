"""What libvirt is told, as XML: domains, interfaces and volumes (https://libvirt.org/formatdomain.html).  Pure.

libvirt takes nothing but a UUID for the ``interfaceid`` of an Open vSwitch port.  So the id of a network interface is
written as one (RFC 9562, version 8): ``eni-`` in ASCII, then the id's 17 hexadecimal digits; the agents read it back.
"""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

from econe_api.compute.backend import InterfaceSpec

_NAMESPACE = uuid.UUID("6c1c3d58-6b0f-5c6e-9d5a-2f2d0b4b7a11")
_INTERFACE = re.compile(r"eni-([0-9a-f]{17})")
KVM, EMULATED = "kvm", "qemu"
"""How a domain's CPUs run; libvirt's names for it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine: names, size, and the files on the hypervisor that it is made of.

    ``memory_mib`` is in MiB.  ``console`` is the file that its serial port is logged to.  Without ``offloads`` frames
    come with their checksums computed and no bigger than the MTU, as a userspace datapath needs them.
    """

    name: str
    instance_id: str
    kind: str
    vcpus: int
    memory_mib: int
    disk: str
    seed: str
    console: str
    bridge: str
    mtu: int | None = None
    offloads: bool = True


def interface_uuid(interface_id: str) -> str:
    """Return an interface's id ("eni-" and 17 hexadecimal digits) as a UUID; ValueError for another one."""
    match = _INTERFACE.fullmatch(interface_id)
    if match is None:
        raise ValueError(f"{interface_id} is not the id of a network interface")
    digits = f"0{match[1]}"
    return f"656e692d-0000-8{digits[:3]}-8{digits[3:6]}-{digits[6:]}"


def domain_uuid(instance_id: str) -> str:
    """Return the UUID of an instance's domain: always the same, so that a guest is the same machine after a stop."""
    return str(uuid.uuid5(_NAMESPACE, instance_id))


def port_name(interface_id: str) -> str:
    """Return the name of an interface's tap; Linux takes 15 characters, and libvirt keeps what is not ``vnet``."""
    return f"tap{interface_id.removeprefix('eni-')[:11]}"


def domain(machine: Machine, interfaces: Iterable[InterfaceSpec]) -> str:
    """Return the definition of a machine that is plugged in with ``interfaces``."""
    root = ET.Element("domain", type=machine.kind)
    _text(root, "name", machine.name)
    _text(root, "uuid", domain_uuid(machine.instance_id))
    _text(root, "memory", str(machine.memory_mib), unit="MiB")
    _text(root, "vcpu", str(machine.vcpus))
    system = ET.SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="pc")
    ET.SubElement(system, "boot", dev="hd")
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if machine.kind == KVM:
        ET.SubElement(root, "cpu", mode="host-model")
    ET.SubElement(root, "clock", offset="utc")
    # A guest that switches itself off is seen, and dealt with, by whoever watches the instance.
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    devices = ET.SubElement(root, "devices")
    _disk(devices, machine.disk, "qcow2", "vda")
    _disk(devices, machine.seed, "raw", "vdb", readonly=True)
    for link in interfaces:
        devices.append(_interface(machine, link))
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=machine.console, append="off")
    ET.SubElement(serial, "target", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    ET.SubElement(ET.SubElement(devices, "rng", model="virtio"), "backend", model="random").text = "/dev/urandom"
    ET.SubElement(devices, "memballoon", model="none")
    return ET.tostring(root, encoding="unicode")


def interface(machine: Machine, link: InterfaceSpec) -> str:
    """Return the definition of one interface, to be plugged into a machine that runs."""
    return ET.tostring(_interface(machine, link), encoding="unicode")


def macs(domain_xml: str) -> set[str]:
    """Return the MAC addresses that a domain's definition has; ValueError when it is no XML."""
    root = _parse(domain_xml)
    return {found.get("address", "").lower() for found in root.iterfind("./devices/interface/mac")}


def volume(name: str, capacity: int, kind: str, backing: str | None = None) -> str:
    """Return the definition of a volume of ``capacity`` bytes, "qcow2" or "raw"; ``backing`` is its qcow2 base."""
    root = ET.Element("volume")
    _text(root, "name", name)
    _text(root, "capacity", str(capacity), unit="bytes")
    if kind == "raw":
        _text(root, "allocation", "0")
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", type=kind)
    _text(ET.SubElement(target, "permissions"), "mode", "0600")
    if backing is not None:
        base = ET.SubElement(root, "backingStore")
        _text(base, "path", backing)
        ET.SubElement(base, "format", type="qcow2")
    return ET.tostring(root, encoding="unicode")


def volume_state(volume_xml: str) -> tuple[int, float]:
    """Return a volume's size in bytes and when it was last written to (seconds since the epoch); ValueError."""
    root = _parse(volume_xml)
    return int(root.findtext("capacity", "")), float(root.findtext("target/timestamps/mtime", "0"))


def pool_path(pool_xml: str) -> str:
    """Return the directory of a storage pool; ValueError when it has none."""
    path = _parse(pool_xml).findtext("target/path")
    if not path:
        raise ValueError("the storage pool is no directory")
    return path


def _parse(text: str) -> ET.Element:
    try:
        return ET.fromstring(text)  # noqa: S314 - what a hypervisor of the operator's says
    except ET.ParseError as error:
        raise ValueError(f"no XML: {error}") from error


def _interface(machine: Machine, link: InterfaceSpec) -> ET.Element:
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=link.mac)
    ET.SubElement(element, "source", bridge=machine.bridge)
    port = ET.SubElement(element, "virtualport", type="openvswitch")
    ET.SubElement(port, "parameters", interfaceid=interface_uuid(link.id))
    ET.SubElement(element, "target", dev=port_name(link.id))
    ET.SubElement(element, "model", type="virtio")
    if not machine.offloads:
        driver = ET.SubElement(element, "driver", name="qemu")
        names = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
        ET.SubElement(driver, "host", dict.fromkeys((*names, "mrg_rxbuf"), "off"))
        ET.SubElement(driver, "guest", {name: "off" for name in names if name != "gso"})
    if machine.mtu is not None:
        ET.SubElement(element, "mtu", size=str(machine.mtu))
    return element


def _disk(devices: ET.Element, path: str, kind: str, target: str, *, readonly: bool = False) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type=kind)
    ET.SubElement(disk, "source", file=path)
    ET.SubElement(disk, "target", dev=target, bus="virtio")
    if readonly:
        ET.SubElement(disk, "readonly")


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text
