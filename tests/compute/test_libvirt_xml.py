"""Definitions that say what a machine is, whatever the paths and ids; and ids that come back from UUIDs."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.ports import interface_id
from econe_api.compute import libvirt_xml
from econe_api.compute.backend import InterfaceSpec
from econe_api.compute.libvirt_xml import Machine

_DIGITS = st.text("0123456789abcdef", min_size=17, max_size=17)
_PATHS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1)


@st.composite
def links(draw: st.DrawFn) -> InterfaceSpec:
    mac = ":".join(f"{byte:02x}" for byte in (2, *draw(st.binary(min_size=5, max_size=5))))
    return InterfaceSpec(f"eni-{draw(_DIGITS)}", mac, "172.31.0.5", 20, "172.31.0.1", draw(st.integers(0, 7)))


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    digits = draw(_DIGITS)
    return Machine(
        name=f"sluice-i-{digits}",
        instance_id=f"i-{digits}",
        kind=draw(st.sampled_from(["kvm", "qemu"])),
        vcpus=draw(st.integers(1, 512)),
        memory_mib=draw(st.integers(1, 1 << 30)),
        disk=f"/pool/{draw(_PATHS)}",
        seed="/pool/seed.iso",
        console="/pool/console.log",
        bridge="br-int",
        mtu=draw(st.none() | st.integers(576, 65535)),
        offloads=draw(st.booleans()),
    )


@settings(max_examples=100, deadline=None)
@given(machines(), st.lists(links(), max_size=4, unique_by=lambda link: link.mac))
def test_a_definition_says_what_the_machine_is(machine: Machine, plugged: list[InterfaceSpec]) -> None:
    text = libvirt_xml.domain(machine, plugged)
    root = ET.fromstring(text)
    assert root.get("type") == machine.kind
    assert root.findtext("name") == machine.name
    assert (root.findtext("memory"), root.find("memory").get("unit")) == (str(machine.memory_mib), "MiB")
    assert root.findtext("vcpu") == str(machine.vcpus)
    assert [disk.find("source").get("file") for disk in root.iterfind("devices/disk")] == [machine.disk, machine.seed]
    assert [disk.find("readonly") is not None for disk in root.iterfind("devices/disk")] == [False, True]
    assert libvirt_xml.macs(text) == {link.mac for link in plugged}
    for element, link in zip(root.iterfind("devices/interface"), plugged, strict=True):
        assert element.find("virtualport").get("type") == "openvswitch"
        assert interface_id(element.find("virtualport/parameters").get("interfaceid")) == link.id
        assert len(element.find("target").get("dev")) <= 15
        assert not element.find("target").get("dev").startswith("vnet")
        assert (element.find("driver") is None) is machine.offloads
        assert (element.find("mtu") is None) is (machine.mtu is None)


@settings(max_examples=100, deadline=None)
@given(_DIGITS)
def test_interface_ids_come_back_from_their_uuids(digits: str) -> None:
    written = libvirt_xml.interface_uuid(f"eni-{digits}")
    read = uuid.UUID(written)
    assert (str(read), read.version, read.variant) == (written, 8, uuid.RFC_4122)
    assert interface_id(written) == f"eni-{digits}"
    assert interface_id(str(uuid.UUID(int=read.int ^ (1 << 120)))) != f"eni-{digits}"


@pytest.mark.parametrize("text", ["", "eni-", "eni-0123456789abcdef", "eni-0123456789ABCDEF0", "i-0123456789abcdef0"])
def test_nothing_else_is_written_as_an_interface(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a network interface"):
        libvirt_xml.interface_uuid(text)


@pytest.mark.parametrize("iface_id", ["eni-0123456789abcdef0", "5d7a7a3e-0000-8000-8000-0123456789ab", "anything"])
def test_other_ids_of_ports_are_taken_as_they_are(iface_id: str) -> None:
    assert interface_id(iface_id) == iface_id


@pytest.mark.parametrize("text", ["", "<volume>", "no XML at all"])
def test_answers_that_are_no_xml_are_value_errors(text: str) -> None:
    for read in (libvirt_xml.macs, libvirt_xml.volume_state, libvirt_xml.pool_path):
        with pytest.raises(ValueError, match=r"no XML|is no directory"):
            read(text)
