"""From decoded parameters to a call: which action, which API version, which parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from econe_api.errors import Ec2Error
from econe_api.protocol.faults import shorten
from econe_api.protocol.model import API_VERSION, operations
from econe_api.protocol.read import input_reader
from econe_api.protocol.tree import build

#: Parameters of the protocol and of signatures; no operation has one of these names.
PROTOCOL_PARAMETERS = frozenset(
    {
        "Action",
        "Version",
        "AWSAccessKeyId",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "Timestamp",
        "Expires",
        "SecurityToken",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    }
)
_version = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")
#: Actions for which EC2 has words of its own when nothing says which instances.
_INSTANCE_ACTIONS = frozenset({"TerminateInstances", "StartInstances", "StopInstances", "RebootInstances"})


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request by the model: ``params`` as botocore's client takes them, ``version`` as the client sent it."""

    action: str
    version: str
    params: dict[str, Any]


def parse_action(parameters: Mapping[str, str]) -> str:
    """Return the name of the action.  Raises :class:`Ec2Error` MissingAction, InvalidAction."""
    action = parameters.get("Action")
    if not action:
        raise Ec2Error("MissingAction", "The request must contain the parameter Action")
    if action not in operations():
        raise Ec2Error("InvalidAction", f"The action {shorten(action)} is not valid for this web service.")
    return action


def parse_version(parameters: Mapping[str, str]) -> str:
    """Return the API version that the client speaks, the newest when it names none.  Raises NoSuchVersion."""
    version = parameters.get("Version", API_VERSION)
    if not _version.fullmatch(version) or version > API_VERSION:
        raise Ec2Error(
            "NoSuchVersion", f"The requested version ({shorten(version)}) of service AmazonEC2 does not exist"
        )
    return version


def parse(parameters: Mapping[str, str]) -> ApiRequest:
    """Read ``parameters`` by the model.

    Raises :class:`Ec2Error`: unknown action or version, and parameters that are missing, unknown or of another type.
    """
    action = parse_action(parameters)
    version = parse_version(parameters)
    tree = build({name: value for name, value in parameters.items() if name not in PROTOCOL_PARAMETERS})
    if action in _INSTANCE_ACTIONS and "InstanceId" not in tree.children:
        raise Ec2Error("InvalidParameterCombination", "No instances specified")
    return ApiRequest(action, version, input_reader(action)(tree))
