"""Security groups: made, shown, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from econe_api.store.quotas import GROUPS, set_quota
from econe_api.store.schema import vpcs

NO_GROUP = "sg-0000000000000dead"


def test_a_new_group_lets_nothing_in_and_everything_out(tenant: Any, touched: Any) -> None:
    made = tenant("CreateSecurityGroup", GroupName="web", Description="web servers")
    assert touched() == {("group", made["GroupId"])}
    (shown,) = tenant("DescribeSecurityGroups", GroupIds=[made["GroupId"]])["SecurityGroups"]
    assert shown == {
        "GroupId": made["GroupId"],
        "GroupName": "web",
        "Description": "web servers",
        "OwnerId": tenant.account,
        "VpcId": tenant.subnet().vpc,
        "SecurityGroupArn": made["SecurityGroupArn"],
        "IpPermissions": [],
        "IpPermissionsEgress": [
            {
                "IpProtocol": "-1",
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                "UserIdGroupPairs": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
            }
        ],
        "Tags": [],
    }


def test_refused_creations(tenant: Any, refused: Any, stranger: Any) -> None:
    tenant.group("web")
    for code, params in (
        ("MissingParameter", {"GroupName": "x"}),
        ("MissingParameter", {"Description": "x"}),
        ("MissingParameter", {"GroupName": "", "Description": "x"}),
        ("InvalidParameterValue", {"GroupName": "sg-x", "Description": "x"}),
        ("InvalidParameterValue", {"GroupName": "näme", "Description": "x"}),
        ("InvalidParameterValue", {"GroupName": "x" * 256, "Description": "x"}),
        ("InvalidParameterValue", {"GroupName": "x", "Description": "x" * 256}),
        ("InvalidParameterValue", {"GroupName": "x", "Description": "a\nb"}),
        ("InvalidGroup.Reserved", {"GroupName": "default", "Description": "x"}),
        ("InvalidGroup.Duplicate", {"GroupName": "web", "Description": "x"}),
        ("InvalidVpcID.NotFound", {"GroupName": "x", "Description": "x", "VpcId": "vpc-00000000"}),
        ("InvalidVpcID.NotFound", {"GroupName": "x", "Description": "x", "VpcId": stranger.subnet().vpc}),
        ("InvalidVpcID.Malformed", {"GroupName": "x", "Description": "x", "VpcId": "x"}),
    ):
        refused(tenant, code, "CreateSecurityGroup", **params)
    assert tenant.group("web", VpcId=tenant.second_vpc())  # another VPC, another name space
    assert tenant.group("x" * 255)


def test_group_limit(tenant: Any, refused: Any, cloud: Any) -> None:
    set_quota(cloud, tenant.account, GROUPS, 2)
    tenant.group("second")
    refused(tenant, "SecurityGroupLimitExceeded", "CreateSecurityGroup", GroupName="third", Description="x")
    elsewhere = {"GroupName": "third", "Description": "x", "VpcId": tenant.second_vpc()}
    refused(tenant, "SecurityGroupLimitExceeded", "CreateSecurityGroup", **elsewhere)


def test_deletion(tenant: Any, refused: Any, touched: Any, permission: Any) -> None:
    used, referenced, other = tenant.group("used"), tenant.group("referenced"), tenant.group("other")
    tenant.run(SecurityGroupIds=[used])
    pair = {"UserIdGroupPairs": [{"GroupId": referenced}]}
    for group in (referenced, other):  # a reference to itself keeps no group alive
        tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission(cidr=None, **pair)])
    for group in (used, referenced):
        error = refused(tenant, "DependencyViolation", "DeleteSecurityGroup", GroupId=group)
        assert error.message == f"resource {group} has a dependent object"
    refused(tenant, "CannotDelete", "DeleteSecurityGroup", GroupName="default")
    assert tenant("DeleteSecurityGroup", GroupName="other") == {"Return": True, "GroupId": other}
    assert touched() == {("group", other)}
    tenant("DeleteSecurityGroup", GroupId=referenced)
    refused(tenant, "InvalidGroup.NotFound", "DeleteSecurityGroup", GroupId=referenced)
    refused(tenant, "InvalidGroup.NotFound", "DeleteSecurityGroup", GroupName="referenced")
    refused(tenant, "InvalidGroupId.Malformed", "DeleteSecurityGroup", GroupId="referenced")
    refused(tenant, "MissingParameter", "DeleteSecurityGroup")
    refused(tenant, "InvalidParameterCombination", "DeleteSecurityGroup", GroupId=used, GroupName="default")
    spare = tenant.group("spare")
    tenant("DeleteSecurityGroup", GroupId=spare, GroupName="spare")  # both, and they agree


def _names(answer: dict[str, Any]) -> list[str]:
    return [group["GroupName"] for group in answer["SecurityGroups"]]


def test_describe_names_ids_and_their_union(tenant: Any, refused: Any) -> None:
    web, db = tenant.group("web"), tenant.group("db")
    elsewhere = tenant.group("elsewhere", VpcId=tenant.second_vpc())
    assert _names(tenant("DescribeSecurityGroups")) == ["default", "web", "db", "elsewhere"]
    assert _names(tenant("DescribeSecurityGroups", GroupIds=[db], GroupNames=["web", web])) == ["web", "db"]
    assert _names(tenant("DescribeSecurityGroups", GroupIds=[elsewhere])) == ["elsewhere"]
    for code, params in (
        ("InvalidGroup.NotFound", {"GroupIds": [NO_GROUP]}),
        ("InvalidGroup.NotFound", {"GroupNames": ["nobody"]}),
        ("InvalidGroup.NotFound", {"GroupNames": [NO_GROUP]}),
        ("InvalidGroupId.Malformed", {"GroupIds": ["web"]}),
        ("InvalidParameterValue", {"GroupNames": ["elsewhere"]}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
        ("InvalidParameterValue", {"MaxResults": 4}),
        ("InvalidParameterCombination", {"MaxResults": 5, "GroupIds": [web]}),
        ("InvalidParameterCombination", {"MaxResults": 5, "GroupNames": ["web"]}),
        ("InvalidNextToken", {"NextToken": "x"}),
    ):
        refused(tenant, code, "DescribeSecurityGroups", **params)


def test_filters(tenant: Any, permission: Any) -> None:
    web, db = tenant.group("web"), tenant.group("db")
    pair = {"UserIdGroupPairs": [{"GroupId": web}]}
    tenant(
        "AuthorizeSecurityGroupIngress",
        GroupId=db,
        IpPermissions=[permission("udp", 5432, 5433, cidr=None, **pair), permission("47", None, cidr="10.0.0.0/8")],
    )

    def named(**filters: str) -> list[str]:
        asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return _names(tenant("DescribeSecurityGroups", Filters=asked))

    for filters, expected in (
        ({"group-id": web}, ["web"]),
        ({"group-id": NO_GROUP}, []),
        ({"group-name": "d*"}, ["default", "db"]),
        ({"group-name": "WEB"}, []),
        ({"description": "a group"}, ["web", "db"]),
        ({"owner-id": tenant.account}, ["default", "web", "db"]),
        ({"vpc-id": tenant.subnet().vpc, "group-name": "db"}, ["db"]),
        ({"ip-permission.group-id": web}, ["db"]),
        ({"ip-permission.group-name": "web"}, ["db"]),
        ({"ip-permission.user-id": tenant.account}, ["default", "db"]),
        ({"ip-permission.protocol": "udp", "ip-permission.from-port": "5432"}, ["db"]),
        ({"ip-permission.to-port": "5432"}, []),
        ({"ip-permission.protocol": "47", "ip-permission.cidr": "10.0.0.0/8"}, ["db"]),
        ({"ip-permission.cidr": "0.0.0.0/0"}, []),
        ({"egress.ip-permission.cidr": "0.0.0.0/0"}, ["default", "web", "db"]),
        ({"ip-permission.ipv6-cidr": "*"}, []),
        ({"ip-permission.prefix-list-id": "*"}, []),
        ({"tag-key": "*"}, []),
    ):
        assert named(**filters) == expected, filters


def test_pages(tenant: Any) -> None:
    for number in range(11):
        tenant.group(f"g{number}")
    shown, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        answer = tenant("DescribeSecurityGroups", MaxResults=5, **more)
        shown.append(_names(answer))
        token = answer.get("NextToken")
        if token is None:
            break
    assert [len(page) for page in shown] == [5, 5, 2]
    assert [name for page in shown for name in page] == ["default", *(f"g{number}" for number in range(11))]


def test_another_accounts_group_does_not_exist(tenant: Any, stranger: Any, refused: Any) -> None:
    theirs = stranger.group("secret")
    calls: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
        ("DescribeSecurityGroups", lambda group: {"GroupIds": [group]}),
        ("DeleteSecurityGroup", lambda group: {"GroupId": group}),
        ("AuthorizeSecurityGroupIngress", lambda group: {"GroupId": group}),
        ("RevokeSecurityGroupEgress", lambda group: {"GroupId": group}),
        ("RunInstances", lambda group: _launch(tenant) | {"SecurityGroupIds": [group]}),
    ]
    for action, params in calls:
        messages = [
            refused(tenant, "InvalidGroup.NotFound", action, **params(group)).message.replace(group, "...")
            for group in (theirs, NO_GROUP)
        ]
        assert messages[0] == messages[1]
    refused(tenant, "InvalidGroup.NotFound", "DeleteSecurityGroup", GroupName="secret")
    assert _names(tenant("DescribeSecurityGroups")) == ["default"]
    assert _names(tenant("DescribeSecurityGroups", Filters=[{"Name": "group-id", "Values": [theirs]}])) == []


def _launch(tenant: Any) -> dict[str, Any]:
    return {"ImageId": tenant.store.config.images[0].id, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1}


def test_statements_do_not_grow_with_groups(tenant: Any, statements: Any, permission: Any) -> None:
    tenant.group("first")
    few = statements(lambda: tenant("DescribeSecurityGroups"))
    for number in range(8):
        group = tenant.group(f"g{number}")
        tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission()])
    assert statements(lambda: tenant("DescribeSecurityGroups")) == few


def test_an_account_without_default_vpc(tenant: Any, refused: Any, cloud: Any) -> None:
    with cloud.engine.begin() as connection:
        connection.execute(update(vpcs).values(is_default=False))
    refused(tenant, "VPCIdNotSpecified", "CreateSecurityGroup", GroupName="web", Description="x")
    refused(tenant, "VPCIdNotSpecified", "RunInstances", **_launch(tenant))
