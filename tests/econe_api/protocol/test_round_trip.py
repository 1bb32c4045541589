"""botocore is the reference: what it sends is read as it was meant, what is answered it reads as it was meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from econe_api.errors import Ec2Error
from econe_api.protocol import answer, form
from econe_api.protocol.model import operations, service
from econe_api.protocol.request import parse

OPERATIONS = [
    "RunInstances",
    "DescribeInstances",
    "TerminateInstances",
    "DescribeImages",
    "DescribeInstanceTypes",
    "DescribeAvailabilityZones",
    "DescribeRegions",
    "AllocateAddress",
    "ReleaseAddress",
    "AssociateAddress",
    "DisassociateAddress",
    "DescribeAddresses",
    "CreateSecurityGroup",
    "DeleteSecurityGroup",
    "DescribeSecurityGroups",
    "DescribeSecurityGroupRules",
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RevokeSecurityGroupEgress",
    "ModifyInstanceAttribute",
]
DEEPEST = 5
MEMBERS = 4

_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
_moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)


def scalar_values(shape: Any) -> st.SearchStrategy[Any]:
    kind, least, most = shape.type_name, shape.metadata.get("min"), shape.metadata.get("max")
    if kind == "string":
        return (_texts | st.sampled_from(["a\tb\nc\rd", "<&>\"'", " edge "])).filter(
            lambda text: (least or 0) <= len(text) <= (most or 1 << 30)
        )
    if kind in ("integer", "long"):
        return st.integers(-(2**31) if least is None else least, 2**31 - 1 if most is None else most)
    return {
        "boolean": st.booleans(),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "timestamp": _moments,
        "blob": st.binary(),
    }[kind]


def is_scalar(shape: Any) -> bool:
    return shape.type_name not in ("structure", "list")


@st.composite
def values(draw: st.DrawFn, shape: Any, depth: int = 0) -> Any:
    """A value that the shape allows, never an empty list or structure: a request cannot express those."""
    if shape.type_name == "structure":
        names = list(shape.members)
        if depth >= DEEPEST:
            names = [name for name in names if is_scalar(shape.members[name])] or names
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=MEMBERS, unique=True)) if names else []
        chosen += [name for name in shape.required_members if name not in chosen]
        return {name: draw(values(shape.members[name], depth + 1)) for name in chosen}
    if shape.type_name == "list":
        return draw(st.lists(values(shape.member, depth + 1), min_size=1, max_size=3))
    return draw(scalar_values(shape))


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_requests(operation: str, data: st.DataObject) -> None:
    model = service().operation_model(operation)
    params = data.draw(values(model.input_shape))
    wire = botocore.serialize.create_serializer("ec2").serialize_to_request(params, model)["body"]
    request = parse(form.decode(b"", urlencode(wire).encode()))
    assert request.params == params
    assert request.action == operation


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_answers(operation: str, data: st.DataObject) -> None:
    model = service().operation_model(operation)
    output = {} if model.output_shape is None else data.draw(values(model.output_shape))
    document = answer.success(operation, "2016-11-15", "the-request", output)
    parser = botocore.parsers.create_parser("ec2")
    parsed = parser.parse({"body": document, "headers": {}, "status_code": 200}, model.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "the-request"
    if model.output_shape is not None and "Return" in model.output_shape.members:
        output.setdefault("Return", True)
    assert parsed == output


def test_every_operation_of_the_model_has_reader_and_writer() -> None:
    """Without parameters a call is read, or asked for what it lacks; an empty answer can be written."""
    for operation in sorted(operations()):
        assert answer.success(operation, "2016-11-15", "r", {}).endswith(f"</{operation}Response>".encode())
        try:
            assert parse({"Action": operation}).params == {}
        except Ec2Error as error:
            assert error.code in ("MissingParameter", "InvalidParameterCombination"), operation
