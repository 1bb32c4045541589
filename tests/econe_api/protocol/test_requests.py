"""How requests are read, and refused in EC2's words."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.errors import Ec2Error
from econe_api.protocol import form
from econe_api.protocol.request import parse


def params(action: str, **parameters: str) -> dict[str, Any]:
    return parse({"Action": action} | {name.replace("__", "."): value for name, value in parameters.items()}).params


def wire(action: str, fields: dict[str, str]) -> dict[str, Any]:
    return parse({"Action": action, **fields}).params


def refused(action: str, fields: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(Ec2Error) as caught:
        wire(action, fields)
    assert caught.value.status == 400
    return caught.value.code, caught.value.message


def test_lists_are_read_by_number() -> None:
    fields = {"Tag.10.Key": "c", "Tag.0.Key": "a", "Tag.2.Key": "b", "ResourceId.3": "sg-1"}
    assert wire("CreateTags", fields) == {
        "Tags": [{"Key": "a"}, {"Key": "b"}, {"Key": "c"}],
        "Resources": ["sg-1"],
    }


def test_double_nesting() -> None:
    fields = {
        "GroupId": "sg-1",
        "SecurityGroupRule.1.SecurityGroupRuleId": "sgr-1",
        "SecurityGroupRule.1.SecurityGroupRule.CidrIpv4": "10.0.0.0/8",
    }
    assert wire("ModifySecurityGroupRules", fields)["SecurityGroupRules"] == [
        {"SecurityGroupRuleId": "sgr-1", "SecurityGroupRule": {"CidrIpv4": "10.0.0.0/8"}}
    ]


def test_the_flat_syntax_of_2012() -> None:
    fields = {"GroupName": "web", "IpProtocol": "tcp", "FromPort": "80", "ToPort": "80", "CidrIp": "0.0.0.0/0"}
    expected = {"GroupName": "web", "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0"}
    assert wire("AuthorizeSecurityGroupIngress", {**fields, "Version": "2012-08-15"}) == expected


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("1", True), ("false", False)])
def test_booleans(text: str, value: bool) -> None:
    assert params("DescribeRegions", DryRun=text) == {"DryRun": value}


@pytest.mark.parametrize("text", ["2020-01-02T03:04:05Z", "2020-01-02T03:04:05.000Z", "2020-01-02T04:04:05+01:00"])
def test_timestamps(text: str) -> None:
    fields = {"MinCount": "1", "MaxCount": "1", "InstanceMarketOptions.SpotOptions.ValidUntil": text}
    read = wire("RunInstances", fields)
    assert read["InstanceMarketOptions"]["SpotOptions"]["ValidUntil"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_blobs_and_empty_values() -> None:
    fields = {"InstanceId": "i-1", "UserData.Value": "AAH/", "GroupId": ""}
    assert wire("ModifyInstanceAttribute", fields) == {
        "InstanceId": "i-1",
        "UserData": {"Value": b"\x00\x01\xff"},
        "Groups": [],
    }


@pytest.mark.parametrize(
    ("action", "fields", "code", "words"),
    [
        ("", {}, "MissingAction", "must contain the parameter Action"),
        ("Fly", {}, "InvalidAction", "The action Fly is not valid for this web service."),
        ("describeregions", {}, "InvalidAction", "not valid"),
        ("DescribeRegions", {"Version": "2017-01-01"}, "NoSuchVersion", "2017-01-01"),
        ("DescribeRegions", {"Version": '2010-01-01"'}, "NoSuchVersion", "does not exist"),
        ("CreateSecurityGroup", {"GroupName": "x"}, "MissingParameter", "must contain the parameter GroupDescription"),
        ("RunInstances", {"MinCount": "1"}, "MissingParameter", "must contain the parameter MaxCount"),
        (
            "ModifySecurityGroupRules",
            {"SecurityGroupRule.1": "", "GroupId": "g"},
            "MissingParameter",
            "Rule.1.Se",
        ),
        ("TerminateInstances", {}, "InvalidParameterCombination", "No instances specified"),
        ("DescribeRegions", {"Colour": "red"}, "UnknownParameter", "The parameter Colour is not recognized"),
        ("DescribeRegions", {"dryRun": "true"}, "UnknownParameter", "dryRun"),
        ("DescribeRegions", {"Filter.1.Nome": "x"}, "UnknownParameter", "Filter.1.Nome"),
        ("DescribeRegions", {"Filter.x.Name": "x"}, "UnknownParameter", "Filter.x"),
        ("DescribeRegions", {"Filter.-1.Name": "x"}, "UnknownParameter", "Filter.-1"),
        ("DescribeRegions", {"Filter.²": "x"}, "UnknownParameter", "Filter"),
        ("DescribeRegions", {"DryRun.1": "x"}, "UnknownParameter", "DryRun.1"),
        (
            "DescribeRegions",
            {"DryRun": "maybe"},
            "InvalidParameterValue",
            "Value (maybe) for parameter DryRun is",
        ),
        ("DescribeRegions", {"Filter": "x"}, "MalformedQueryString", "Filter.1"),
        ("DescribeRegions", {"Filter.1": "x"}, "InvalidParameterValue", "Filter.1"),
        ("DescribeRegions", {"Filter.1.Name": "x", "Filter.01.Name": "y"}, "MalformedQueryString", "more than once"),
        ("DescribeRegions", {"Filter.1": "", "Filter.1.Name": "y"}, "MalformedQueryString", "as a structure"),
        ("DescribeRegions", {"Filter.1.Name": "y", "Filter.1": ""}, "MalformedQueryString", "as a structure"),
        ("DescribeRegions", {".".join("a" * 50): "y"}, "MalformedQueryString", "too deeply"),
        ("DescribeSecurityGroups", {"MaxResults": "3"}, "InvalidParameterValue", "greater than or equal to 5"),
        ("DescribeSecurityGroups", {"MaxResults": "1001"}, "InvalidParameterValue", "less than or equal to 1000"),
        ("DescribeSecurityGroups", {"MaxResults": "1e2"}, "InvalidParameterValue", "Expecting an integer."),
        ("DescribeSecurityGroups", {"MaxResults": ""}, "InvalidParameterValue", "Expecting an integer."),
        ("DescribeSecurityGroups", {"MaxResults": "٣٣"}, "InvalidParameterValue", "Expecting an integer."),
        ("DescribeSecurityGroups", {"MaxResults": "9" * 5000}, "InvalidParameterValue", "Expecting an integer."),
        ("AuthorizeSecurityGroupIngress", {"FromPort": str(2**31)}, "InvalidParameterValue", "less than"),
        ("ModifyInstanceAttribute", {"InstanceId": "i", "UserData.Value": "*"}, "InvalidParameterValue", "base64"),
        ("ModifyInstanceAttribute", {"InstanceId": "i", "UserData.Value": "é"}, "InvalidParameterValue", "base64"),
    ],
)
def test_refusals(action: str, fields: dict[str, str], code: str, words: str) -> None:
    got_code, message = refused(action, fields)
    assert got_code == code
    assert words in message
    assert len(message) < 1000


@pytest.mark.parametrize("text", ["tomorrow", "2020-13-01", "0001-01-01T00:00:00+23:00", ""])
def test_refused_timestamps(text: str) -> None:
    fields = {"MinCount": "1", "MaxCount": "1", "InstanceMarketOptions.SpotOptions.ValidUntil": text}
    assert refused("RunInstances", fields)[0] == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("text", "value"), [("0.5", 0.5), ("NaN", None), ("Infinity", None), ("-1e999", None), ("half", None)]
)
def test_floats(text: str, value: float | None) -> None:
    action = "PurchaseReservedInstancesOffering"
    fields = {"InstanceCount": "1", "ReservedInstancesOfferingId": "o", "LimitPrice.Amount": text}
    if value is None:
        assert refused(action, fields)[0] == "InvalidParameterValue"
    else:
        assert wire(action, fields)["LimitPrice"] == {"Amount": value}


def test_string_lengths_of_the_model() -> None:
    fields = {"InstanceId": "i-1", "Name": "abc"}
    assert wire("CreateImage", fields)["Name"] == "abc"
    assert refused("CreateImage", {**fields, "Name": "ab"})[0] == "InvalidParameterValue"
    assert refused("CreateImage", {**fields, "Name": "a" * 129})[0] == "InvalidParameterValue"


def test_list_lengths_of_the_model() -> None:
    fields = {f"InstanceType.{index}": "t2.micro" for index in range(100)}
    assert len(wire("DescribeInstanceTypes", fields)["InstanceTypes"]) == 100
    assert refused("DescribeInstanceTypes", {**fields, "InstanceType.100": "t2.nano"})[0] == "InvalidParameterValue"


def test_a_huge_index_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        assert params("DescribeInstances", InstanceId__999999999="i-1") == {"InstanceIds": ["i-1"]}
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    assert refused("DescribeInstances", {"InstanceId." + "9" * 11: "i-1"})[0] == "UnknownParameter"


def test_the_greatest_request_is_read_in_linear_time() -> None:
    def seconds(count: int) -> float:
        body = urlencode({"Action": "DescribeInstances"} | {f"InstanceId.{i}": "i" for i in range(count)}).encode()
        started = time.process_time()
        assert len(parse(form.decode(body)).params["InstanceIds"]) == count
        return time.process_time() - started

    seconds(10)
    small, large = min(seconds(999) for _ in range(3)), min(seconds(9_990) for _ in range(3))
    assert large < 40 * small


@pytest.mark.parametrize(
    ("sources", "code"),
    [
        ((b"A=1&A=2",), "MalformedQueryString"),
        ((b"A=1", b"A=1"), "MalformedQueryString"),
        ((b"A=1&%41=2",), "MalformedQueryString"),
        ((b"A=%ff",), "MalformedQueryString"),
        ((b"A=\xff",), "MalformedQueryString"),
        ((b"A=%ED%A0%80",), "MalformedQueryString"),
        ((b"&" * 20_000,), "MalformedQueryString"),
        ((b"A" * 2000 + b"=1",), "MalformedQueryString"),
        ((b"A=a%00b",), "InvalidParameterValue"),
        ((b"A=%1B[2J",), "InvalidParameterValue"),
        ((b"A%07=1",), "InvalidParameterValue"),
        ((b"A=%EF%BF%BF",), "InvalidParameterValue"),
    ],
)
def test_refused_forms(sources: tuple[bytes, ...], code: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        form.decode(*sources)
    assert caught.value.code == code


def test_forms() -> None:
    decoded = form.decode(b"a=1&&b", b"c+d=%E2%98%83+%2B&e==&f=%zz")
    assert decoded == {"a": "1", "b": "", "c d": "☃ +", "e": "=", "f": "%zz"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse({"Action": "RunInstances"} | form.decode(body))
    except Ec2Error as error:
        assert error.status == 400


_segments = st.sampled_from(["Filter", "1", "01", "Name", "Value", "InstanceId", "NextToken", "MaxResults", "", "é"])


@given(st.dictionaries(st.lists(_segments, min_size=1, max_size=5).map(".".join), st.text(max_size=5), max_size=8))
def test_any_names_are_read_or_refused(fields: dict[str, str]) -> None:
    try:
        wire("DescribeInstances", fields)
    except Ec2Error as error:
        assert error.status == 400
