"""Reverse names of elastic IPs."""

from __future__ import annotations

from typing import Any

import pytest

ABSENT = "eipalloc-0123456789abcdef0"


def _names(tenant: Any, **params: Any) -> dict[str, str | None]:
    found = tenant("DescribeAddressesAttribute", **params)["Addresses"]
    return {entry["AllocationId"]: entry.get("PtrRecord") for entry in found}


def test_a_name_is_given_shown_and_taken(tenant: Any, cloud: Any, refused: Any) -> None:
    one, two = (tenant("AllocateAddress") for _ in range(2))
    first, second = one["AllocationId"], two["AllocationId"]
    before = cloud.revision()
    for asked in ("mail.example.com", "mail.example.org."):
        answer = tenant("ModifyAddressAttribute", AllocationId=first, DomainName=asked)["Address"]
        expected = f"{asked.removesuffix('.')}."
        assert answer == {"PublicIp": one["PublicIp"], "AllocationId": first, "PtrRecord": expected}
    assert _names(tenant) == {first: "mail.example.org."}
    assert _names(tenant, AllocationIds=[first, second], Attribute="domain-name") == {
        first: "mail.example.org.",
        second: None,
    }
    refused(tenant, "InvalidAddress.PtrSet", "ReleaseAddress", AllocationId=first)
    answer = tenant("ResetAddressAttribute", AllocationId=first, Attribute="domain-name")
    assert "PtrRecord" not in answer["Address"]
    assert _names(tenant) == {}
    tenant("ReleaseAddress", AllocationId=first)
    assert cloud.revision() == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_refusals(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, theirs = tenant("AllocateAddress")["AllocationId"], stranger("AllocateAddress")["AllocationId"]
    for action, more in (
        ("DescribeAddressesAttribute", None),
        ("ModifyAddressAttribute", {"DomainName": "a.example"}),
        ("ResetAddressAttribute", {"Attribute": "domain-name"}),
    ):
        messages = set()
        for key in (ABSENT, theirs):
            params = {"AllocationIds": [mine, key]} if more is None else {"AllocationId": key, **more}
            messages.add(refused(tenant, "InvalidAllocationID.NotFound", action, **params).message.replace(key, ""))
        assert len(messages) == 1
    for name in ("", "nodot", "-a.example", "a..example", "a b.example", f"{'a' * 64}.example", f"{'a.' * 130}example"):
        code = "InvalidParameterValue" if name else "MissingParameter"
        refused(tenant, code, "ModifyAddressAttribute", AllocationId=mine, DomainName=name)
    refused(tenant, "InvalidParameterValue", "ResetAddressAttribute", AllocationId=mine, Attribute="colour")
    refused(tenant, "InvalidParameterValue", "DescribeAddressesAttribute", MaxResults=0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_pages(tenant: Any) -> None:
    keys = [tenant("AllocateAddress")["AllocationId"] for _ in range(3)]
    for key in keys:
        tenant("ModifyAddressAttribute", AllocationId=key, DomainName="a.example")
    page = tenant("DescribeAddressesAttribute", MaxResults=2)
    assert len(page["Addresses"]) == 2
    rest = tenant("DescribeAddressesAttribute", MaxResults=2, NextToken=page["NextToken"])
    assert [entry["AllocationId"] for entry in (*page["Addresses"], *rest["Addresses"])] == keys
