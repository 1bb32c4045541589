"""Tags."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from econe_api.store.schema import tags


def _tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(pairs.items())]


def _specified(kind: str, **pairs: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": _tags(**pairs)}]


def _count(tenant: Any) -> int:
    with tenant.store.engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(tags)) or 0)


def test_tags_from_creation_to_the_end(tenant: Any, permission: Any) -> None:
    wanted = _tags(Name="x", Owner="")
    group = tenant.group(TagSpecifications=_specified("security-group", Name="x", Owner=""))
    rule = tenant(
        "AuthorizeSecurityGroupIngress",
        GroupId=group,
        IpPermissions=[permission()],
        TagSpecifications=_specified("security-group-rule", Name="x", Owner=""),
    )["SecurityGroupRules"][0]
    allocation = tenant("AllocateAddress", TagSpecifications=_specified("elastic-ip", Name="x", Owner=""))
    instance = tenant.run(
        TagSpecifications=_specified("instance", Name="x", Owner="") + _specified("network-interface", Name="nic")
    )
    assert instance["Tags"] == rule["Tags"] == wanted
    by_name = [{"Name": "tag:Name", "Values": ["x"]}]
    for action, member, id_name, resource in (
        ("DescribeSecurityGroups", "SecurityGroups", "GroupId", group),
        ("DescribeSecurityGroupRules", "SecurityGroupRules", "SecurityGroupRuleId", rule["SecurityGroupRuleId"]),
        ("DescribeAddresses", "Addresses", "AllocationId", allocation["AllocationId"]),
    ):
        (shown,) = tenant(action, Filters=by_name)[member]
        assert (shown[id_name], shown["Tags"]) == (resource, wanted)
        assert tenant(action, Filters=[{"Name": "tag-key", "Values": ["Colour"]}])[member] == []
    (reservation,) = tenant("DescribeInstances", Filters=by_name)["Reservations"]
    assert reservation["Instances"][0]["Tags"] == wanted
    assert _count(tenant) == 9
    tenant("ReleaseAddress", AllocationId=allocation["AllocationId"])
    tenant("RevokeSecurityGroupIngress", GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    assert _count(tenant) == 5
    tenant("TerminateInstances", InstanceIds=[instance["InstanceId"]])
    tenant("DeleteSecurityGroup", GroupId=group)
    assert tenant("DescribeTags")["Tags"] == [
        {"ResourceId": instance["InstanceId"], "ResourceType": "instance", **tag} for tag in wanted
    ]


def test_tags_given_and_taken(tenant: Any, cloud: Any) -> None:
    group, other = tenant.group("one"), tenant.group("two")
    before = cloud.revision()
    tenant("CreateTags", Resources=[group, other, group], Tags=_tags(a="1", b="2"))
    tenant("CreateTags", Resources=[group], Tags=_tags(b="3", c="4"))

    def of(resource: str) -> list[dict[str, str]]:
        shown = tenant("DescribeSecurityGroups", GroupIds=[resource])["SecurityGroups"][0]["Tags"]
        filtered = tenant("DescribeTags", Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
        assert shown == [{"Key": tag["Key"], "Value": tag["Value"]} for tag in filtered]
        return list(shown)

    assert (of(group), of(other)) == (_tags(a="1", b="3", c="4"), _tags(a="1", b="2"))
    tenant("DeleteTags", Resources=[group, other], Tags=[{"Key": "b", "Value": "3"}, {"Key": "c"}, {"Key": "none"}])
    assert (of(group), of(other)) == (_tags(a="1"), _tags(a="1", b="2"))
    tenant("DeleteTags", Resources=[other])
    assert (of(group), of(other)) == (_tags(a="1"), [])
    assert cloud.revision() == before  # the data plane knows nothing of tags


def test_tags_of_an_image_are_each_accounts_own(tenant: Any, stranger: Any, refused: Any) -> None:
    (image,) = [image["ImageId"] for image in tenant("DescribeImages")["Images"]]

    def of(who: Any, *filters: dict[str, Any]) -> list[Any]:
        return [shown["Tags"] for shown in who("DescribeImages", Filters=list(filters))["Images"]]

    tenant("CreateTags", Resources=[image], Tags=_tags(Stack="test", Name="mine"))
    stranger("CreateTags", Resources=[image], Tags=_tags(Stack="production"))
    assert (of(tenant), of(stranger)) == ([_tags(Name="mine", Stack="test")], [_tags(Stack="production")])
    assert of(stranger, {"Name": "tag:Stack", "Values": ["test"]}) == []
    assert {tag["ResourceType"] for tag in tenant("DescribeTags")["Tags"]} == {"image"}
    tenant("DeleteTags", Resources=[image])
    assert (of(tenant), of(stranger)) == ([[]], [_tags(Stack="production")])
    refused(tenant, "InvalidAMIID.NotFound", "CreateTags", Resources=["ami-00000000"], Tags=_tags(a="1"))


def test_describe_tags(tenant: Any, stranger: Any, refused: Any) -> None:
    group = tenant.group()
    instance = tenant.run()["InstanceId"]
    stranger("CreateTags", Resources=[stranger.group()], Tags=_tags(a="1"))
    tenant("CreateTags", Resources=[group], Tags=_tags(a="1", b="2", c="3", d="4"))
    tenant("CreateTags", Resources=[instance], Tags=_tags(a="9"))

    def count(name: str, *values: str) -> int:
        return len(tenant("DescribeTags", Filters=[{"Name": name, "Values": list(values)}])["Tags"])

    assert count("key", "a") == 2
    assert count("value", "?") == 5
    assert count("resource-id", instance) == 1
    assert count("resource-type", "security-group", "volume") == 4
    assert count("tag:a", "1") == 1
    assert count("tag:a", "*") == 2
    tenant("CreateTags", Resources=[instance], Tags=_tags(b="8"))
    first = tenant("DescribeTags", MaxResults=5)
    second = tenant("DescribeTags", MaxResults=5, NextToken=first["NextToken"])
    assert (len(first["Tags"]), len(second["Tags"])) == (5, 1)
    refused(tenant, "InvalidParameterValue", "DescribeTags", Filters=[{"Name": "colour", "Values": ["red"]}])
    refused(tenant, "InvalidParameterValue", "DescribeTags", MaxResults=4)


def test_refused_tags(tenant: Any, stranger: Any, refused: Any) -> None:
    group, theirs = tenant.group(), stranger.group()
    one = _tags(a="1")
    for code, params in (
        ("MissingParameter", {"Tags": one}),
        ("MissingParameter", {"Resources": [group]}),
        ("MissingParameter", {"Resources": [group], "Tags": [{"Value": "1"}]}),
        ("InvalidParameterValue", {"Resources": [group], "Tags": _tags(**{"aws:x": "1"})}),
        ("InvalidParameterValue", {"Resources": [group], "Tags": one + one}),
        ("InvalidParameterValue", {"Resources": [group], "Tags": _tags(**{"k" * 128: "1"})}),
        ("InvalidParameterValue", {"Resources": [group], "Tags": _tags(a="v" * 257)}),
        ("TagLimitExceeded", {"Resources": [group], "Tags": _tags(**{f"k{number}": "" for number in range(51)})}),
        ("InvalidID", {"Resources": ["rubbish"], "Tags": one}),
        ("InvalidGroup.NotFound", {"Resources": [group, theirs], "Tags": one}),
        ("InvalidGroup.NotFound", {"Resources": ["sg-00000000"], "Tags": one}),
        ("InvalidInstanceID.NotFound", {"Resources": ["i-00000000"], "Tags": one}),
        ("InvalidNetworkInterfaceID.NotFound", {"Resources": ["eni-00000000"], "Tags": one}),
        ("InvalidAllocationID.NotFound", {"Resources": ["eipalloc-00000000"], "Tags": one}),
        ("InvalidSecurityGroupRuleId.NotFound", {"Resources": ["sgr-00000000"], "Tags": one}),
    ):
        refused(tenant, code, "CreateTags", **params)
    tenant("CreateTags", Resources=[group], Tags=_tags(**{f"k{number}": "" for number in range(50)}))
    refused(tenant, "TagLimitExceeded", "CreateTags", Resources=[group], Tags=one)
    tenant("CreateTags", Resources=[group], Tags=_tags(k7="new"))
    refused(stranger, "InvalidGroup.NotFound", "DeleteTags", Resources=[group])
    refused(tenant, "MissingParameter", "DeleteTags", Tags=one)
    refused(tenant, "MissingParameter", "DeleteTags", Resources=[group], Tags=[{"Value": "x"}])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refused_specifications(tenant: Any, refused: Any) -> None:
    for kind, wanted in (("volume", _tags(a="1")), (None, _tags(a="1")), ("elastic-ip", []), ("elastic-ip", None)):
        wrong = [{"ResourceType": kind, "Tags": wanted}]
        refused(tenant, "InvalidParameterValue", "AllocateAddress", TagSpecifications=wrong)
    for kind, wanted in (("volume", _tags(a="1")), (None, _tags(a="1")), ("vpc", [])):
        wrong = [{"ResourceType": kind, "Tags": wanted}]
        refused(tenant, "InvalidParameter", "CreateVpc", CidrBlock="10.0.0.0/16", TagSpecifications=wrong)
    twice = _specified("elastic-ip", a="1") * 2
    refused(tenant, "InvalidParameterValue", "AllocateAddress", TagSpecifications=twice)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_specifications_of_one_kind_add_up(tenant: Any) -> None:
    both = _specified("elastic-ip", a="1") + _specified("elastic-ip", b="2")
    tenant("AllocateAddress", TagSpecifications=both)
    (address,) = tenant("DescribeAddresses")["Addresses"]
    assert address["Tags"] == _tags(a="1", b="2")
    by_value = [{"Name": "tag-value", "Values": ["2"]}]
    assert tenant("DescribeAddresses", Filters=by_value)["Addresses"] == [address]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_instance_without_tags_shows_no_list(tenant: Any) -> None:
    key = tenant.run()["InstanceId"]

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = tenant("DescribeInstances", InstanceIds=[key])["Reservations"][0]["Instances"][0]
        return found

    assert "Tags" not in shown()
    tenant("CreateTags", Resources=[key], Tags=_tags(Name="x"))
    assert shown()["Tags"] == _tags(Name="x")
