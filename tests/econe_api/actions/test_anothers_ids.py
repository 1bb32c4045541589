"""Every action, every parameter that takes an id: another account's is answered exactly like one that is not there."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.errors import Ec2Error
from econe_api.protocol.model import service

#: Kinds of ids by words in the names of parameters; the first word that fits counts.
KINDS = {
    "SecurityGroupRuleId": "sgr",
    "PrefixListId": "pl",
    "AttachmentId": "eni-attach",
    "AllocationId": "eipalloc",
    "NetworkInterfaceId": "eni",
    "InternetGatewayId": "igw",
    "GatewayId": "igw",
    "RouteTableId": "rtb",
    "NetworkAclId": "acl",
    "DhcpOptions": "dopt",
    "KeyPairId": "key",
    "SubnetId": "subnet",
    "VpcId": "vpc",
    "InstanceId": "i",
    "GroupId": "sg",
    "Groups": "sg",
    "SecurityGroup": "sg",
    "Resources": "sg",
}
ABSENT = "0123456789abcdef0"
_ID = re.compile(r"\b(?:[a-z]+-)+[0-9a-f]{17}\b|\b02(?::[0-9a-f]{2}){5}\b")
_DEEPEST = 3


class _RolledBackError(Exception):
    """Takes a call that went well back."""


def result(tenant: Any, action: str, params: Mapping[str, Any]) -> str:
    """What an action answers, as text; nothing of it is kept."""
    call = Call(action, params, Caller(tenant.account, "AKIATEST"), str(uuid.uuid4()))
    entry = ACTIONS[action]
    answer: Any = None
    try:
        prepared = entry.prepared(call)
        with tenant.store.write(prepared) as txn:
            answer = entry.handler(prepared, txn)
            raise _RolledBackError
    except Ec2Error as error:
        return f"{error.status} {error.code}: {error.message}"
    except _RolledBackError:
        return repr(answer)


def kind_of(name: str, inner: str) -> str | None:
    return next((kind for word, kind in KINDS.items() if word in name or word in inner), None)


def places(shape: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths to all parameters that take an id, with its kind; "*" stands for the only element of a list."""
    for name, inner in shape.members.items():
        here, leaf = (*path, name), inner
        if inner.type_name == "list":
            here, leaf = (*here, "*"), inner.member
        if leaf.type_name == "structure":
            if len(path) < _DEEPEST:
                yield from places(leaf, here)
        elif leaf.type_name == "string":
            kind = kind_of(name, leaf.name)
            if kind is not None and "Name" not in name:
                yield here, kind


def filled(shape: Any, path: tuple[str, ...] | None, value: str, mine: Mapping[str, str]) -> dict[str, Any]:
    """Parameters with ``value`` at ``path`` (None: nowhere) and, where something is required, what the caller has."""
    made: dict[str, Any] = {}
    for name, inner in shape.members.items():
        on_path = path is not None and path[0] == name
        if on_path or name in shape.required_members:
            made[name] = _value(inner, name, path[1:] if on_path and path else None, value, mine)
    return made


def _value(shape: Any, name: str, path: tuple[str, ...] | None, value: str, mine: Mapping[str, str]) -> Any:
    if shape.type_name == "list":
        return [_value(shape.member, name, path and path[1:], value, mine)]
    if shape.type_name == "structure":
        return filled(shape, path, value, mine)
    if path == ():
        return value
    kind = kind_of(name, shape.name)
    if shape.type_name == "string" and kind is not None:
        return mine[kind]
    words = getattr(shape, "enum", None) or ["10.9.0.0/24"]
    return {"integer": 1, "long": 1, "boolean": True}.get(shape.type_name, words[0])


def owned(tenant: Any) -> dict[str, str]:
    """One of each kind, of a tenant's."""
    vpc = tenant("CreateVpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = tenant("CreateSubnet", VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    gateway = tenant("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    tenant("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
    instance = tenant.run()
    group = tenant.group("theirs")
    asked = {"PrefixListName": "offices", "MaxEntries": 3, "AddressFamily": "IPv4"}
    rule = tenant("DescribeSecurityGroupRules", Filters=[{"Name": "group-id", "Values": [group]}])
    return {
        "sg": group,
        "sgr": rule["SecurityGroupRules"][0]["SecurityGroupRuleId"],
        "pl": tenant("CreateManagedPrefixList", **asked)["PrefixList"]["PrefixListId"],
        "eipalloc": tenant("AllocateAddress")["AllocationId"],
        "eni": instance["NetworkInterfaces"][0]["NetworkInterfaceId"],
        "eni-attach": instance["NetworkInterfaces"][0]["Attachment"]["AttachmentId"],
        "igw": gateway,
        "rtb": tenant("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"],
        "acl": tenant("DescribeNetworkAcls")["NetworkAcls"][0]["NetworkAclId"],
        "dopt": tenant("DescribeDhcpOptions")["DhcpOptions"][0]["DhcpOptionsId"],
        "subnet": subnet,
        "vpc": vpc,
        "i": instance["InstanceId"],
        "key": tenant("CreateKeyPair", KeyName="theirs", KeyType="ed25519")["KeyPairId"],
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_anothers_ids_are_answered_like_absent_ones(tenant: Any, stranger: Any) -> None:
    theirs, mine = owned(stranger), owned(tenant)
    not_found = set()
    for action in sorted(ACTIONS):
        shape = _input_shape(action)
        for path, kind in places(shape) if shape is not None else ():
            absent = f"{kind}-{ABSENT}"
            there, nowhere = (
                result(tenant, action, filled(shape, path, identifier, mine)) for identifier in (theirs[kind], absent)
            )
            assert _plain(there.replace(theirs[kind], absent)) == _plain(nowhere), (action, path)
            if "NotFound" in nowhere.partition(":")[0]:
                not_found.add((action, path[0]))
    assert len({action for action, _ in not_found}) > 70, "most actions must have looked for the id"


def _plain(text: str) -> str:
    return _ID.sub("id", text)


def _input_shape(action: str) -> Any:
    return service().operation_model(action).input_shape if action in service().operation_names else None
