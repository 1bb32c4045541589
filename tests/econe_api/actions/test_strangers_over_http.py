"""boto3 over loopback: addresses, groups and prefix lists at work, and what one account sees of another's."""

from __future__ import annotations

import http.client
import re
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.store import Store

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
ABSENT = "0123456789abcdef0"


@pytest.fixture
def other(store: Store) -> NewAccount:
    return create_account(store, "other")


def _refusal(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_prefix_lists_and_rules(ec2: Any) -> None:
    made = ec2.create_managed_prefix_list(
        PrefixListName="offices",
        MaxEntries=3,
        AddressFamily="IPv4",
        Entries=[{"Cidr": "192.0.2.0/24", "Description": "one"}],
        TagSpecifications=[{"ResourceType": "prefix-list", "Tags": [{"Key": "Name", "Value": "x"}]}],
    )["PrefixList"]
    key, group = made["PrefixListId"], ec2.create_security_group(GroupName="web", Description="x")["GroupId"]
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "why", "Value": "offices"}]}]
    listed = [SSH | {"PrefixListIds": [{"PrefixListId": key}]}]
    (rule,) = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=listed, TagSpecifications=tags)[
        "SecurityGroupRules"
    ]
    assert (rule["PrefixListId"], rule["Tags"]) == (key, tags[0]["Tags"])
    change = {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": SSH | {"CidrIpv4": "10.0.0.0/8"}}
    assert ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[change])["Return"] is True
    described = [{"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "Description": "inside"}]
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group, SecurityGroupRuleDescriptions=described)
    (shown,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])[
        "SecurityGroupRules"
    ]
    assert (shown["CidrIpv4"], shown["Description"], shown["Tags"]) == ("10.0.0.0/8", "inside", tags[0]["Tags"])
    assert ec2.describe_security_group_rules(Filters=[{"Name": "tag:why", "Values": ["off*"]}])["SecurityGroupRules"]
    more = [{"Cidr": "198.51.100.0/24"}]
    changed = ec2.modify_managed_prefix_list(PrefixListId=key, CurrentVersion=1, AddEntries=more)["PrefixList"]
    assert changed["Version"] == 2
    pages = ec2.get_paginator("get_managed_prefix_list_entries").paginate(
        PrefixListId=key, PaginationConfig={"PageSize": 1}
    )
    assert [page["Entries"][0]["Cidr"] for page in pages] == ["192.0.2.0/24", "198.51.100.0/24"]
    ec2.restore_managed_prefix_list_version(PrefixListId=key, PreviousVersion=1, CurrentVersion=2)
    assert len(ec2.get_managed_prefix_list_entries(PrefixListId=key)["Entries"]) == 1
    wrong = {"PrefixListId": key, "CurrentVersion": 1, "AddEntries": more}
    assert _refusal(ec2.modify_managed_prefix_list, **wrong) == "PrefixListVersionMismatch"
    assert ec2.delete_managed_prefix_list(PrefixListId=key)["PrefixList"]["State"] == "delete-complete"
    assert ec2.describe_prefix_lists()["PrefixLists"][0]["Cidrs"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_addresses(ec2: Any, client_for: Any, other: NewAccount) -> None:
    key = ec2.allocate_address(Address="203.0.113.12")["AllocationId"]
    named = ec2.modify_address_attribute(AllocationId=key, DomainName="a.example")["Address"]
    assert named["PtrRecord"] == "a.example."
    assert ec2.describe_addresses_attribute(Attribute="domain-name")["Addresses"] == [named]
    ec2.reset_address_attribute(AllocationId=key, Attribute="domain-name")
    offer = ec2.enable_address_transfer(AllocationId=key, TransferAccountId=other.account_id)["AddressTransfer"]
    (shown,) = ec2.describe_address_transfers()["AddressTransfers"]
    assert shown == offer
    theirs = client_for(other)
    taken = theirs.accept_address_transfer(Address="203.0.113.12")["AddressTransfer"]
    assert taken["AddressTransferStatus"] == "accepted"
    assert ec2.describe_addresses()["Addresses"] == []
    theirs.release_address(AllocationId=taken["AllocationId"])
    assert ec2.describe_public_ipv4_pools()["PublicIpv4Pools"][0]["TotalAvailableAddressCount"] == 8
    assert ec2.describe_moving_addresses()["MovingAddressStatuses"] == []
    assert _refusal(ec2.create_public_ipv4_pool) == "UnsupportedOperation"


def _body(port: int, account: NewAccount, query: str) -> str:
    """The answer to a signed request, without the id of the request."""
    url = f"http://127.0.0.1:{port}/?Version=2016-11-15&{query}"
    request = AWSRequest(method="GET", url=url)
    botocore.auth.SigV4Auth(Credentials(account.access_key_id, account.secret), "ec2", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", url.removeprefix(f"http://127.0.0.1:{port}"), headers=dict(request.headers.items()))
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    return f"{answer.status} " + re.sub(r"<(request|Request)I[dD]>[^<]*", "", text)


ASKING = (
    "Action=AssociateAddress&InstanceId=i-01234567&AllocationId={eipalloc}",
    "Action=AuthorizeSecurityGroupIngress&GroupId={mine}&IpPermissions.1.IpProtocol=-1"
    "&IpPermissions.1.PrefixListIds.1.PrefixListId={pl}",
    "Action=AuthorizeSecurityGroupIngress&GroupId={mine}&IpPermissions.1.Groups.1.GroupId={sg}"
    "&IpPermissions.1.IpProtocol=-1",
    "Action=AuthorizeSecurityGroupIngress&GroupId={sg}&IpProtocol=-1&CidrIp=0.0.0.0%2F0",
    "Action=DeleteManagedPrefixList&PrefixListId={pl}",
    "Action=DeleteSecurityGroup&GroupId={sg}",
    "Action=DescribeAddressTransfers&AllocationId.1={eipalloc}",
    "Action=DescribeAddresses&AllocationId.1={eipalloc}",
    "Action=DescribeAddressesAttribute&AllocationId.1={eipalloc}",
    "Action=DescribeManagedPrefixLists&PrefixListId.1={pl}",
    "Action=DescribePrefixLists&PrefixListId.1={pl}",
    "Action=DescribeSecurityGroupReferences&GroupId.1={sg}",
    "Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={sgr}",
    "Action=DescribeSecurityGroups&GroupId.1={sg}",
    "Action=DisableAddressTransfer&AllocationId={eipalloc}",
    "Action=EnableAddressTransfer&AllocationId={eipalloc}&TransferAccountId=999999999999",
    "Action=GetManagedPrefixListAssociations&PrefixListId={pl}",
    "Action=GetManagedPrefixListEntries&PrefixListId={pl}",
    "Action=ModifyAddressAttribute&AllocationId={eipalloc}&DomainName=a.example",
    "Action=ModifyManagedPrefixList&PrefixListId={pl}&PrefixListName=x",
    "Action=ModifySecurityGroupRules&GroupId={mine}&SecurityGroupRule.1.SecurityGroupRuleId={sgr}"
    "&SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1&SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=0.0.0.0%2F0",
    "Action=ReleaseAddress&AllocationId={eipalloc}",
    "Action=ResetAddressAttribute&AllocationId={eipalloc}&Attribute=domain-name",
    "Action=RestoreManagedPrefixListVersion&PrefixListId={pl}&PreviousVersion=1&CurrentVersion=2",
    "Action=RevokeSecurityGroupIngress&GroupId={mine}&SecurityGroupRuleId.1={sgr}",
    "Action=UpdateSecurityGroupRuleDescriptionsEgress&GroupId={mine}"
    "&SecurityGroupRuleDescription.1.SecurityGroupRuleId={sgr}",
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_anothers_ids_are_answered_byte_for_byte_like_absent_ones(
    ec2: Any, client_for: Any, port: int, account: NewAccount, other: NewAccount
) -> None:
    theirs = client_for(other)
    group = theirs.create_security_group(GroupName="theirs", Description="x")["GroupId"]
    asked = {"PrefixListName": "theirs", "MaxEntries": 1, "AddressFamily": "IPv4"}
    there = {
        "sg": group,
        "sgr": theirs.describe_security_group_rules()["SecurityGroupRules"][0]["SecurityGroupRuleId"],
        "pl": theirs.create_managed_prefix_list(**asked)["PrefixList"]["PrefixListId"],
        "eipalloc": theirs.allocate_address()["AllocationId"],
    }
    absent = {prefix: f"{prefix}-{ABSENT}" for prefix in there}
    mine = ec2.create_security_group(GroupName="mine", Description="x")["GroupId"]
    for query in ASKING:
        one, two = (_body(port, account, query.format(mine=mine, **ids)) for ids in (there, absent))
        for prefix, key in there.items():
            one = one.replace(key, absent[prefix])
        assert one == two, query
        assert "NotFound</Code>" in one, (query, one)
    assert theirs.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_smaller_answers_are_rendered(ec2: Any, other: NewAccount) -> None:
    vpc = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="web", Description="x")["GroupId"]
    asked = {"PrefixListName": "six", "MaxEntries": 1, "AddressFamily": "IPv6"}
    key = ec2.create_managed_prefix_list(**asked)["PrefixList"]["PrefixListId"]
    assert [one["GroupName"] for one in ec2.get_security_groups_for_vpc(VpcId=vpc)["SecurityGroupForVpcs"]] == [
        "default",
        "web",
    ]
    assert ec2.describe_security_group_references(GroupId=[group])["SecurityGroupReferenceSet"] == []
    assert ec2.describe_stale_security_groups(VpcId=vpc)["StaleSecurityGroupSet"] == []
    assert ec2.describe_security_group_vpc_associations()["SecurityGroupVpcAssociations"] == []
    assert ec2.describe_ipv6_pools()["Ipv6Pools"] == []
    assert ec2.get_managed_prefix_list_associations(PrefixListId=key)["PrefixListAssociations"] == []
    (shown,) = ec2.describe_managed_prefix_lists(PrefixListIds=[key])["PrefixLists"]
    assert (shown["AddressFamily"], shown["Version"], shown["MaxEntries"]) == ("IPv6", 1, 1)
    allocation = ec2.allocate_address()["AllocationId"]
    ec2.enable_address_transfer(AllocationId=allocation, TransferAccountId=other.account_id)
    gone = ec2.disable_address_transfer(AllocationId=allocation)["AddressTransfer"]
    assert gone["AddressTransferStatus"] == "disabled"
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}]
    assert ec2.update_security_group_rule_descriptions_egress(GroupId=group, IpPermissions=everything)["Return"] is True
    assert _refusal(ec2.associate_security_group_vpc, GroupId=group, VpcId=vpc) == "UnsupportedOperation"
    assert _refusal(ec2.move_address_to_vpc, PublicIp="203.0.113.10") == "UnsupportedOperation"
    assert _refusal(ec2.create_managed_prefix_list, **asked, DryRun=True) == "DryRunOperation"
