"""The VPC calls of boto 2, whose parser reads what it can."""

from __future__ import annotations

from typing import Any

import pytest
from boto.regioninfo import RegionInfo
from boto.vpc import VPCConnection

from econe_api.store.accounts import NewAccount

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def vpc2(port: int, account: NewAccount) -> Any:
    region = RegionInfo(name="us-east-1", endpoint="127.0.0.1")
    keys = account.access_key_id, account.secret
    return VPCConnection(*keys, is_secure=False, host="127.0.0.1", port=port, path="/", region=region)


def test_a_vpc_comes_and_goes(vpc2: Any) -> None:
    made = vpc2.create_vpc("10.0.0.0/16")
    vpc2.create_tags([made.id], {"Name": "mine"})
    (shown,) = vpc2.get_all_vpcs(filters=[("isDefault", "false")])
    assert (shown.id, shown.cidr_block, shown.tags) == (made.id, "10.0.0.0/16", {"Name": "mine"})
    subnet = vpc2.create_subnet(made.id, "10.0.1.0/24")
    assert [found.id for found in vpc2.get_all_subnets(filters={"vpc-id": made.id, "cidrBlock": "10.0.1.0/24"})] == [
        subnet.id
    ]
    gateway = vpc2.create_internet_gateway()
    assert vpc2.attach_internet_gateway(gateway.id, made.id) is True
    table = vpc2.create_route_table(made.id)
    assert vpc2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id) is True
    association = vpc2.associate_route_table(table.id, subnet.id)
    (shown,) = vpc2.get_all_route_tables([table.id])
    assert [(route.destination_cidr_block, route.gateway_id) for route in shown.routes] == [
        ("10.0.0.0/16", "local"),
        ("0.0.0.0/0", gateway.id),
    ]
    assert [(link.id, link.subnet_id) for link in shown.associations] == [(association, subnet.id)]
    assert vpc2.modify_vpc_attribute(made.id, enable_dns_hostnames=True) is True
    assert vpc2.describe_vpc_attribute(made.id, "enableDnsHostnames").enable_dns_hostnames is True
    (attribute,) = vpc2.describe_account_attributes(["max-instances"])
    assert (attribute.attribute_name, attribute.attribute_values) == ("max-instances", ["20"])
    for ended in (
        vpc2.disassociate_route_table(association),
        vpc2.delete_route_table(table.id),
        vpc2.detach_internet_gateway(gateway.id, made.id),
        vpc2.delete_internet_gateway(gateway.id),
        vpc2.delete_subnet(subnet.id),
        vpc2.delete_vpc(made.id),
    ):
        assert ended is True
