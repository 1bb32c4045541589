"""STS and IAM at EC2's address, roles, and temporary keys, with boto3 over HTTP."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from econe_api.call import Role
from econe_api.store.accounts import disable_account
from econe_api.store.keys import NewKey, create_key, delete_key, disable_key
from econe_api.store.store import Store

Client = Callable[..., Any]
STS = "{https://sts.amazonaws.com/doc/2011-06-15/}"


@pytest.fixture
def client(api: Any) -> Iterator[Client]:
    """Make a client: of a service, with a key, with a session token."""
    with ExitStack() as stack:

        def make(service: str, key: NewKey | None = None, token: str | None = None, **config: Any) -> Any:
            made = boto3.client(
                service,
                endpoint_url=api.url,
                region_name="us-east-1",
                aws_access_key_id=(key or api.account).access_key_id,
                aws_secret_access_key=(key or api.account).secret,
                aws_session_token=token,
                config=ClientConfig(retries={"total_max_attempts": 1}, **config),
            )
            return stack.enter_context(closing(made))

        yield make


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_account_itself(client: Client, api: Any) -> None:
    account = api.account.account_id
    answer = client("sts").get_caller_identity()
    assert {name: answer[name] for name in ("UserId", "Account", "Arn")} == {
        "UserId": account,
        "Account": account,
        "Arn": f"arn:aws:iam::{account}:root",
    }
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36
    iam = client("iam")
    assert iam.list_account_aliases()["AccountAliases"] == ["tenant"]
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{account}:root"
    assert iam.list_users()["Users"] == []
    assert [key["AccessKeyId"] for key in iam.list_access_keys()["AccessKeyMetadata"]] == [api.account.access_key_id]


def test_a_user(client: Client, api: Any, store: Store) -> None:
    account = api.account.account_id
    ann = create_key(store, account, None, Role.USER, "ann")
    identity = client("sts", ann).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{account}:user/ann"
    assert identity["UserId"].startswith("AIDA")
    iam = client("iam", ann)
    assert iam.get_user()["User"]["UserName"] == "ann"
    assert iam.get_user()["User"]["UserId"] == identity["UserId"]
    assert refused(iam.get_user, UserName="bob") == ("AccessDenied", 403)
    assert refused(iam.list_users) == ("AccessDenied", 403)
    assert [key["AccessKeyId"] for key in iam.list_access_keys()["AccessKeyMetadata"]] == [ann.access_key_id]
    admin = client("iam")
    assert [user["UserName"] for user in admin.list_users()["Users"]] == ["ann"]
    assert admin.get_user(UserName="ann")["User"]["Arn"] == identity["Arn"]
    assert refused(admin.get_user, UserName="carl") == ("NoSuchEntity", 404)
    create_key(store, account, None, Role.USER, "bob")
    pages = list(admin.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1}))
    assert [[user["UserName"] for user in page["Users"]] for page in pages] == [["ann"], ["bob"]]
    assert admin.list_users(PathPrefix="/division/")["Users"] == []
    assert refused(admin.list_users, Marker="next") == ("ValidationError", 400)
    assert client("ec2", ann).create_security_group(GroupName="g", Description="d")["GroupId"]


def test_a_read_only_key_changes_nothing(client: Client, api: Any, store: Store) -> None:
    looker = create_key(store, api.account.account_id, None, Role.READ_ONLY, "looker")
    ec2 = client("ec2", looker)
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == 1
    for params in ({}, {"DryRun": True}):
        assert refused(ec2.create_security_group, GroupName="g", Description="d", **params) == (
            "UnauthorizedOperation",
            403,
        )
    assert refused(ec2.describe_security_groups, DryRun=True) == ("DryRunOperation", 412)
    temporary = client("sts", looker).get_session_token()["Credentials"]
    key = NewKey(temporary["AccessKeyId"], temporary["SecretAccessKey"])
    assert refused(client("ec2", key, temporary["SessionToken"]).allocate_address) == ("UnauthorizedOperation", 403)
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == 1


@pytest.mark.parametrize("end", ["disabled", "deleted", "account"])
def test_temporary_keys_live_as_long_as_the_key_they_were_made_with(
    client: Client, api: Any, store: Store, end: str
) -> None:
    parent = create_key(store, api.account.account_id)
    made = client("sts", parent).get_session_token(DurationSeconds=900)["Credentials"]
    assert made["AccessKeyId"].startswith("ASIA")
    key = NewKey(made["AccessKeyId"], made["SecretAccessKey"])
    ec2 = client("ec2", key, made["SessionToken"])
    assert ec2.describe_regions()["Regions"]
    sts = client("sts", key, made["SessionToken"])
    assert sts.get_caller_identity()["Arn"].endswith(":root")
    assert refused(sts.get_session_token) == ("AccessDenied", 403)
    assert refused(client("ec2", key).describe_regions) == ("AuthFailure", 401)
    assert refused(client("ec2", key, "other").describe_regions) == ("AuthFailure", 401)
    assert refused(client("ec2", parent, made["SessionToken"]).describe_regions) == ("AuthFailure", 401)
    {
        "disabled": lambda: disable_key(store, parent.access_key_id),
        "deleted": lambda: delete_key(store, parent.access_key_id),
        "account": lambda: disable_account(store, api.account.account_id),
    }[end]()
    assert refused(ec2.describe_regions) == ("AuthFailure", 401)
    assert refused(sts.get_caller_identity) == ("InvalidClientTokenId", 403)


def test_what_sts_and_iam_refuse(client: Client, api: Any) -> None:
    sts = client("sts")
    role = {"RoleArn": "arn:aws:iam::123456789012:role/admin", "RoleSessionName": "me"}
    assert refused(sts.assume_role, **role) == ("AccessDenied", 403)
    assert refused(sts.get_access_key_info, AccessKeyId="A" * 20) == ("UnsupportedOperation", 400)
    unchecked = client("sts", parameter_validation=False)
    assert refused(unchecked.get_session_token, DurationSeconds=899) == ("InvalidParameterValue", 400)
    assert refused(unchecked.assume_role, RoleArn="x") in (("InvalidParameterValue", 400), ("MissingParameter", 400))
    assert refused(client("sts", NewKey(api.account.access_key_id, "wrong")).get_caller_identity) == (
        "InvalidClientTokenId",
        403,
    )


def post(api: Any, body: str, signed: bool = True) -> tuple[int, ET.Element]:
    request = AWSRequest("POST", api.url, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    if signed:
        SigV4Auth(Credentials(api.account.access_key_id, api.account.secret), "sts", "us-east-1").add_auth(request)
    response = requests.post(api.url, data=body, headers=dict(request.headers), timeout=10)
    return response.status_code, ET.fromstring(response.content)


def test_envelopes(api: Any) -> None:
    """Each service answers in its own clothes, errors included."""
    status, answer = post(api, "Action=GetCallerIdentity&Version=2011-06-15")
    assert (status, answer.tag) == (200, f"{STS}GetCallerIdentityResponse")
    assert answer.findtext(f"{STS}GetCallerIdentityResult/{STS}Account") == api.account.account_id
    assert answer.findtext(f"{STS}ResponseMetadata/{STS}RequestId")
    status, answer = post(api, "Action=GetCallerIdentity")
    assert status == 200, "the version may be left out"
    status, answer = post(api, "Action=GetCallerIdentity&Version=2011-06-15", signed=False)
    assert (status, answer.tag) == (403, f"{STS}ErrorResponse")
    assert answer.findtext(f"{STS}Error/{STS}Code") == "MissingAuthenticationToken"
    assert answer.findtext(f"{STS}Error/{STS}Type") == "Sender"
    status, answer = post(api, "Action=Fly&Version=2011-06-15")
    assert (status, answer.findtext(f"{STS}Error/{STS}Code")) == (400, "InvalidAction")
    for more in ("&Colour=red", "&A.B=1", "&GetCallerIdentity=1"):
        status, answer = post(api, f"Action=GetCallerIdentity&Version=2011-06-15{more}")
        assert (status, answer.findtext(f"{STS}Error/{STS}Code")) == (400, "UnknownParameter")
    status, answer = post(api, "Action=DescribeRegions&Version=2016-11-15")
    assert (status, answer.tag) == (200, "{http://ec2.amazonaws.com/doc/2016-11-15/}DescribeRegionsResponse")
    status, answer = post(api, "Action=GetCallerIdentity&Version=2016-11-15")
    assert (status, answer.findtext("Errors/Error/Code")) == (400, "InvalidAction")
