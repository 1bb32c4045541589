"""Rules: authorised, shown, revoked."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

NO_GROUP = "sg-0000000000000dead"
NO_LIST = "pl-0000000000000dead"
EVERYTHING = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def _rules(tenant: Any, group: str, *, egress: bool = False) -> set[tuple[Any, ...]]:
    answer = tenant("DescribeSecurityGroupRules", Filters=[{"Name": "group-id", "Values": [group]}])
    return {
        (
            rule["IpProtocol"],
            rule["FromPort"],
            rule["ToPort"],
            rule.get("CidrIpv4") or rule["ReferencedGroupInfo"]["GroupId"],
        )
        for rule in answer["SecurityGroupRules"]
        if rule["IsEgress"] is egress
    }


def test_three_syntaxes(tenant: Any) -> None:
    listed, flat, source = tenant.group("listed"), tenant.group("flat"), tenant.group("source")
    tenant(
        "AuthorizeSecurityGroupIngress",
        GroupId=listed,
        IpPermissions=[{"IpProtocol": "6", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "100.68.0.18/18"}]}],
    )
    tenant(
        "AuthorizeSecurityGroupIngress",
        GroupName="flat",
        IpProtocol="tcp",
        FromPort=80,
        ToPort=80,
        CidrIp="100.68.0.18/18",
    )
    assert _rules(tenant, listed) == _rules(tenant, flat) == {("tcp", 80, 80, "100.68.0.0/18")}
    tenant(
        "AuthorizeSecurityGroupIngress",
        GroupName="source",
        SourceSecurityGroupName="flat",
        SourceSecurityGroupOwnerId=tenant.account,
    )
    assert _rules(tenant, source) == {
        ("tcp", 0, 65535, flat),
        ("udp", 0, 65535, flat),
        ("icmp", -1, -1, flat),
    }
    tenant("RevokeSecurityGroupIngress", GroupName="source", SourceSecurityGroupName="flat")
    assert _rules(tenant, source) == set()


def test_answer_of_authorize(tenant: Any, touched: Any) -> None:
    group = tenant.group()
    answer = tenant(
        "AuthorizeSecurityGroupIngress",
        GroupId=group,
        IpPermissions=[
            {
                "IpProtocol": "ICMP",
                "FromPort": -1,
                "ToPort": -1,
                "IpRanges": [{"CidrIp": "10.0.0.1/8", "Description": "ours"}],
                "UserIdGroupPairs": [{"GroupName": "default", "UserId": tenant.account}],
            }
        ],
    )
    assert touched() == {("group", group)}
    first, second = answer["SecurityGroupRules"]
    assert answer["Return"] is True
    assert first["SecurityGroupRuleId"].startswith("sgr-")
    assert {name: first[name] for name in ("GroupId", "GroupOwnerId", "IsEgress", "IpProtocol", "Description")} == {
        "GroupId": group,
        "GroupOwnerId": tenant.account,
        "IsEgress": False,
        "IpProtocol": "icmp",
        "Description": "ours",
    }
    assert (first["FromPort"], first["ToPort"], first["CidrIpv4"]) == (-1, -1, "10.0.0.0/8")
    assert second["ReferencedGroupInfo"] == {"GroupId": tenant.default_group(), "UserId": tenant.account}
    ids = [rule["SecurityGroupRuleId"] for rule in answer["SecurityGroupRules"]]
    assert len(set(ids)) == 2
    shown = tenant("DescribeSecurityGroupRules", SecurityGroupRuleIds=ids)["SecurityGroupRules"]
    assert {rule["SecurityGroupRuleId"]: rule for rule in shown} == dict(
        zip(ids, answer["SecurityGroupRules"], strict=True)
    )


def test_describe_merges_rules_of_equal_protocol_and_ports(tenant: Any, permission: Any) -> None:
    group = tenant.group()
    for asked in (
        permission(cidr="10.0.0.0/8"),
        permission(first=443, last=443),
        permission(cidr="192.0.2.0/24"),
        permission(cidr=None, UserIdGroupPairs=[{"GroupId": group, "Description": "us"}]),
        permission("50", None),
    ):
        tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[asked])
    (shown,) = tenant("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
    empty: dict[str, Any] = {"UserIdGroupPairs": [], "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}
    assert shown["IpPermissions"] == [
        empty
        | {
            "IpProtocol": "tcp",
            "FromPort": 80,
            "ToPort": 80,
            "IpRanges": [{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.0/24"}],
            "UserIdGroupPairs": [{"GroupId": group, "UserId": tenant.account, "Description": "us"}],
        },
        empty | {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        empty | {"IpProtocol": "50", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    ]


def test_what_was_shown_can_be_written_back(tenant: Any, permission: Any) -> None:
    group, copy = tenant.group("one"), tenant.group("two")
    pair = {"UserIdGroupPairs": [{"GroupId": group}]}
    asked = [permission(), permission("icmp", 8, -1, **pair), permission("-1", None, cidr="10.0.0.0/8")]
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=asked)
    (shown,) = tenant("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
    tenant("AuthorizeSecurityGroupIngress", GroupId=copy, IpPermissions=shown["IpPermissions"])
    assert _rules(tenant, copy) == _rules(tenant, group)
    tenant("RevokeSecurityGroupIngress", GroupId=group, IpPermissions=shown["IpPermissions"])
    assert _rules(tenant, group) == set()


def test_refused_authorizations(tenant: Any, stranger: Any, refused: Any, permission: Any) -> None:
    group, theirs = tenant.group(), stranger.group("theirs")
    far = tenant.group("far", VpcId=tenant.second_vpc())
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission()])

    def pair(**named: str) -> Any:
        return [permission(cidr=None, UserIdGroupPairs=[named])]

    cases: list[tuple[str, dict[str, Any]]] = [
        ("MissingParameter", {}),
        ("MissingParameter", {"IpPermissions": []}),
        ("MissingParameter", {"IpPermissions": [permission(cidr=None)]}),
        ("MissingParameter", {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}),
        ("InvalidParameterValue", {"CidrIp": "0.0.0.0/0"}),
        ("MissingParameter", {"SourceSecurityGroupOwnerId": tenant.account}),
        ("InvalidParameterCombination", {"IpPermissions": [permission("udp")], "IpProtocol": "tcp"}),
        ("InvalidParameterCombination", {"IpPermissions": [permission("udp")], "SourceSecurityGroupName": "web"}),
        ("InvalidParameterCombination", {"SourceSecurityGroupName": "web", "CidrIp": "0.0.0.0/0"}),
        ("InvalidParameterValue", {"IpPermissions": [permission("tcpp")]}),
        ("InvalidParameterValue", {"IpPermissions": [permission("tcp", None)]}),
        ("InvalidParameterValue", {"IpPermissions": [permission("tcp", 2, 1)]}),
        ("InvalidParameterValue", {"IpPermissions": [permission("udp", 0, 65536)]}),
        ("InvalidParameterValue", {"IpPermissions": [permission("icmp", -1, 0)]}),
        ("InvalidParameterValue", {"IpPermissions": [permission(cidr="10.0.0.0")]}),
        ("InvalidParameterValue", {"IpPermissions": [permission("udp"), permission("17", cidr="1.2.3.4/0")]}),
        ("InvalidPermission.Duplicate", {"IpPermissions": [permission("udp"), permission("6", cidr="9.9.9.9/0")]}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=NO_GROUP)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=theirs)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=theirs, UserId=stranger.account)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=group, UserId=stranger.account)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupName="theirs", UserId=stranger.account)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupName="nobody")}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=far)}),
        ("InvalidGroup.NotFound", {"IpPermissions": pair(GroupId=group, VpcId="vpc-00000000")}),
        ("InvalidParameterCombination", {"IpPermissions": pair(GroupId=group, GroupName="default")}),
        ("InvalidGroupId.Malformed", {"IpPermissions": pair(GroupId="web")}),
        ("UnsupportedOperation", {"IpPermissions": pair(GroupId=group, VpcPeeringConnectionId="pcx-1")}),
        ("UnsupportedOperation", {"IpPermissions": [permission(Ipv6Ranges=[{"CidrIpv6": "::/0"}])]}),
        ("MissingParameter", {"IpPermissions": [permission(PrefixListIds=[{"Description": "nobody"}])]}),
        ("InvalidPrefixListId.Malformed", {"IpPermissions": [permission(PrefixListIds=[{"PrefixListId": "pl-x"}])]}),
        ("InvalidPrefixListID.NotFound", {"IpPermissions": [permission(PrefixListIds=[{"PrefixListId": NO_LIST}])]}),
        ("UnsupportedOperation", {"IpPermissions": [permission("icmpv6", None)]}),
        ("UnsupportedOperation", {"IpPermissions": [permission("58", 128, 0)]}),
    ]
    for code, params in cases:
        refused(tenant, code, "AuthorizeSecurityGroupIngress", GroupId=group, **params)
    refused(tenant, "UnsupportedOperation", "AuthorizeSecurityGroupEgress", GroupId=group, SourceSecurityGroupName="a")
    refused(tenant, "InvalidPermission.Duplicate", "AuthorizeSecurityGroupEgress", GroupId=group, **_flat(EVERYTHING))
    assert _rules(tenant, group) == {("tcp", 80, 80, "0.0.0.0/0")}


def _flat(permission: dict[str, Any]) -> dict[str, Any]:
    return {"IpProtocol": permission["IpProtocol"], "CidrIp": permission["IpRanges"][0]["CidrIp"]}


def test_nobody_learns_of_another_accounts_group(tenant: Any, stranger: Any, refused: Any, permission: Any) -> None:
    group, theirs = tenant.group(), stranger.group("theirs")
    messages = {
        refused(
            tenant,
            "InvalidGroup.NotFound",
            "AuthorizeSecurityGroupIngress",
            GroupId=group,
            IpPermissions=[permission(cidr=None, UserIdGroupPairs=[{"GroupId": other, **owner}])],
        ).message.replace(other, "...")
        for other in (theirs, NO_GROUP)
        for owner in ({}, {"UserId": stranger.account})
    }
    assert len(messages) == 1


def test_rule_limit_counts_each_direction(tenant: Any, refused: Any, permission: Any) -> None:
    group = tenant.group()
    many = [permission(first=port, last=port) for port in range(60)]
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=many)
    one_more = {"GroupId": group, "IpPermissions": [permission("udp")]}
    refused(tenant, "RulesPerSecurityGroupLimitExceeded", "AuthorizeSecurityGroupIngress", **one_more)
    refused(
        tenant, "RulesPerSecurityGroupLimitExceeded", "AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=many
    )
    tenant("AuthorizeSecurityGroupEgress", **one_more)


def test_names_outside_the_default_vpc(tenant: Any, permission: Any) -> None:
    far = tenant.group("far", VpcId=tenant.second_vpc())
    itself = [permission(cidr=None, UserIdGroupPairs=[{"GroupName": "far"}])]
    tenant("AuthorizeSecurityGroupIngress", GroupId=far, IpPermissions=itself)
    assert _rules(tenant, far) == {("tcp", 80, 80, far)}


def test_any_order_of_calls_gives_the_same_rules(tenant: Any, permission: Any) -> None:
    asked = [permission(), permission("udp", cidr="10.9.9.9/8"), permission("icmp", 8, 0), permission("-1", None)]
    seen = []
    for number, order in enumerate(itertools.permutations(asked)):
        if number % 5 == 0:
            group = tenant.group(f"g{number}")
            for one in order:
                tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[one])
            tenant("RevokeSecurityGroupIngress", GroupId=group, IpPermissions=[order[0]])
            tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[order[0]])
            (shown,) = tenant("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
            seen.append(shown["IpPermissions"])
    assert all(one == seen[0] for one in seen)
    assert len(seen[0]) == 4


@pytest.mark.parametrize(
    "asked",
    [
        EVERYTHING,
        EVERYTHING | {"FromPort": 0, "ToPort": 0},
        EVERYTHING | {"FromPort": -1, "ToPort": -1},
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "other words"}]},
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_revoking_the_default_egress_rule(tenant: Any, touched: Any, asked: dict[str, Any]) -> None:
    group = tenant.group()
    answer = tenant("RevokeSecurityGroupEgress", GroupId=group, IpPermissions=[asked])
    assert touched() == {("group", group)}
    assert answer["UnknownIpPermissions"] == []
    (gone,) = answer["RevokedSecurityGroupRules"]
    assert gone.pop("SecurityGroupRuleId").startswith("sgr-")
    assert gone == {
        "GroupId": group,
        "IsEgress": True,
        "IpProtocol": "-1",
        "FromPort": -1,
        "ToPort": -1,
        "CidrIpv4": "0.0.0.0/0",
    }
    assert _rules(tenant, group, egress=True) == set()


def test_revoking_what_is_not_there(tenant: Any, refused: Any, cloud: Any, permission: Any) -> None:
    near, far = tenant.group("near"), tenant.group("far", VpcId=tenant.second_vpc())
    six = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    absent = [permission(first=81, last=81), six, permission(cidr=None, UserIdGroupPairs=[{"GroupId": NO_GROUP}])]
    for group in (near, far):
        tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission()])
    before = cloud.revision()
    answer = tenant("RevokeSecurityGroupIngress", GroupId=near, IpPermissions=absent)
    assert cloud.revision() == before
    assert answer["Return"] is True
    assert answer["RevokedSecurityGroupRules"] == []
    unknown = [entry["IpProtocol"] for entry in answer["UnknownIpPermissions"]]
    assert sorted(unknown) == ["-1", "tcp", "tcp"]
    answer = tenant("RevokeSecurityGroupIngress", GroupId=near, IpPermissions=[permission(), absent[0]])
    assert len(answer["RevokedSecurityGroupRules"]) == len(answer["UnknownIpPermissions"]) == 1
    for one in absent:
        error = refused(
            tenant,
            "InvalidPermission.NotFound",
            "RevokeSecurityGroupIngress",
            GroupId=far,
            IpPermissions=[permission(), one],
        )
        assert error.message == "The specified rule does not exist in this security group."


def test_revoking_by_rule_id(tenant: Any, stranger: Any, refused: Any, permission: Any) -> None:
    group = tenant.group()
    asked = {"GroupId": group, "IpPermissions": [permission(), permission("udp")]}
    first, second = (
        rule["SecurityGroupRuleId"] for rule in tenant("AuthorizeSecurityGroupIngress", **asked)["SecurityGroupRules"]
    )
    theirs = stranger("DescribeSecurityGroupRules")["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    absent = "sgr-0000000000000dead"
    for code, action, params in (
        ("InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupIngress", {"SecurityGroupRuleIds": [absent]}),
        ("InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupIngress", {"SecurityGroupRuleIds": [theirs]}),
        ("InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupEgress", {"SecurityGroupRuleIds": [first]}),
        (
            "InvalidSecurityGroupRuleId.NotFound",
            "RevokeSecurityGroupIngress",
            {"SecurityGroupRuleIds": [first, absent]},
        ),
        ("InvalidSecurityGroupRuleId.Malformed", "RevokeSecurityGroupIngress", {"SecurityGroupRuleIds": ["x"]}),
        ("InvalidParameterCombination", "RevokeSecurityGroupIngress", asked | {"SecurityGroupRuleIds": [first]}),
        ("MissingParameter", "RevokeSecurityGroupIngress", {}),
    ):
        refused(tenant, code, action, **{"GroupId": group} | params)
    answer = tenant("RevokeSecurityGroupIngress", GroupId=group, SecurityGroupRuleIds=[first])
    assert [rule["SecurityGroupRuleId"] for rule in answer["RevokedSecurityGroupRules"]] == [first]
    refused(tenant, "InvalidSecurityGroupRuleId.NotFound", "DescribeSecurityGroupRules", SecurityGroupRuleIds=[first])
    assert tenant("DescribeSecurityGroupRules", SecurityGroupRuleIds=[second])["SecurityGroupRules"]


def test_describing_rules(tenant: Any, stranger: Any, refused: Any) -> None:
    group = tenant.group()
    theirs = stranger("DescribeSecurityGroupRules")["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    mine = tenant("DescribeSecurityGroupRules")["SecurityGroupRules"]
    assert len(mine) == 3  # the default group's two, the new group's one
    ids = [rule["SecurityGroupRuleId"] for rule in mine]

    def filtered(name: str, *values: str, **more: Any) -> int:
        answer = tenant("DescribeSecurityGroupRules", Filters=[{"Name": name, "Values": list(values)}], **more)
        return len(answer["SecurityGroupRules"])

    assert filtered("group-id", group) == 1
    assert filtered("group-id", "sg-*") == 3
    assert filtered("security-group-rule-id", ids[0], theirs) == 1
    assert filtered("group-id", NO_GROUP, SecurityGroupRuleIds=ids) == 0
    assert filtered("tag:Name", "x") == 0
    messages = {
        refused(
            tenant, "InvalidSecurityGroupRuleId.NotFound", "DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule]
        ).message.replace(rule, "...")
        for rule in (theirs, "sgr-0000000000000dead")
    }
    assert len(messages) == 1
    refused(tenant, "InvalidSecurityGroupRuleId.Malformed", "DescribeSecurityGroupRules", SecurityGroupRuleIds=["x"])
    for value in ("web", "sg-", "sg-0123456789abcdefg"):
        asked = [{"Name": "group-id", "Values": [value]}]
        refused(tenant, "InvalidGroupId.Malformed", "DescribeSecurityGroupRules", Filters=asked)
    for value in ("sg-*", "sg-0123456789abcdef?"):
        assert tenant("DescribeSecurityGroupRules", Filters=[{"Name": "group-id", "Values": [value]}]) is not None
    refused(tenant, "InvalidParameterCombination", "DescribeSecurityGroupRules", SecurityGroupRuleIds=ids, MaxResults=5)
