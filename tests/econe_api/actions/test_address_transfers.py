"""Elastic IPs on their way from one account to another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from econe_api.store.quotas import ELASTIC_IPS, set_quota

ABSENT = "eipalloc-0123456789abcdef0"


@pytest.fixture
def offered(tenant: Any, stranger: Any) -> dict[str, Any]:
    """An address that ``tenant`` offers to ``stranger``."""
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": "old"}]}]
    address = tenant("AllocateAddress", TagSpecifications=tags)
    key = address["AllocationId"]
    tenant("EnableAddressTransfer", AllocationId=key, TransferAccountId=stranger.account)
    return address


def _shown(tenant: Any, **params: Any) -> list[dict[str, Any]]:
    return tenant("DescribeAddressTransfers", **params)["AddressTransfers"]


def test_the_address_moves_and_its_tags_do_not(tenant: Any, stranger: Any, offered: Any, clock: Any) -> None:
    key, public_ip = offered["AllocationId"], offered["PublicIp"]
    (open_offer,) = _shown(tenant)
    assert open_offer == {
        "PublicIp": public_ip,
        "AllocationId": key,
        "TransferAccountId": stranger.account,
        "TransferOfferExpirationTimestamp": clock() + timedelta(days=7),
        "AddressTransferStatus": "pending",
    }
    again = tenant("EnableAddressTransfer", AllocationId=key, TransferAccountId=stranger.account)
    assert again == {"AddressTransfer": open_offer}
    assert _shown(stranger) == []
    clock.advance(days=6, hours=23)
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": "new"}]}]
    taken = stranger("AcceptAddressTransfer", Address=public_ip, TagSpecifications=tags)["AddressTransfer"]
    assert taken["AddressTransferStatus"] == "accepted"
    assert taken["TransferOfferAcceptedTimestamp"] == clock()
    assert tenant("DescribeAddresses")["Addresses"] == []
    assert tenant("DescribeTags")["Tags"] == []
    (owned,) = stranger("DescribeAddresses")["Addresses"]
    assert (owned["PublicIp"], owned["AllocationId"]) == (public_ip, taken["AllocationId"])
    assert taken["AllocationId"] != key
    assert owned["Tags"] == tags[0]["Tags"]
    (accepted,) = _shown(tenant, AllocationIds=[key])
    assert (accepted["AllocationId"], accepted["AddressTransferStatus"]) == (key, "accepted")
    clock.advance(days=14)
    assert _shown(tenant) == []
    stranger("EnableAddressTransfer", AllocationId=taken["AllocationId"], TransferAccountId=tenant.account)
    assert len(_shown(stranger)) == 1


def test_an_offer_ends(tenant: Any, stranger: Any, refused: Any, offered: Any, clock: Any) -> None:
    public_ip, key = offered["PublicIp"], offered["AllocationId"]
    clock.advance(days=7)
    assert _shown(tenant) == []
    refused(stranger, "InvalidAddress.NotFound", "AcceptAddressTransfer", Address=public_ip)
    refused(tenant, "InvalidTransfer.NotFound", "DisableAddressTransfer", AllocationId=key)
    tenant("EnableAddressTransfer", AllocationId=key, TransferAccountId=stranger.account)
    gone = tenant("DisableAddressTransfer", AllocationId=key)["AddressTransfer"]
    assert gone["AddressTransferStatus"] == "disabled"
    refused(stranger, "InvalidAddress.NotFound", "AcceptAddressTransfer", Address=public_ip)
    tenant("EnableAddressTransfer", AllocationId=key, TransferAccountId=stranger.account)
    tenant("ReleaseAddress", AllocationId=key)
    assert tenant("AllocateAddress", Address=public_ip)["PublicIp"] == public_ip
    refused(stranger, "InvalidAddress.NotFound", "AcceptAddressTransfer", Address=public_ip)


def test_what_stands_in_the_way(tenant: Any, stranger: Any, refused: Any, offered: Any) -> None:
    key, accept = offered["AllocationId"], {"Address": offered["PublicIp"]}
    instance = tenant.run()["InstanceId"]
    tenant("AssociateAddress", InstanceId=instance, AllocationId=key)
    refused(stranger, "InvalidTransfer.AddressAssociated", "AcceptAddressTransfer", **accept)
    tenant("DisassociateAddress", PublicIp=offered["PublicIp"])
    tenant("ModifyAddressAttribute", AllocationId=key, DomainName="mail.example")
    refused(stranger, "InvalidTransfer.AddressCustomPtrSet", "AcceptAddressTransfer", **accept)
    tenant("ResetAddressAttribute", AllocationId=key, Attribute="domain-name")
    set_quota(stranger.store, stranger.account, ELASTIC_IPS, 0)
    refused(stranger, "AddressLimitExceeded", "AcceptAddressTransfer", **accept)
    set_quota(stranger.store, stranger.account, ELASTIC_IPS, None)
    refused(stranger, "UnsupportedOperation", "AcceptAddressTransfer", **accept, Colour="red")
    stranger("AcceptAddressTransfer", **accept)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refusals(tenant: Any, stranger: Any, refused: Any, offered: Any) -> None:
    key, theirs = offered["AllocationId"], stranger("AllocateAddress")
    target = {"TransferAccountId": stranger.account}
    for code, params in (
        ("MissingParameter", {"AllocationId": key}),
        ("MissingParameter", target),
        ("InvalidParameterValue", {"AllocationId": key, "TransferAccountId": "12345"}),
        ("InvalidParameterValue", {"AllocationId": key, "TransferAccountId": tenant.account}),
        ("InvalidTransfer.AddressTransferPending", {"AllocationId": key, "TransferAccountId": "999999999999"}),
    ):
        refused(tenant, code, "EnableAddressTransfer", **params)
    for action, more in (
        ("EnableAddressTransfer", target),
        ("DisableAddressTransfer", {}),
        ("DescribeAddressTransfers", None),
    ):
        messages = set()
        for one in (ABSENT, theirs["AllocationId"]):
            params = {"AllocationIds": [one]} if more is None else {"AllocationId": one, **more}
            messages.add(refused(tenant, "InvalidAllocationID.NotFound", action, **params).message.replace(one, ""))
        assert len(messages) == 1
    for address in (offered["PublicIp"], theirs["PublicIp"], "203.0.113.17", "192.0.2.1"):
        refused(tenant, "InvalidAddress.NotFound", "AcceptAddressTransfer", Address=address)
    refused(tenant, "InvalidParameterValue", "AcceptAddressTransfer", Address="rubbish")
    refused(tenant, "InvalidParameterCombination", "DescribeAddressTransfers", AllocationIds=[key], MaxResults=5)
