"""IPv6 through the API: addresses of instances, rules with IPv6 ranges, and what the feed and the worker learn."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from econe_api.compute import rows
from econe_api.store.accounts import create_account
from econe_api.store.feed import Feed
from econe_api.store.quotas import INBOUND_RULES, set_quota
from econe_api.store.records import InterfaceRecord, Kind, SubnetRecord, VpcRecord


@pytest.fixture
def six(cloud: Any, reconfigure: Any, stranger: Any) -> Any:
    """A tenant whose networks have IPv6."""
    reconfigure(ipv6=True)
    return type(stranger)(cloud, create_account(cloud, "six").account_id)


def records(cloud: Any, kind: Kind) -> list[Any]:
    return [change.record for change in Feed(cloud.engine).snapshot().changes if change.kind is kind]


def permission(protocol: str, first: int | None = None, last: int | None = None, **sources: Any) -> dict[str, Any]:
    ports = {} if first is None else {"FromPort": first, "ToPort": last}
    return {"IpProtocol": protocol, **ports, **sources}


def ranges(*cidrs: str) -> list[dict[str, str]]:
    return [{"CidrIpv6": cidr} for cidr in cidrs]


def asked(six: Any, **params: Any) -> dict[str, Any]:
    image = six.store.config.images[0].id
    return {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1} | params


def test_networks(six: Any, stranger: Any, cloud: Any) -> None:
    """Each VPC has a /56 of its own out of the unique local addresses, each subnet a /64 of it."""
    vpcs: list[VpcRecord] = records(cloud, Kind.VPC)
    with_ipv6 = [record for record in vpcs if record.ipv6_cidr]
    assert len(vpcs) == 2
    assert len(with_ipv6) == 1  # the other account is older than the setting
    block = ipaddress.IPv6Network(with_ipv6[0].ipv6_cidr or "")
    assert block.prefixlen == 56
    assert block.subnet_of(ipaddress.IPv6Network("fd00::/8"))
    subnets: list[SubnetRecord] = [record for record in records(cloud, Kind.SUBNET) if record.vpc == with_ipv6[0].id]
    blocks = [ipaddress.IPv6Network(record.ipv6_cidr or "") for record in subnets]
    assert len({*blocks}) == len(subnets)
    for record, subnet in zip(subnets, blocks, strict=True):
        assert subnet.prefixlen == 64
        assert subnet.subnet_of(block)
        assert record.ipv6_gateway == str(subnet[1])


def test_an_instance_gets_random_addresses_of_its_subnet(six: Any, cloud: Any) -> None:
    here = {"SubnetId": six.subnet().id}
    plain, one = six.run(**here), six.run(Ipv6AddressCount=1, **here)
    two = six.run(NetworkInterfaces=[{"DeviceIndex": 0, "Ipv6AddressCount": 2, **here}])
    assert "Ipv6Address" not in plain
    assert plain["NetworkInterfaces"][0]["Ipv6Addresses"] == []
    shown = [item["NetworkInterfaces"][0]["Ipv6Addresses"] for item in (one, two)]
    addresses = [[entry["Ipv6Address"] for entry in entries] for entries in shown]
    assert [len(entries) for entries in addresses] == [1, 2]
    assert one["Ipv6Address"] == addresses[0][0]
    subnet = ipaddress.IPv6Network(six.subnet().ipv6_cidr)
    every = [ipaddress.IPv6Address(text) for entries in addresses for text in entries]
    assert len(set(every)) == 3
    assert all(address in subnet for address in every)
    found = six("DescribeInstances", InstanceIds=[two["InstanceId"]])["Reservations"][0]["Instances"][0]
    assert found["NetworkInterfaces"][0]["Ipv6Addresses"] == shown[1]
    # The feed tells IPv4 first; the worker is told how to configure them.
    interfaces: dict[str | None, InterfaceRecord] = {r.instance: r for r in records(cloud, Kind.INTERFACE)}
    assert interfaces[two["InstanceId"]].addresses == (two["PrivateIpAddress"], *addresses[1])
    assert interfaces[plain["InstanceId"]].addresses == (plain["PrivateIpAddress"],)
    with cloud.engine.connect() as connection:
        specs = {row.id: row.spec.interfaces[0] for row in rows.load(connection)}
    spec = specs[two["InstanceId"]]
    assert (spec.ipv6, spec.ipv6_prefix_length, spec.ipv6_gateway) == (tuple(addresses[1]), 64, str(subnet[1]))
    assert specs[plain["InstanceId"]].ipv6 == ()


def test_several_instances_get_addresses_each(six: Any) -> None:
    made = six("RunInstances", **asked(six, MinCount=3, MaxCount=3, Ipv6AddressCount=1))["Instances"]
    assert len({instance["Ipv6Address"] for instance in made}) == 3


def test_addresses_may_be_named_and_come_back(six: Any, states: Any, refused: Any) -> None:
    subnet = six.subnet()
    network = ipaddress.IPv6Network(subnet.ipv6_cidr)
    wanted, spelled = str(network[0xBEEF]), network[0xBEEF].exploded.upper()
    named = {"SubnetId": subnet.id, "Ipv6Addresses": [{"Ipv6Address": spelled}]}
    made = six.run(**named)
    assert made["Ipv6Address"] == wanted
    refused(six, "InvalidIPAddress.InUse", "RunInstances", **asked(six, **named))
    six("TerminateInstances", InstanceIds=[made["InstanceId"]])
    assert six.run(**named)["Ipv6Address"] == wanted


def test_refused_launches(six: Any, stranger: Any, refused: Any) -> None:
    network = ipaddress.IPv6Network(six.subnet().ipv6_cidr)
    address = [{"Ipv6Address": str(network[9])}]
    here = {"SubnetId": six.subnet().id}
    for code, params in (
        ("InvalidParameterCombination", {"Ipv6AddressCount": 1, "Ipv6Addresses": address}),
        ("InvalidParameterCombination", {"Ipv6Addresses": address, "MaxCount": 2}),
        ("InvalidParameterCombination", {"Ipv6AddressCount": 1, "NetworkInterfaces": [{"DeviceIndex": 0}]}),
        ("InvalidParameterValue", {"Ipv6AddressCount": 16}),
        ("InvalidParameterValue", {"Ipv6AddressCount": -1}),
        ("InvalidParameterValue", here | {"Ipv6Addresses": [{"Ipv6Address": "10.0.0.1"}]}),
        ("InvalidParameterValue", here | {"Ipv6Addresses": [{"Ipv6Address": "fe80::1%eth0"}]}),
        ("InvalidParameterValue", here | {"Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}]}),
        ("InvalidParameterValue", here | {"Ipv6Addresses": [{"Ipv6Address": str(network[1])}]}),
        ("InvalidParameterValue", here | {"Ipv6Addresses": address * 2}),
    ):
        refused(six, code, "RunInstances", **asked(six, **params))
    # An account from before the setting has no IPv6.
    refused(stranger, "InvalidParameterValue", "RunInstances", **asked(six, Ipv6AddressCount=1))


def test_new_groups_let_everything_out_by_both_versions(six: Any, stranger: Any) -> None:
    for tenant, expected in ((six, [{"CidrIpv6": "::/0"}]), (stranger, [])):
        for group in (tenant.default_group(), tenant.group("new")):
            (shown,) = tenant("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
            (egress,) = shown["IpPermissionsEgress"]
            assert egress["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
            assert egress["Ipv6Ranges"] == expected


def test_rules_are_kept_in_canonical_text(six: Any, cloud: Any) -> None:
    group = six.group()
    wanted = [
        permission("tcp", 80, 80, Ipv6Ranges=ranges("2001:0DB8:0:0::1/32"), IpRanges=[{"CidrIp": "10.0.0.0/8"}]),
        permission("icmpv6", 128, -1, Ipv6Ranges=ranges("::/0")),
        permission("58", Ipv6Ranges=ranges("2001:db8::5/128")),
    ]
    answer = six("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=wanted)
    assert [rule.get("CidrIpv6") for rule in answer["SecurityGroupRules"] if "CidrIpv4" not in rule] == [
        "2001:db8::/32",
        "::/0",
        "2001:db8::5/128",
    ]
    (shown,) = six("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
    found = {
        (entry["IpProtocol"], entry.get("FromPort")): [item["CidrIpv6"] for item in entry["Ipv6Ranges"]]
        for entry in shown["IpPermissions"]
    }
    assert found == {
        ("tcp", 80): ["2001:db8::/32"],
        ("icmpv6", 128): ["::/0"],
        ("icmpv6", None): ["2001:db8::5/128"],
    }
    (record,) = [record for record in records(cloud, Kind.GROUP) if record.id == group]
    assert {rule.cidr for rule in record.rules} == {
        *("0.0.0.0/0", "::/0"),
        *("10.0.0.0/8", "2001:db8::/32", "2001:db8::5/128"),
    }
    six("RevokeSecurityGroupIngress", GroupId=group, IpPermissions=wanted)
    (shown,) = six("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
    assert shown["IpPermissions"] == []


def test_refused_rules(six: Any, refused: Any) -> None:
    group = six.group()
    taken = permission("tcp", 1, 2, Ipv6Ranges=ranges("::/0"))
    six("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[taken])
    for code, wanted in (
        ("InvalidPermission.Duplicate", permission("6", 1, 2, Ipv6Ranges=ranges("0::0/0"))),
        ("InvalidParameterValue", permission("tcp", 1, 2, Ipv6Ranges=ranges("10.0.0.0/8"))),
        ("InvalidParameterValue", permission("tcp", 1, 2, Ipv6Ranges=ranges("fe80::%1/64"))),
        ("InvalidParameterValue", permission("tcp", 1, 2, Ipv6Ranges=ranges("::/129"))),
        ("InvalidParameterValue", permission("icmp", 8, 0, Ipv6Ranges=ranges("::/0"))),
        ("InvalidParameterValue", permission("icmpv6", 128, 0, IpRanges=[{"CidrIp": "0.0.0.0/0"}])),
    ):
        refused(six, code, "AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[wanted])


def test_rules_of_the_two_versions_count_apart(six: Any, cloud: Any, refused: Any) -> None:
    group, other = six.group(), six.group("other")
    set_quota(cloud, six.account, INBOUND_RULES, 3)

    def allow(port: int, **sources: Any) -> dict[str, Any]:
        return {"GroupId": group, "IpPermissions": [permission("tcp", port, port, **sources)]}

    six("AuthorizeSecurityGroupIngress", **allow(1, UserIdGroupPairs=[{"GroupId": other}]))  # one of each
    for port in (2, 3):
        six("AuthorizeSecurityGroupIngress", **allow(port, IpRanges=[{"CidrIp": "0.0.0.0/0"}]))
        six("AuthorizeSecurityGroupIngress", **allow(port, Ipv6Ranges=ranges("::/0")))
    for sources in (
        {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"Ipv6Ranges": ranges("::/0")},
        {"UserIdGroupPairs": [{"GroupId": other}]},
    ):
        refused(six, "RulesPerSecurityGroupLimitExceeded", "AuthorizeSecurityGroupIngress", **allow(4, **sources))


def test_interfaces_are_given_addresses_and_lose_them(six: Any, refused: Any, touched: Any) -> None:
    subnet = six.subnet()
    made = six.interface(Ipv6AddressCount=2)
    interface = made["NetworkInterfaceId"]
    mine = {"NetworkInterfaceId": interface}
    first, second = (entry["Ipv6Address"] for entry in made["Ipv6Addresses"])
    assert ipaddress.IPv6Address(first) in ipaddress.IPv6Network(subnet.ipv6_cidr)
    assert made["Ipv6Address"] == first
    named = str(ipaddress.IPv6Network(subnet.ipv6_cidr)[0x77])
    answer = six("AssignIpv6Addresses", **mine, Ipv6Addresses=[ipaddress.IPv6Address(named).exploded])
    assert answer == mine | {"AssignedIpv6Addresses": [named]}
    assert touched() == {("interface", interface)}
    refused(six, "InvalidIPAddress.InUse", "AssignIpv6Addresses", **mine, Ipv6Addresses=[named])
    refused(six, "PrivateIpAddressLimitExceeded", "AssignIpv6Addresses", **mine, Ipv6AddressCount=13)
    (chosen,) = six("AssignIpv6Addresses", **mine, Ipv6AddressCount=1)["AssignedIpv6Addresses"]
    answer = six("UnassignIpv6Addresses", **mine, Ipv6Addresses=[second])
    assert answer == mine | {"UnassignedIpv6Addresses": [second]}
    shown = six("DescribeNetworkInterfaces", Filters=[{"Name": "ipv6-addresses.ipv6-address", "Values": [named]}])
    left = [entry["Ipv6Address"] for entry in shown["NetworkInterfaces"][0]["Ipv6Addresses"]]
    assert left == [first, named, chosen]
