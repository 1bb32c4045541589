"""Managed prefix lists: made, changed, restored, shown, used in rules, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from econe_api.store.feed import Feed
from econe_api.store.quotas import INBOUND_RULES, PREFIX_LISTS, set_quota
from econe_api.store.records import Kind

ABSENT = "pl-0123456789abcdef0"
OFFICES = [{"Cidr": "198.51.100.7/24", "Description": "north"}, {"Cidr": "203.0.113.0/24"}]
ACTIONS_ON_ONE = {
    "ModifyManagedPrefixList": {"PrefixListName": "other"},
    "RestoreManagedPrefixListVersion": {"PreviousVersion": 1, "CurrentVersion": 2},
    "DeleteManagedPrefixList": {},
    "GetManagedPrefixListEntries": {},
    "GetManagedPrefixListAssociations": {},
}


def _made(tenant: Any, **more: Any) -> dict[str, Any]:
    asked = {"PrefixListName": "offices", "MaxEntries": 5, "AddressFamily": "IPv4", "Entries": OFFICES}
    return tenant("CreateManagedPrefixList", **asked | more)["PrefixList"]


def _entries(tenant: Any, key: str, **more: Any) -> dict[str, str | None]:
    answer = tenant("GetManagedPrefixListEntries", PrefixListId=key, **more)
    return {entry["Cidr"]: entry.get("Description") for entry in answer["Entries"]}


def _own(tenant: Any) -> list[dict[str, Any]]:
    filters = [{"Name": "owner-id", "Values": [tenant.account]}]
    return tenant("DescribeManagedPrefixLists", Filters=filters)["PrefixLists"]


def _told(cloud: Any) -> dict[str, tuple[str, ...]]:
    """The entries of every list as the data plane knows them."""
    changes = Feed(cloud.engine).snapshot().changes
    return {change.key: change.record.entries for change in changes if change.kind is Kind.PREFIX_LIST}


def test_a_list_and_its_versions(tenant: Any, touched: Any, cloud: Any) -> None:
    tags = [{"Key": "Name", "Value": "offices"}]
    made = _made(tenant, TagSpecifications=[{"ResourceType": "prefix-list", "Tags": tags}])
    key = made["PrefixListId"]
    assert touched() == {("prefix-list", key)}
    assert made == {
        "PrefixListId": key,
        "PrefixListName": "offices",
        "PrefixListArn": f"arn:aws:ec2:us-east-1:{tenant.account}:prefix-list/{key}",
        "AddressFamily": "IPv4",
        "State": "create-complete",
        "OwnerId": tenant.account,
        "Tags": tags,
        "MaxEntries": 5,
        "Version": 1,
    }
    assert _own(tenant) == [made]
    assert _entries(tenant, key) == {"198.51.100.0/24": "north", "203.0.113.0/24": None}
    change = {"AddEntries": [{"Cidr": "192.0.2.1/32"}], "RemoveEntries": [{"Cidr": "203.0.113.0/24"}]}
    changed = tenant("ModifyManagedPrefixList", PrefixListId=key, CurrentVersion=1, **change)["PrefixList"]
    assert (changed["Version"], changed["State"]) == (2, "modify-complete")
    assert touched() == {("prefix-list", key)}
    second = {"192.0.2.1/32": None, "198.51.100.0/24": "north"}
    assert _entries(tenant, key) == second
    assert _told(cloud) == {key: tuple(sorted(second))}
    renamed = {"AddEntries": [{"Cidr": "198.51.100.0/24", "Description": "south"}]}
    tenant("ModifyManagedPrefixList", PrefixListId=key, CurrentVersion=2, **renamed)
    assert _entries(tenant, key) == second | {"198.51.100.0/24": "south"}
    answer = tenant("RestoreManagedPrefixListVersion", PrefixListId=key, PreviousVersion=1, CurrentVersion=3)
    assert (answer["PrefixList"]["Version"], answer["PrefixList"]["State"]) == (4, "restore-complete")
    for version, expected in (
        (1, {"198.51.100.0/24": "north", "203.0.113.0/24": None}),
        (2, second),
        (3, second | {"198.51.100.0/24": "south"}),
        (4, {"198.51.100.0/24": "north", "203.0.113.0/24": None}),
    ):
        assert _entries(tenant, key, TargetVersion=version) == expected, version
    assert _entries(tenant, key) == _entries(tenant, key, TargetVersion=4)
    gone = tenant("DeleteManagedPrefixList", PrefixListId=key)["PrefixList"]
    assert (gone["PrefixListId"], gone["State"]) == (key, "delete-complete")
    assert _told(cloud) == {}
    assert _own(tenant) == []


def test_name_and_size_make_no_version(tenant: Any, refused: Any, cloud: Any) -> None:
    key = _made(tenant)["PrefixListId"]
    before = cloud.revision()
    for change in ({"PrefixListName": "houses"}, {"MaxEntries": 2}):
        tenant("ModifyManagedPrefixList", PrefixListId=key, **change)
    (shown,) = _own(tenant)
    assert (shown["PrefixListName"], shown["MaxEntries"], shown["Version"]) == ("houses", 2, 1)
    assert cloud.revision() == before
    more = {"PrefixListId": key, "CurrentVersion": 1, "AddEntries": [{"Cidr": "10.0.0.0/8"}]}
    refused(tenant, "PrefixListMaxEntriesExceeded", "ModifyManagedPrefixList", **more)
    tenant("ModifyManagedPrefixList", **more | {"RemoveEntries": [{"Cidr": "203.0.113.0/24"}]})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refused_lists(tenant: Any, refused: Any) -> None:
    good = {"PrefixListName": "offices", "MaxEntries": 2, "AddressFamily": "IPv4"}
    for code, change in (
        ("InvalidParameterValue", {"PrefixListName": "com.amazonaws.us-east-1.mine"}),
        ("InvalidParameterValue", {"PrefixListName": "x" * 256}),
        ("InvalidParameterValue", {"AddressFamily": "ipv4"}),
        ("InvalidParameterValue", {"MaxEntries": 0}),
        ("InvalidParameterValue", {"MaxEntries": 1001}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "fd00::/8"}]}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "10.0.0.0"}]}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "10.0.0.1/8"}, {"Cidr": "10.0.0.2/8"}]}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "10.0.0.1/8", "Description": "x" * 256}]}),
        ("PrefixListMaxEntriesExceeded", {"Entries": [{"Cidr": f"10.{n}.0.0/16"} for n in range(3)]}),
    ):
        refused(tenant, code, "CreateManagedPrefixList", **good | change)
    key = _made(tenant)["PrefixListId"]
    add = {"AddEntries": [{"Cidr": "192.0.2.0/24"}]}
    for code, change in (
        ("InvalidRequest", {}),
        ("MissingParameter", add),
        ("PrefixListVersionMismatch", add | {"CurrentVersion": 2}),
        ("PrefixListVersionMismatch", {"PrefixListName": "other", "CurrentVersion": 0}),
        ("InvalidParameterCombination", add | {"CurrentVersion": 1, "MaxEntries": 9}),
        ("InvalidParameterValue", {"MaxEntries": 1}),
        ("InvalidParameterValue", {"PrefixListName": "com.amazonaws.x"}),
        ("InvalidParameterValue", add | {"CurrentVersion": 1, "RemoveEntries": add["AddEntries"]}),
        ("InvalidPrefixListModification", {"CurrentVersion": 1, "RemoveEntries": add["AddEntries"]}),
        ("InvalidPrefixListModification", {"CurrentVersion": 1, "AddEntries": [OFFICES[0]]}),
    ):
        refused(tenant, code, "ModifyManagedPrefixList", PrefixListId=key, **change)
    for code, change in (
        ("PrefixListVersionMismatch", {"PreviousVersion": 1, "CurrentVersion": 2}),
        ("InvalidParameterValue", {"PreviousVersion": 1, "CurrentVersion": 1}),
        ("InvalidParameterValue", {"PreviousVersion": 0, "CurrentVersion": 1}),
    ):
        refused(tenant, code, "RestoreManagedPrefixListVersion", PrefixListId=key, **change)
    refused(tenant, "InvalidParameterValue", "GetManagedPrefixListEntries", PrefixListId=key, TargetVersion=2)
    set_quota(tenant.store, tenant.account, PREFIX_LISTS, 1)
    refused(tenant, "PrefixListLimitExceeded", "CreateManagedPrefixList", **good)


def test_the_same_token_makes_one_list(tenant: Any, stranger: Any, refused: Any, clock: Any) -> None:
    one, again = (_made(tenant, ClientToken="a" * 200) for _ in range(2))
    assert one == again
    assert len(_own(tenant)) == 1
    refused(
        tenant,
        "IdempotentParameterMismatch",
        "CreateManagedPrefixList",
        PrefixListName="other",
        MaxEntries=5,
        AddressFamily="IPv4",
        ClientToken="a" * 200,
    )
    assert _made(stranger, ClientToken="a" * 200)["PrefixListId"] != one["PrefixListId"]
    tenant("DeleteManagedPrefixList", PrefixListId=one["PrefixListId"])
    third = _made(tenant, ClientToken="a" * 200)["PrefixListId"]
    clock.advance(days=1, seconds=1)
    assert _made(tenant, ClientToken="a" * 200)["PrefixListId"] != third


def test_another_accounts_list_is_as_one_that_is_not_there(tenant: Any, stranger: Any, refused: Any) -> None:
    theirs, group = _made(stranger)["PrefixListId"], tenant.group()
    named = {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": ABSENT}]}
    asked: dict[str, dict[str, Any]] = {
        "DescribeManagedPrefixLists": {"PrefixListIds": [ABSENT]},
        "DescribePrefixLists": {"PrefixListIds": [ABSENT]},
        "AuthorizeSecurityGroupIngress": {"GroupId": group, "IpPermissions": [named]},
        "CreateTags": {"Resources": [ABSENT], "Tags": [{"Key": "a", "Value": "b"}]},
        **{action: params | {"PrefixListId": ABSENT} for action, params in ACTIONS_ON_ONE.items()},
    }
    for action, params in asked.items():
        code = "InvalidPrefixListId.NotFound" if action == "DescribePrefixLists" else "InvalidPrefixListID.NotFound"
        absent = refused(tenant, code, action, **params).message
        there = refused(tenant, code, action, **_replaced(params, ABSENT, theirs)).message
        assert there.replace(theirs, ABSENT) == absent
        malformed = _replaced(params, ABSENT, "pl-xyz")
        if action != "CreateTags":
            refused(tenant, "InvalidPrefixListId.Malformed", action, **malformed)
    assert _own(tenant) == []


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, old, new) for item in value]
    return new if value == old else value


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_lists_that_the_cloud_provides(tenant: Any, refused: Any) -> None:
    shown = tenant("DescribePrefixLists")["PrefixLists"]
    names = {one["PrefixListName"]: one for one in shown}
    assert names.keys() == {"com.amazonaws.us-east-1.s3", "com.amazonaws.us-east-1.dynamodb"}
    s3 = names["com.amazonaws.us-east-1.s3"]
    assert s3["Cidrs"] == []
    chosen = [{"Name": "prefix-list-name", "Values": ["*.s3"]}]
    assert tenant("DescribePrefixLists", Filters=chosen)["PrefixLists"] == [s3]
    (managed,) = tenant("DescribeManagedPrefixLists", Filters=chosen)["PrefixLists"]
    assert (managed["OwnerId"], managed["PrefixListId"]) == ("AWS", s3["PrefixListId"])
    assert not {"MaxEntries", "Version"} & managed.keys()
    assert _entries(tenant, s3["PrefixListId"]) == {}
    for action, params in ACTIONS_ON_ONE.items():
        if action != "GetManagedPrefixListEntries":
            refused(tenant, "OperationNotPermitted", action, PrefixListId=s3["PrefixListId"], **params)
    group = tenant.group()
    permission = {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": s3["PrefixListId"]}]}
    tenant("AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=[permission])
    tenant("RevokeSecurityGroupEgress", GroupId=group, IpPermissions=[permission])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_pages_and_filters(tenant: Any, refused: Any) -> None:
    keys = sorted(_made(tenant, PrefixListName=f"list-{number}")["PrefixListId"] for number in range(5))
    seen, token = [], None
    while token is not None or not seen:
        page = tenant("DescribeManagedPrefixLists", MaxResults=2, **({"NextToken": token} if token else {}))
        seen += [one["PrefixListId"] for one in page["PrefixLists"] if one["OwnerId"] == tenant.account]
        token = page.get("NextToken")
    assert seen == keys
    for name, value, count in (
        ("prefix-list-id", keys[0], 1),
        ("prefix-list-name", "list-?", 5),
        ("prefix-list-name", "list-\\?", 0),
        ("owner-id", "AWS", 2),
        ("tag:Name", "*", 0),
    ):
        found = tenant("DescribeManagedPrefixLists", Filters=[{"Name": name, "Values": [value]}])["PrefixLists"]
        assert len(found) == count, (name, value)
    refused(tenant, "InvalidParameterValue", "DescribeManagedPrefixLists", MaxResults=101)
    refused(tenant, "InvalidParameterValue", "GetManagedPrefixListEntries", PrefixListId=keys[0], MaxResults=0)
    page = tenant("GetManagedPrefixListEntries", PrefixListId=keys[0], MaxResults=1)
    rest = tenant("GetManagedPrefixListEntries", PrefixListId=keys[0], MaxResults=1, NextToken=page["NextToken"])
    assert [entry["Cidr"] for entry in (*page["Entries"], *rest["Entries"])] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert "NextToken" not in rest
    wrong = {"PrefixListId": keys[1], "NextToken": page["NextToken"]}
    refused(tenant, "InvalidNextToken", "GetManagedPrefixListEntries", **wrong)


def test_rules_that_name_a_list(tenant: Any, refused: Any, touched: Any, cloud: Any) -> None:
    key, group = _made(tenant)["PrefixListId"], tenant.group()
    asked = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "PrefixListIds": [{"PrefixListId": key, "Description": "all offices"}],
    }
    for direction in ("Ingress", "Egress"):
        answer = tenant(f"AuthorizeSecurityGroup{direction}", GroupId=group, IpPermissions=[asked])
        assert touched() == {("group", group)}
        assert answer["SecurityGroupRules"][0]["PrefixListId"] == key
        refused(
            tenant,
            "InvalidPermission.Duplicate",
            f"AuthorizeSecurityGroup{direction}",
            GroupId=group,
            IpPermissions=[asked],
        )
    for name in ("ip-permission.prefix-list-id", "egress.ip-permission.prefix-list-id"):
        filters = [{"Name": name, "Values": [key]}]
        (shown,) = tenant("DescribeSecurityGroups", Filters=filters)["SecurityGroups"]
    assert shown["IpPermissions"][0]["PrefixListIds"] == asked["PrefixListIds"]
    assert shown["IpPermissionsEgress"][1]["PrefixListIds"] == asked["PrefixListIds"]
    associations = tenant("GetManagedPrefixListAssociations", PrefixListId=key)["PrefixListAssociations"]
    assert associations == [{"ResourceId": group, "ResourceOwner": tenant.account}]
    refused(tenant, "DependencyViolation", "DeleteManagedPrefixList", PrefixListId=key)
    (record,) = [one.record for one in Feed(cloud.engine).snapshot().changes if one.key == group]
    assert [rule.prefix_list for rule in record.rules if rule.protocol == 6] == [key, key]
    (gone,) = tenant("RevokeSecurityGroupEgress", GroupId=group, IpPermissions=[asked])["RevokedSecurityGroupRules"]
    assert gone["PrefixListId"] == key
    tenant("RevokeSecurityGroupIngress", GroupId=group, IpPermissions=[asked])
    tenant("DeleteManagedPrefixList", PrefixListId=key)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_counts_as_many_rules_as_it_may_have_entries(
    tenant: Any, refused: Any, permission: Any, reconfigure: Any
) -> None:
    reconfigure(ipv6=True)
    group = tenant.group()
    six = _made(tenant, AddressFamily="IPv6", Entries=[], MaxEntries=60)["PrefixListId"]
    four = _made(tenant, MaxEntries=59)["PrefixListId"]
    lists = [permission(cidr=None, PrefixListIds=[{"PrefixListId": key}]) for key in (six, four)]
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=lists)
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission("udp")])
    limit = "RulesPerSecurityGroupLimitExceeded"
    refused(tenant, limit, "AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission("47", None)])
    refused(tenant, limit, "ModifyManagedPrefixList", PrefixListId=four, MaxEntries=60)
    tenant("ModifyManagedPrefixList", PrefixListId=four, MaxEntries=58)
    tenant("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission("47", None)])
    set_quota(tenant.store, tenant.account, INBOUND_RULES, 70)
    tenant("ModifyManagedPrefixList", PrefixListId=four, MaxEntries=60)
    for protocol, key in (("icmp", six), ("58", four)):
        wrong = [
            permission(protocol, None if protocol == "58" else -1, -1, None, PrefixListIds=[{"PrefixListId": key}])
        ]
        refused(tenant, "InvalidParameterValue", "AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=wrong)
    reconfigure(ipv6=False)
    refused(tenant, "UnsupportedOperation", "AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=lists)
