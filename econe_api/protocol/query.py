"""The "query" protocol of STS and IAM: the same requests as EC2's in other clothes.

Source: "AWS Query protocol" in the Smithy documentation.  Names are those of the model, lists have ``.member.``
between name and number, an answer is wrapped in ``<ActionResult>`` and says its request id at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from econe_api.errors import Ec2Error
from econe_api.protocol import scalars
from econe_api.protocol.faults import invalid_value, malformed, missing_parameter, shorten, unknown_parameter
from econe_api.protocol.model import input_name_in_query, output_name, service_beside
from econe_api.protocol.request import PROTOCOL_PARAMETERS
from econe_api.protocol.tree import Node, build
from econe_api.protocol.xml import PROLOG, escape

_DIGITS = 5
_UNSIGNED = missing_parameter("AWSAccessKeyId").message
#: What these services call the refusals that are EC2's elsewhere: code, status and words (None: as they are).
_CODES: Mapping[str, tuple[str, int, str | None]] = {
    "AuthFailure": ("InvalidClientTokenId", 403, "The security token included in the request is invalid."),
    "UnauthorizedOperation": ("AccessDenied", 403, None),
    "Unavailable": ("ServiceUnavailable", 503, None),
    "InternalError": ("InternalFailure", 500, None),
}


def parse_action(name: str, parameters: Mapping[str, str]) -> str:
    """Return the action of service ``name``.  Raises :class:`Ec2Error` MissingAction, InvalidAction."""
    action = parameters.get("Action")
    if not action:
        raise Ec2Error("MissingAction", "The request must contain the parameter Action")
    model = service_beside(name)
    if action not in model.operation_names:
        raise Ec2Error(
            "InvalidAction", f"Could not find operation {shorten(action)} for version {model.metadata['apiVersion']}"
        )
    return action


def parse(name: str, action: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of ``action`` as botocore's client takes them.  Raises :class:`Ec2Error`."""
    tree = build({key: value for key, value in parameters.items() if key not in PROTOCOL_PARAMETERS})
    shape = service_beside(name).operation_model(action).input_shape
    if shape is None:
        if tree.children:
            raise unknown_parameter(next(iter(tree.children)))
        return {}
    found: dict[str, Any] = _read(shape, tree)
    return found


def success(name: str, action: str, request_id: str, output: Mapping[str, Any]) -> bytes:
    """Return the answer to ``action``; ``output`` has the shape that botocore's client returns."""
    model = service_beside(name)
    shape = model.operation_model(action).output_shape
    pieces = [f'{PROLOG}<{action}Response xmlns="{model.metadata["xmlNamespace"]}">']
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{action}Result")
        pieces.append(f"<{wrapper}>{_write(shape, output)}</{wrapper}>")
    pieces.append(f"<ResponseMetadata><RequestId>{escape(request_id)}</RequestId></ResponseMetadata>")
    pieces.append(f"</{action}Response>")
    return "".join(pieces).encode()


def failure(name: str, error: Ec2Error, request_id: str) -> bytes:
    """Return the answer that is an error, one that :func:`translated` has given these services' code."""
    kind = "Sender" if error.status < 500 else "Receiver"
    return (
        f'{PROLOG}<ErrorResponse xmlns="{service_beside(name).metadata["xmlNamespace"]}"><Error><Type>{kind}</Type>'
        f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
    ).encode()


def translated(error: Ec2Error) -> Ec2Error:
    """Return ``error`` as these services say it."""
    if error.message == _UNSIGNED:
        return Ec2Error("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    code, status, words = _CODES.get(error.code, (error.code, error.status, None))
    return Ec2Error(code, error.message if words is None else words, status)


def _read(shape: Any, node: Node) -> Any:
    if shape.type_name == "structure":
        return _read_structure(shape, node)
    if shape.type_name == "list":
        return _read_list(shape, node)
    if node.value is None:
        raise unknown_parameter(next(iter(node.children.values())).name)
    return scalars.reader(shape)(node.name, node.value)


def _read_structure(shape: Any, node: Node) -> dict[str, Any]:
    if node.value:
        raise invalid_value(node.name, node.value, "Expecting a structure.")
    names = {input_name_in_query(member_shape, member): member for member, member_shape in shape.members.items()}
    for wire_name, child in node.children.items():
        if wire_name not in names:
            raise unknown_parameter(child.name)
    values = {names[wire]: _read(shape.members[names[wire]], child) for wire, child in node.children.items()}
    for member in shape.required_members:
        if member not in values:
            raise missing_parameter(member)
    return values


def _read_list(shape: Any, node: Node) -> list[Any]:
    if node.children.keys() == {"member"}:
        node = node.children["member"]
    if node.value:
        raise invalid_value(node.name, node.value, "Expecting a list.")
    numbered: dict[int, Node] = {}
    for segment, child in node.children.items():
        if not (segment.isascii() and segment.isdigit() and len(segment) <= _DIGITS):
            raise unknown_parameter(child.name)
        if numbered.setdefault(int(segment), child) is not child:
            raise malformed(f"The parameter {shorten(child.name)} is there more than once.")
    return [_read(shape.member, numbered[index]) for index in sorted(numbered)]


def _write(shape: Any, value: Any) -> str:
    if shape.type_name == "structure":
        if not value.keys() <= shape.members.keys():
            raise TypeError(f"{shape.name} has no member {sorted(value.keys() - shape.members.keys())}")
        shown = ((member, value[member]) for member in shape.members if value.get(member) is not None)
        return "".join(
            _element(output_name(shape.members[name], name), shape.members[name], item) for name, item in shown
        )
    if shape.type_name == "list":
        name = output_name(shape.member, "member")
        return "".join(_element(name, shape.member, item) for item in value)
    return escape(scalars.writer(shape)(value))


def _element(name: str, shape: Any, value: Any) -> str:
    return f"<{name}>{_write(shape, value)}</{name}>"
