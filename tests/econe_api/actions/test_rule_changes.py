"""Rules that keep their ids and say something else."""

from __future__ import annotations

from typing import Any

import pytest

NO_RULE = "sgr-0123456789abcdef0"


@pytest.fixture
def web(tenant: Any, permission: Any) -> dict[str, str]:
    """A group with three inbound rules: its id, and theirs by protocol."""
    group = tenant.group()
    asked = [
        permission(IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "old"}]),
        permission("udp"),
        permission("47", None),
    ]
    made = tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=asked)["SecurityGroupRules"]
    return {"group": group} | {rule["IpProtocol"]: rule["SecurityGroupRuleId"] for rule in made}


def _shown(tenant: Any, *ids: str) -> list[dict[str, Any]]:
    return tenant("DescribeSecurityGroupRules", SecurityGroupRuleIds=list(ids))["SecurityGroupRules"]


def _change(key: str, **rule: Any) -> dict[str, Any]:
    return {"SecurityGroupRuleId": key, "SecurityGroupRule": rule}


def test_everything_but_id_direction_and_tags_can_change(tenant: Any, web: dict[str, str], touched: Any) -> None:
    key = web["tcp"]
    tags = [{"Key": "Name", "Value": "front"}]
    tenant("CreateTags", Resources=[key], Tags=tags)
    asked = {"PrefixListName": "l", "MaxEntries": 2, "AddressFamily": "IPv4"}
    listed = tenant("CreateManagedPrefixList", **asked)["PrefixList"]["PrefixListId"]
    for rule, expected in (
        ({"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIpv4": "10.1.2.3/8"}, {"CidrIpv4": "10.0.0.0/8"}),
        ({"IpProtocol": "17", "FromPort": 1, "ToPort": 2, "PrefixListId": listed}, {"PrefixListId": listed}),
        (
            {"IpProtocol": "-1", "ReferencedGroupId": web["group"], "Description": "us"},
            {"ReferencedGroupInfo": {"GroupId": web["group"], "UserId": tenant.account}, "Description": "us"},
        ),
    ):
        answer = tenant("ModifySecurityGroupRules", GroupId=web["group"], SecurityGroupRules=[_change(key, **rule)])
        assert answer == {"Return": True}
        assert touched() == {("group", web["group"])}
        (shown,) = _shown(tenant, key)
        assert (shown["IsEgress"], shown["Tags"]) == (False, tags)
        said = {"CidrIpv4", "PrefixListId", "ReferencedGroupInfo", "Description"} & shown.keys()
        assert {name: shown[name] for name in said} == expected
        assert (shown["FromPort"], shown["ToPort"]) == (rule.get("FromPort", -1), rule.get("ToPort", -1))


def test_two_rules_change_places(tenant: Any, web: dict[str, str]) -> None:
    """The rules are compared as they will be, not as they were."""
    changes = [
        _change(web["tcp"], IpProtocol="udp", FromPort=80, ToPort=80, CidrIpv4="0.0.0.0/0"),
        _change(web["udp"], IpProtocol="tcp", FromPort=80, ToPort=80, CidrIpv4="0.0.0.0/0"),
    ]
    tenant("ModifySecurityGroupRules", GroupId=web["group"], SecurityGroupRules=changes)
    said = {rule["SecurityGroupRuleId"]: rule["IpProtocol"] for rule in _shown(tenant, web["tcp"], web["udp"])}
    assert said == {web["tcp"]: "udp", web["udp"]: "tcp"}


def test_a_description_alone_is_nothing_to_the_data_plane(tenant: Any, web: dict[str, str], cloud: Any) -> None:
    before = cloud.revision()
    same = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIpv4": "0.0.0.0/0"}
    change = _change(web["tcp"], **same, Description="new")
    tenant("ModifySecurityGroupRules", GroupId=web["group"], SecurityGroupRules=[change])
    assert _shown(tenant, web["tcp"])[0]["Description"] == "new"
    tenant("ModifySecurityGroupRules", GroupId=web["group"], SecurityGroupRules=[_change(web["tcp"], **same)])
    assert "Description" not in _shown(tenant, web["tcp"])[0]
    assert cloud.revision() == before


def test_all_or_nothing(tenant: Any, stranger: Any, refused: Any, web: dict[str, str]) -> None:
    group, good = web["group"], {"IpProtocol": "tcp", "FromPort": 5, "ToPort": 5, "CidrIpv4": "10.0.0.0/8"}
    other = tenant.group("other")
    (foreign,) = tenant("DescribeSecurityGroupRules", Filters=[{"Name": "group-id", "Values": [other]}])[
        "SecurityGroupRules"
    ]
    theirs = stranger("DescribeSecurityGroupRules")["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    for code, change in (
        ("InvalidSecurityGroupRuleId.NotFound", _change(NO_RULE, **good)),
        ("InvalidSecurityGroupRuleId.NotFound", _change(theirs, **good)),
        ("InvalidSecurityGroupRuleId.NotFound", _change(foreign["SecurityGroupRuleId"], **good)),
        ("InvalidSecurityGroupRuleId.Malformed", _change("rule", **good)),
        ("InvalidParameterValue", _change(web["tcp"], **good)),
        ("InvalidPermission.Duplicate", _change(web["udp"], IpProtocol="47", CidrIpv4="0.0.0.0/0")),
        ("InvalidParameterValue", _change(web["udp"], **good)),
        ("InvalidParameterCombination", _change(web["udp"], **good, CidrIpv6="::/0")),
        ("MissingParameter", _change(web["udp"], IpProtocol="-1")),
        ("InvalidParameterValue", _change(web["udp"], FromPort=5, ToPort=5, CidrIpv4="10.0.0.0/8")),
        ("InvalidParameterValue", _change(web["udp"], **good | {"FromPort": None})),
        ("InvalidParameterValue", _change(web["udp"], **good | {"ToPort": None})),
        ("InvalidParameterValue", _change(web["udp"], **good | {"ToPort": 4})),
        ("InvalidParameterValue", _change(web["udp"], **good | {"CidrIpv4": "10.0.0.0/33"})),
        ("InvalidGroup.NotFound", _change(web["udp"], IpProtocol="-1", ReferencedGroupId="sg-0123456789abcdef0")),
        ("InvalidGroup.NotFound", _change(web["udp"], IpProtocol="-1", ReferencedGroupId=stranger.default_group())),
        ("InvalidPrefixListID.NotFound", _change(web["udp"], IpProtocol="-1", PrefixListId="pl-01234567")),
        ("UnsupportedOperation", _change(web["udp"], IpProtocol="-1", CidrIpv6="::/0")),
    ):
        changes = [_change(web["tcp"], **good), change]
        refused(tenant, code, "ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=changes)
    one = [_change(web["tcp"], **good)]
    refused(tenant, "InvalidGroup.NotFound", "ModifySecurityGroupRules", GroupId=NO_GROUP, SecurityGroupRules=one)
    refused(tenant, "MissingParameter", "ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=[])
    messages = {
        refused(
            tenant,
            "InvalidSecurityGroupRuleId.NotFound",
            "ModifySecurityGroupRules",
            GroupId=group,
            SecurityGroupRules=[_change(key, **good)],
        ).message.replace(key, "")
        for key in (NO_RULE, theirs)
    }
    assert len(messages) == 1


NO_GROUP = "sg-0123456789abcdef0"


@pytest.mark.parametrize("by", ["permission", "rule id"])
def test_descriptions(tenant: Any, web: dict[str, str], permission: Any, cloud: Any, by: str) -> None:
    before = cloud.revision()

    def say(text: str | None, **where: Any) -> dict[str, Any]:
        words = {"Description": text} if text else {}
        asked: dict[str, Any] = {"IpPermissions": [permission(IpRanges=[{"CidrIp": "9.9.9.9/0", **words}])]}
        if by == "rule id":
            asked = {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": web["tcp"], **words}]}
        return tenant("UpdateSecurityGroupRuleDescriptionsIngress", **(where or {"GroupId": web["group"]}), **asked)

    assert say("new") == {"Return": True}
    assert _shown(tenant, web["tcp"])[0]["Description"] == "new"
    say(None, GroupName="web")
    assert "Description" not in _shown(tenant, web["tcp"])[0]
    assert cloud.revision() == before


def test_refused_descriptions(tenant: Any, stranger: Any, refused: Any, web: dict[str, str], permission: Any) -> None:
    action, where = "UpdateSecurityGroupRuleDescriptionsIngress", {"GroupId": web["group"]}
    theirs = stranger("DescribeSecurityGroupRules")["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    described = [{"SecurityGroupRuleId": web["tcp"], "Description": "x"}]
    for code, params in (
        ("MissingParameter", {}),
        ("InvalidParameterCombination", {"IpPermissions": [permission()], "SecurityGroupRuleDescriptions": described}),
        ("InvalidPermission.NotFound", {"IpPermissions": [permission(), permission(first=1)]}),
        ("InvalidParameterValue", {"IpPermissions": [permission(), permission()]}),
        ("InvalidSecurityGroupRuleId.NotFound", {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": NO_RULE}]}),
        ("InvalidSecurityGroupRuleId.NotFound", {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": theirs}]}),
        ("InvalidSecurityGroupRuleId.Malformed", {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": "sgr-"}]}),
        ("InvalidSecurityGroupRuleId.Malformed", {"SecurityGroupRuleDescriptions": [{"Description": "x"}]}),
        (
            "InvalidParameterValue",
            {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": web["tcp"], "Description": "<"}]},
        ),
    ):
        refused(tenant, code, action, **where, **params)
    egress = action.replace("Ingress", "Egress")
    asked = {"SecurityGroupRuleDescriptions": described}
    refused(tenant, "InvalidSecurityGroupRuleId.NotFound", egress, **where, **asked)
    refused(tenant, "MissingParameter", action, **asked)
    (out,) = [
        rule
        for rule in tenant("DescribeSecurityGroupRules")["SecurityGroupRules"]
        if rule["GroupId"] == web["group"] and rule["IsEgress"]
    ]
    tenant(
        egress,
        **where,
        SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": out["SecurityGroupRuleId"], "Description": "all"}],
    )
    assert _shown(tenant, out["SecurityGroupRuleId"])[0]["Description"] == "all"
