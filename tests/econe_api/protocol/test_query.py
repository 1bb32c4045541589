"""The query protocol of STS and IAM: read as botocore writes it, written as botocore reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.parsers
import botocore.serialize
import pytest

from econe_api.errors import Ec2Error
from econe_api.protocol import query
from econe_api.protocol.model import service_beside

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sent(name: str, action: str, params: dict[str, Any]) -> dict[str, str]:
    serializer = botocore.serialize.create_serializer("query", include_validation=True)
    body = serializer.serialize_to_request(params, service_beside(name).operation_model(action))["body"]
    return {key: str(value) for key, value in body.items()}


@pytest.mark.parametrize(
    ("name", "action", "params"),
    [
        ("sts", "GetCallerIdentity", {}),
        ("sts", "GetSessionToken", {"DurationSeconds": 900}),
        (
            "sts",
            "AssumeRole",
            {
                "RoleArn": "arn:aws:iam::123456789012:role/x",
                "RoleSessionName": "me",
                "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/one"}, {"arn": "arn:aws:iam::aws:policy/two"}],
                "Tags": [{"Key": "k", "Value": "v é"}],
                "TransitiveTagKeys": ["a", "b"],
            },
        ),
        ("iam", "ListUsers", {"PathPrefix": "/", "MaxItems": 5}),
    ],
)
def test_requests(name: str, action: str, params: dict[str, Any]) -> None:
    assert query.parse(name, action, sent(name, action, params)) == params
    assert query.parse_action(name, sent(name, action, params)) == action


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Tags.member.1.Key": "a", "Tags.member.01.Key": "b"}, "MalformedQueryString"),
        ({"Tags.member.x.Key": "a"}, "UnknownParameter"),
        ({"Tags.member": "a"}, "InvalidParameterValue"),
        ({"RoleArn": "x"}, "InvalidParameterValue"),
        ({"DurationSeconds": "many"}, "InvalidParameterValue"),
        ({"roleArn": "arn:aws:iam::123456789012:role/x"}, "UnknownParameter"),
        ({}, "MissingParameter"),
    ],
)
def test_refusals(parameters: dict[str, str], code: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        query.parse("sts", "AssumeRole", parameters)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "action", "output"),
    [
        ("sts", "GetCallerIdentity", {"UserId": "a<&>", "Account": "123456789012", "Arn": "é"}),
        ("iam", "ListAccountAliases", {"AccountAliases": ["one", "two"], "IsTruncated": False}),
        ("iam", "ListAccountAliases", {"AccountAliases": [], "IsTruncated": False}),
        (
            "iam",
            "GetUser",
            {"User": {"Path": "/", "UserName": "u", "UserId": "AIDA", "Arn": "arn", "CreateDate": MOMENT}},
        ),
    ],
)
def test_answers(name: str, action: str, output: dict[str, Any]) -> None:
    body = query.success(name, action, "r-1", output)
    shape = service_beside(name).operation_model(action).output_shape
    parser = botocore.parsers.create_parser("query")
    read = parser.parse({"body": body, "headers": {}, "status_code": 200}, shape)
    assert read.pop("ResponseMetadata")["RequestId"] == "r-1"
    assert read == output


def test_a_member_that_is_none_is_a_bug() -> None:
    with pytest.raises(TypeError, match="Colour"):
        query.success("sts", "GetCallerIdentity", "r-1", {"Colour": "red"})
