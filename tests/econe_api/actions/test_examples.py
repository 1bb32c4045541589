"""The examples that come with botocore: each request of them is taken, and the answer has the members of theirs."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import botocore.loaders
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from econe_api.actions import ACTIONS
from econe_api.call import Answer
from econe_api.config import Config
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.pools import Pool
from econe_api.store.store import Store

from .conftest import Tenant, set_state

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

_EXAMPLES = botocore.loaders.Loader().load_service_model("ec2", "examples-1")["examples"]
_CASES = [(action, number) for action in sorted(_EXAMPLES.keys() & ACTIONS) for number in range(len(_EXAMPLES[action]))]
_ID = re.compile(r"([a-z]+(?:-attach)?)-[0-9a-f]{7,17}\s*")
_KEY = b"ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32))

#: Requests for what this cloud does not do, by action and number.
_REFUSED = {
    ("ModifyInstanceAttribute", 1): "UnsupportedOperation",  # EnaSupport
    ("ModifyNetworkInterfaceAttribute", 3): "UnsupportedOperation",  # SourceDestCheck off
    ("ModifySubnetAttribute", 0): "UnsupportedOperation",  # MapPublicIpOnLaunch
    ("ReplaceRoute", 0): "InvalidParameterValue",  # within the VPC, to a virtual private gateway
    ("RunInstances", 0): "UnsupportedOperation",  # a volume
}

#: Questions to which the true answer is an empty list.
_NONE = {("DescribeAddresses", 2), ("DescribeInstanceAttribute", 2)}  # EC2-Classic, volumes

#: Members that the examples have and answers here have not.
_ABSENT = {
    "DescribeImageAttribute": {".LaunchPermissions.UserId"},  # everybody may launch: Group
    "DescribeImages": {".Images.KernelId"},  # images have none of their own
    "DescribeNetworkInterfaces": {  # as EC2 in a VPC without DNS host names
        ".NetworkInterfaces.PrivateDnsName",
        ".NetworkInterfaces.PrivateIpAddresses.PrivateDnsName",
    },
    "GetConsoleOutput": {".Output"},  # no worker runs here
}


class _Scene:
    """A VPC of 10.0.0.0/16 with all that the examples are about; ``ids`` are the ids to use, by prefix."""

    def __init__(self, tenant: Tenant, ec2: Any) -> None:
        self.tenant, self.ec2 = tenant, ec2
        vpc = self._vpc()
        gateway = tenant("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
        tenant("AttachInternetGateway", VpcId=vpc, InternetGatewayId=gateway)
        self.ids = {"vpc": [vpc], "igw": [gateway]}
        subnet = self._subnet("10.0.0.0/24")
        table = tenant("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"]
        link = tenant("AssociateRouteTable", RouteTableId=table, SubnetId=subnet)["AssociationId"]
        groups = [self._group(name) for name in ("one", "two")]
        instance = tenant.run(InstanceType="t3.small", SubnetId=subnet, SecurityGroupIds=groups)
        (nic,) = instance["NetworkInterfaces"]
        self.address = tenant("AllocateAddress")
        both = {"AllocationId": self.address["AllocationId"], "InstanceId": instance["InstanceId"]}
        association = tenant("AssociateAddress", **both)["AssociationId"]
        acls = tenant("DescribeNetworkAcls", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
        self.ids |= {
            "ami": [tenant("DescribeImages")["Images"][0]["ImageId"]],
            "acl": [acl["NetworkAclId"] for acl in acls],
            "dopt": [tenant("DescribeDhcpOptions")["DhcpOptions"][0]["DhcpOptionsId"]],
            "eipalloc": [self.address["AllocationId"]],
            "eipassoc": [association],
            "eni": [nic["NetworkInterfaceId"]],
            "eni-attach": [nic["Attachment"]["AttachmentId"]],
            "i": [instance["InstanceId"]],
            "rtb": [table],
            "rtbassoc": [link],
            "sg": groups,
            "subnet": [subnet],
        }
        tenant(
            "CreateTags", Resources=[*self.ids["ami"], *self.ids["i"], vpc], Tags=[{"Key": "Stack", "Value": "test"}]
        )
        tenant("ImportKeyPair", KeyName="my-key-pair", PublicKeyMaterial=_KEY)

    def _vpc(self) -> str:
        return str(self.tenant("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])

    def _subnet(self, cidr: str) -> str:
        return str(self.tenant("CreateSubnet", VpcId=self.ids["vpc"][0], CidrBlock=cidr)["Subnet"]["SubnetId"])

    def _group(self, name: str) -> str:
        return self.tenant.group(name, VpcId=self.ids["vpc"][0])

    def prepare(self, action: str) -> None:
        """Bring about what one action needs besides."""
        self._prepare_networks(action)
        self._prepare_interfaces(action)
        tenant, ids = self.tenant, self.ids
        if action == "DeleteSecurityGroup":
            ids["sg"] = [self._group("three")]
        if action == "CreateKeyPair":
            tenant("DeleteKeyPair", KeyName="my-key-pair")
        if action in ("StartInstances", "ModifyInstanceAttribute"):
            set_state(tenant.store, "stopped", ids["i"][0])
        if action.startswith("UpdateSecurityGroupRuleDescriptions"):
            (example,) = _EXAMPLES[action]
            opened = action.replace("UpdateSecurityGroupRuleDescriptions", "AuthorizeSecurityGroup")
            tenant(opened, GroupId=ids["sg"][0], IpPermissions=example["input"]["IpPermissions"])

    def _prepare_networks(self, action: str) -> None:
        tenant, ids = self.tenant, self.ids
        if action in ("AttachInternetGateway", "DeleteInternetGateway"):
            ids["igw"] = [tenant("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]]
        if action in ("AttachInternetGateway", "DeleteVpc"):
            ids["vpc"] = [self._vpc()]
        if action in ("CreateNetworkInterface", "DeleteSubnet"):
            ids["subnet"] = [self._subnet("10.0.2.0/24")]
        if action == "DeleteRouteTable":
            ids["rtb"] = [tenant("CreateRouteTable", VpcId=ids["vpc"][0])["RouteTable"]["RouteTableId"]]
        if action == "DeleteRoute":
            route = {"RouteTableId": ids["rtb"][0], "GatewayId": ids["igw"][0]}
            tenant("CreateRoute", DestinationCidrBlock="0.0.0.0/0", **route)

    def _prepare_interfaces(self, action: str) -> None:
        tenant, ids = self.tenant, self.ids
        if action in ("ReleaseAddress", "DetachInternetGateway"):
            tenant("DisassociateAddress", AssociationId=ids["eipassoc"][0])
        if action in ("AttachNetworkInterface", "DeleteNetworkInterface", "DetachNetworkInterface"):
            ids["eni"] = [tenant.interface(SubnetId=ids["subnet"][0])["NetworkInterfaceId"]]
        if action == "DetachNetworkInterface":
            ids["eni-attach"] = [tenant.attach(ids["eni"][0], ids["i"][0])]
        if action == "UnassignPrivateIpAddresses":
            taken = {"NetworkInterfaceId": ids["eni"][0], "PrivateIpAddresses": ["10.0.0.82"]}
            tenant("AssignPrivateIpAddresses", **taken)

    def own(self, asked: Any, seen: dict[str, list[str]] | None = None) -> Any:
        """A request of the examples with the ids that are here; different ones stay different."""
        seen = {} if seen is None else seen
        if isinstance(asked, Mapping):
            return {
                name: self.address["PublicIp"] if name == "PublicIp" else self.own(value, seen)
                for name, value in asked.items()
            }
        if isinstance(asked, list):
            return [self.own(item, seen) for item in asked]
        found = _ID.fullmatch(asked) if isinstance(asked, str) else None
        if found is None or found[1] not in self.ids:
            return asked
        known = seen.setdefault(found[1], [])
        if asked not in known:
            known.append(asked)
        return self.ids[found[1]][known.index(asked)]


def _members(value: Any, path: str = "") -> Iterator[str]:
    """The names of all members in an answer, each with those above it."""
    if isinstance(value, list):
        for item in value:
            yield from _members(item, path)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from _members(inner, f"{path}.{name}")


def _empty(value: Any, path: str = "") -> Iterator[str]:
    """The names of all members that are empty lists."""
    if value == []:
        yield path
    elif isinstance(value, list):
        for item in value:
            yield from _empty(item, path)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _empty(inner, f"{path}.{name}")


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, ipv6=True)


@pytest.fixture
def scenes(store: Store, pool: Pool, client_for: Callable[[NewAccount], Any]) -> Callable[[], _Scene]:
    """Make a scene in an account of its own."""
    numbers = itertools.count()

    def make() -> _Scene:
        account = create_account(store, f"tenant-{next(numbers)}")
        return _Scene(Tenant(store, account.account_id), client_for(account))

    return make


def _try(scene: _Scene, action: str, number: int) -> None:
    example = _EXAMPLES[action][number]
    asked, expected = scene.own(example.get("input") or {}), example.get("output") or {}
    code, answer = None, {}
    try:
        answer = getattr(scene.ec2, xform_name(action))(**asked)
    except ClientError as error:
        code = error.response["Error"]["Code"]
    match ACTIONS[action].answer:
        case Answer.EMPTY:  # what an example names is not there, unless it is a group
            ids = [value for name, value in asked.items() if re.search("(?<!Owner)Ids?$", name)]
            assert code is None if ids in ([], [scene.ids["sg"][:1]]) else str(code).endswith(".NotFound"), asked
        case Answer.REFUSED:
            assert code == "UnsupportedOperation"
        case _:
            assert code == _REFUSED.get((action, number)), asked
            if code is None and (action, number) not in _NONE:
                assert not any(answer.get(member) == [] for member in expected), "nothing is shown"
    if code is None:
        none = tuple(f"{path}." for path in _empty(answer))
        missing = set(_members(expected)) - set(_members(answer)) - _ABSENT.get(action, set()) - {".NextToken"}
        assert {path for path in missing if not path.startswith(none)} == set(), action


@pytest.mark.parametrize("action", sorted({action for action, _ in _CASES if ACTIONS[action].mutates}))
def test_examples_of_changes(action: str, scenes: Callable[[], _Scene]) -> None:
    for number in range(len(_EXAMPLES[action])):
        scene = scenes()
        scene.prepare(action)
        _try(scene, action, number)


def test_examples_of_questions(scenes: Callable[[], _Scene]) -> None:
    scene = scenes()
    for action, number in _CASES:
        if not ACTIONS[action].mutates:
            _try(scene, action, number)
