"""Answers byte by byte where old clients look closely."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.protocol import answer


def body(document: bytes) -> str:
    prolog, _, rest = document.decode().partition("\n")
    assert prolog == '<?xml version="1.0" encoding="UTF-8"?>'
    return rest


def test_return_true_without_output() -> None:
    assert body(answer.success("ReleaseAddress", "2010-08-31", "r-1", {})) == (
        '<ReleaseAddressResponse xmlns="http://ec2.amazonaws.com/doc/2010-08-31/"><requestId>r-1</requestId>'
        "<return>true</return></ReleaseAddressResponse>"
    )


def test_return_true_beside_output() -> None:
    assert body(answer.success("AssociateAddress", "2016-11-15", "r", {"AssociationId": "eipassoc-1"})) == (
        '<AssociateAddressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
        "<return>true</return><associationId>eipassoc-1</associationId></AssociateAddressResponse>"
    )


@pytest.mark.parametrize("action", ["DeleteSecurityGroup", "AuthorizeSecurityGroupIngress"])
def test_return_of_the_model_is_true_unless_the_handler_says_otherwise(action: str) -> None:
    assert "<return>true</return>" in body(answer.success(action, "2016-11-15", "r", {}))
    assert body(answer.success(action, "2016-11-15", "r", {"Return": False})).count("<return>") == 1


def test_lists_dates_and_what_is_absent() -> None:
    started = datetime(2012, 10, 16, 22, 0, 13, tzinfo=timezone(timedelta(hours=2)))
    instance = {"LaunchTime": started, "EbsOptimized": False, "AmiLaunchIndex": 0, "Platform": None}
    output = {"Reservations": [{"Groups": [], "Instances": [instance]}]}
    text = body(answer.success("DescribeInstances", "2016-11-15", "r", output))
    assert "<groupSet/>" in text
    assert "<launchTime>2012-10-16T20:00:13.000Z</launchTime>" in text
    assert "<ebsOptimized>false</ebsOptimized>" in text
    assert "<amiLaunchIndex>0</amiLaunchIndex>" in text
    assert "platform" not in text
    assert "<reservationSet/>" in body(answer.success("DescribeInstances", "2016-11-15", "r", {"Reservations": []}))


@pytest.mark.parametrize(
    ("action", "output"),
    [
        ("ReleaseAddress", {"AllocationId": "x"}),
        ("AllocateAddress", {"Colour": "red"}),
        ("AllocateAddress", {"PublicIp": 7}),
        ("DescribeAddresses", {"Addresses": {"PublicIp": "x"}}),
        ("DescribeAddresses", {"Addresses": "x"}),
        ("DescribeInstances", {"Reservations": [{"Instances": [{"LaunchTime": datetime(2020, 1, 1)}]}]}),
        ("DescribeInstances", {"Reservations": [{"Instances": [{"AmiLaunchIndex": "1"}]}]}),
        ("DescribeInstances", {"Reservations": [{"Instances": [{"AmiLaunchIndex": True}]}]}),
        ("DescribeInstances", {"Reservations": [{"Instances": [{"EbsOptimized": 1}]}]}),
    ],
)
def test_an_answer_that_the_model_does_not_allow_is_a_bug(action: str, output: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        answer.success(action, "2016-11-15", "r", output)


def test_failure() -> None:
    assert body(answer.failure("InvalidGroup.NotFound", 'The security group "<&>" does not exist', "r-1")) == (
        "<Response><Errors><Error><Code>InvalidGroup.NotFound</Code>"
        '<Message>The security group "&lt;&amp;&gt;" does not exist</Message></Error></Errors>'
        "<RequestID>r-1</RequestID></Response>"
    )


@given(st.text(st.characters()))
def test_any_text_gives_a_document_that_parses(text: str) -> None:
    root = ET.fromstring(answer.failure("Code", text, "r"))
    message = root.findtext("Errors/Error/Message")
    assert message is not None
    assert len(message) == len(text)
    unchanged = all(c in "\t\n\r" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff" for c in text)
    assert (message == text) == unchanged


def test_the_date_is_in_utc() -> None:
    output = {"Reservations": [{"Instances": [{"LaunchTime": datetime(2020, 1, 1, 1, 2, 3, 4567, tzinfo=UTC)}]}]}
    assert "2020-01-01T01:02:03.004Z" in body(answer.success("DescribeInstances", "2016-11-15", "r", output))
