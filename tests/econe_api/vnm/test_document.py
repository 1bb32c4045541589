"""VM documents: what they say of the NICs of ours, and the recorded ones of a real oned when they are there."""

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from econe_api.vnm.document import Departure, decode, read_departure, read_machine, read_template
from econe_api.vnm.native import EVERYTHING, RefusedError, template_rules

RECORDED = Path(os.environ.get("OPENNEBULA_RECORDINGS") or Path(__file__).parents[4] / "shared" / "opennebula")


def test_a_machine_is_its_nics_with_the_groups_that_each_names(document, nic, rule):
    text = document(
        7,
        [nic(), nic(number=1, IP="172.31.0.99", SECURITY_GROUPS=""), nic(number=2, VN_MAD="bridge")],
        [rule(PROTOCOL="TCP", RANGE="22"), rule(101, PROTOCOL="ALL")],
    )
    machine = read_machine(text)
    assert (machine.number, [one.number for one in machine.nics]) == (7, [0, 1])
    first, second = machine.nics
    assert (first.tap, first.network, first.bridge) == ("one-7-0", 3, "br-int")
    assert [group.number for group in first.groups] == [100]
    assert {(one.protocol, one.from_port) for one in first.groups[0].rules} == {(6, 22)}
    assert second.groups[0].rules == EVERYTHING


def test_while_a_nic_comes_or_goes_the_others_are_left_alone(document, nic):
    text = document(7, [nic(), nic(number=1, ATTACH="YES")])
    assert [one.number for one in read_machine(text).nics] == [1]
    assert read_departure(text) == Departure(7, frozenset({1}))
    alias = document(7, [nic()], others=[("NIC_ALIAS", {"VN_MAD": "bridge", "ATTACH": "YES"})])
    assert read_machine(alias).nics == ()
    assert read_departure(alias) == Departure(7, frozenset())
    assert read_departure(document(7, [nic()])) == Departure(7, None)


def test_what_goes_is_read_whatever_its_rules_say(document, nic, rule):
    text = document(7, [nic()], [rule(PROTOCOL="SCTP")])
    assert read_departure(text) == Departure(7, None)
    with pytest.raises(RefusedError, match="protocol"):
        read_machine(text)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        pytest.param({"MAC": "02:00"}, "MAC", id="mac"),
        pytest.param({"IP": ""}, "IPv4", id="no address"),
        pytest.param({"TARGET": "eth0; reboot"}, "one-7-0", id="device"),
        pytest.param({"SECURITY_GROUPS": "1,x"}, "ids", id="groups"),
        pytest.param({"NETWORK_ID": ""}, "NETWORK_ID", id="network"),
    ],
)
def test_a_nic_that_is_none_is_refused(document, nic, changed, word):
    with pytest.raises(RefusedError, match=word):
        read_machine(document(7, [nic(**changed)]))


@pytest.mark.parametrize("kind", ["NIC_ALIAS", "PCI"])
def test_other_kinds_of_interface_are_refused(document, kind):
    with pytest.raises(RefusedError, match=kind):
        read_machine(document(7, others=[(kind, {"VN_MAD": "sluice", "NETWORK": "n"})]))


@pytest.mark.parametrize(
    "text", [b"", b"<VM>", b"<HOST/>", b'<!DOCTYPE x [<!ENTITY a "b">]><VM><ID>1</ID></VM>', b"\xff"]
)
def test_what_is_no_document_is_refused(text):
    with pytest.raises(RefusedError):
        read_machine(text)


def test_base64_of_either_form(document, encoded):
    text = document(7)
    assert decode(encoded(text)) == text
    assert decode(re.sub("(.{60})", r"\1\n", encoded(text))) == text
    with pytest.raises(RefusedError):
        decode("not base64!")


def _recorded(name):
    for path in sorted(RECORDED.glob(f"*{name}*.response.xml")):
        text = next((one.text for one in ElementTree.parse(path).iter("string")), None)
        if text and text.startswith("<"):
            yield path.name, text


@pytest.mark.skipif(
    not RECORDED.exists(), reason=f"no recordings of oned in {RECORDED}; $OPENNEBULA_RECORDINGS names another folder"
)
def test_recorded_machines_are_read_as_the_driver_would_get_them():
    """The driver of the recording had another name, and its networks an alias."""
    seen = 0
    for name, text in _recorded("_vm_info_"):
        ours = text.replace("<VN_MAD><![CDATA[ofec2]]></VN_MAD>", "<VN_MAD>sluice</VN_MAD>")
        machine = read_machine(ours.encode())
        for one in machine.nics:
            seen += 1
            assert one.tap == f"one-{machine.number}-{one.number}", name
            assert one.groups, name
    assert seen > 20
    web = dict(_recorded("vm_info_nic0_two_secgroups"))
    (text,) = web.values()
    machine = read_machine(text.replace("<![CDATA[ofec2]]>", "sluice").encode())
    groups = {group.name: group.rules for group in machine.nics[0].groups}
    assert groups["default"] == tuple(sorted(EVERYTHING))
    said = {(one.protocol, one.from_port, one.to_port, one.cidr) for one in groups["web"] if not one.egress}
    assert {(6, 443, 445, "0.0.0.0/0"), (1, 8, -1, "0.0.0.0/0"), (58, 128, -1, "::/0")} <= said
    assert (6, 5432, 5432, "10.0.0.0/24") in said


@pytest.mark.skipif(
    not RECORDED.exists(), reason=f"no recordings of oned in {RECORDED}; $OPENNEBULA_RECORDINGS names another folder"
)
def test_recorded_groups_that_can_be_enforced():
    refused = {}
    for _, text in _recorded("_secgroup_info_"):
        _, group, rules = read_template(text.encode())
        try:
            template_rules(rules)
        except RefusedError as error:
            refused[group] = str(error)
    pool = dict(_recorded("secgrouppool_info_all"))
    for text in pool.values():
        for element in ElementTree.fromstring(text):
            _, group, rules = read_template(ElementTree.tostring(element))
            try:
                template_rules(rules)
            except RefusedError as error:
                refused[group] = str(error)
    assert list(refused) == ["bad4"], json.dumps(refused)
    assert "security group" in refused["bad4"]
