"""Addresses that interfaces are given and that are taken from them."""

from __future__ import annotations

from typing import Any

import pytest


def _addresses(tenant: Any, interface: str) -> list[str]:
    found = tenant("DescribeNetworkInterfaces", NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
    return [one["PrivateIpAddress"] for one in found["PrivateIpAddresses"]]


def test_assigned_and_unassigned(tenant: Any, touched: Any) -> None:
    made = tenant.interface()
    interface, primary = made["NetworkInterfaceId"], made["PrivateIpAddress"]
    mine = {"NetworkInterfaceId": interface}
    answer = tenant("AssignPrivateIpAddresses", **mine, PrivateIpAddresses=["172.31.0.40", "172.31.0.30"])
    assert answer == mine | {
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.40"}, {"PrivateIpAddress": "172.31.0.30"}]
    }
    assert touched() == {("interface", interface)}
    answer = tenant("AssignPrivateIpAddresses", **mine, SecondaryPrivateIpAddressCount=1)
    (chosen,) = [one["PrivateIpAddress"] for one in answer["AssignedPrivateIpAddresses"]]
    assert _addresses(tenant, interface) == [primary, "172.31.0.40", "172.31.0.30", chosen]
    # What it has already it is given again without a change.
    again = tenant("AssignPrivateIpAddresses", **mine, PrivateIpAddresses=["172.31.0.40"])
    assert again["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": "172.31.0.40"}]
    address = tenant("AllocateAddress")
    tenant("AssociateAddress", AllocationId=address["AllocationId"], **mine, PrivateIpAddress="172.31.0.40")
    tenant("UnassignPrivateIpAddresses", **mine, PrivateIpAddresses=["172.31.0.40", chosen])
    assert touched() == {("interface", interface), ("address", address["PublicIp"])}
    assert _addresses(tenant, interface) == [primary, "172.31.0.30"]
    assert "AssociationId" not in tenant("DescribeAddresses")["Addresses"][0]


def test_an_address_moves_with_its_elastic_ip(tenant: Any, refused: Any, touched: Any) -> None:
    one, other = (tenant.interface()["NetworkInterfaceId"] for _ in range(2))
    asked = {"PrivateIpAddresses": ["172.31.0.40"]}
    tenant("AssignPrivateIpAddresses", NetworkInterfaceId=one, **asked)
    address = tenant("AllocateAddress")
    tenant(
        "AssociateAddress",
        AllocationId=address["AllocationId"],
        NetworkInterfaceId=one,
        PrivateIpAddress="172.31.0.40",
    )
    refused(tenant, "InvalidIPAddress.InUse", "AssignPrivateIpAddresses", NetworkInterfaceId=other, **asked)
    tenant("AssignPrivateIpAddresses", NetworkInterfaceId=other, **asked, AllowReassignment=True)
    assert touched() == {("interface", one), ("interface", other), ("address", address["PublicIp"])}
    assert (len(_addresses(tenant, one)), len(_addresses(tenant, other))) == (1, 2)
    held = tenant("DescribeAddresses")["Addresses"][0]
    assert (held["NetworkInterfaceId"], held["PrivateIpAddress"]) == (other, "172.31.0.40")


def test_refused_assignments(tenant: Any, stranger: Any, refused: Any) -> None:
    made, other = tenant.interface(), tenant.interface()
    mine = {"NetworkInterfaceId": made["NetworkInterfaceId"]}
    theirs = {"NetworkInterfaceId": stranger.interface()["NetworkInterfaceId"]}
    small = {"NetworkInterfaceId": tenant.run()["NetworkInterfaces"][0]["NetworkInterfaceId"]}
    one = {"PrivateIpAddresses": ["172.31.0.40"]}
    assign, take = "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"
    for code, action, params in (
        ("MissingParameter", assign, one),
        ("MissingParameter", assign, mine),
        ("InvalidParameterCombination", assign, mine | one | {"SecondaryPrivateIpAddressCount": 1}),
        ("InvalidParameterValue", assign, mine | {"SecondaryPrivateIpAddressCount": 0}),
        ("InvalidParameterValue", assign, mine | {"PrivateIpAddresses": ["172.31.0.40"] * 2}),
        ("InvalidParameterValue", assign, mine | {"PrivateIpAddresses": ["10.0.0.1"]}),
        ("InvalidParameterValue", assign, mine | {"PrivateIpAddresses": ["172.31.0.2"]}),
        ("InvalidParameterValue", assign, mine | {"PrivateIpAddresses": ["rubbish"]}),
        ("InvalidNetworkInterfaceID.NotFound", assign, theirs | one),
        ("InvalidIPAddress.InUse", assign, mine | {"PrivateIpAddresses": [other["PrivateIpAddress"]]}),
        (
            "InvalidParameterValue",
            assign,
            mine | {"PrivateIpAddresses": [other["PrivateIpAddress"]], "AllowReassignment": True},
        ),
        ("PrivateIpAddressLimitExceeded", assign, small | {"SecondaryPrivateIpAddressCount": 2}),
        ("PrivateIpAddressLimitExceeded", assign, mine | {"SecondaryPrivateIpAddressCount": 50}),
        ("UnsupportedOperation", assign, mine | {"Ipv4PrefixCount": 1}),
        ("MissingParameter", take, mine),
        ("InvalidParameterValue", take, mine | one),
        ("InvalidParameterValue", take, mine | {"PrivateIpAddresses": [made["PrivateIpAddress"]]}),
        ("InvalidNetworkInterfaceID.NotFound", take, theirs | one),
        ("UnsupportedOperation", "AssignIpv6Addresses", mine | {"Ipv6PrefixCount": 1}),
        ("MissingParameter", "AssignIpv6Addresses", mine),
        ("InvalidParameterValue", "AssignIpv6Addresses", mine | {"Ipv6AddressCount": 1}),  # a subnet without IPv6
        ("InvalidParameterValue", "UnassignIpv6Addresses", mine | {"Ipv6Addresses": ["fd00::1"]}),
        ("InvalidNetworkInterfaceID.NotFound", "UnassignIpv6Addresses", theirs | {"Ipv6Addresses": ["fd00::1"]}),
    ):
        refused(tenant, code, action, **params)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_address_of_a_subnet_is_given_twice(tenant: Any) -> None:
    """Primary and secondary addresses of launches, interfaces and assignments come from one store of free ones."""
    given = []
    for number in range(4):
        made = tenant.interface(SecondaryPrivateIpAddressCount=number)
        given += [one["PrivateIpAddress"] for one in made["PrivateIpAddresses"]]
        answer = tenant(
            "AssignPrivateIpAddresses",
            NetworkInterfaceId=made["NetworkInterfaceId"],
            SecondaryPrivateIpAddressCount=2,
        )
        given += [one["PrivateIpAddress"] for one in answer["AssignedPrivateIpAddresses"]]
        given.append(tenant.run(SubnetId=tenant.subnet().id)["PrivateIpAddress"])
    assert len(set(given)) == len(given) == 22
