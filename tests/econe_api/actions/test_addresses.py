"""Elastic IPs: allocated, associated, moved, given back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, update

from econe_api.store.quotas import ELASTIC_IPS, set_quota
from econe_api.store.schema import addresses, groups

NO_ALLOCATION = "eipalloc-0000000000000dead"
NO_INSTANCE = "i-0000000000000dead"


def test_allocation(tenant: Any) -> None:
    answer = tenant("AllocateAddress", Domain="vpc")
    allocation = answer["AllocationId"]
    assert allocation.startswith("eipalloc-")
    assert answer == {
        "PublicIp": "203.0.113.10",
        "AllocationId": allocation,
        "Domain": "vpc",
        "PublicIpv4Pool": "public",
        "NetworkBorderGroup": "us-east-1",
    }
    assert tenant("AllocateAddress", Address="203.0.113.15")["PublicIp"] == "203.0.113.15"
    assert tenant("AllocateAddress", PublicIpv4Pool="public")["PublicIp"] == "203.0.113.11"
    assert tenant("AllocateAddress", NetworkBorderGroup="us-east-1")["PublicIp"] == "203.0.113.12"
    (shown,) = tenant("DescribeAddresses", AllocationIds=[allocation])["Addresses"]
    assert shown == answer | {"Tags": []}


def test_refused_allocations(tenant: Any, stranger: Any, refused: Any) -> None:
    tenant("AllocateAddress", Address="203.0.113.10")
    stranger("AllocateAddress", Address="203.0.113.11")
    for code, params in (
        ("InvalidParameterValue", {"Domain": "standard"}),
        ("InvalidParameterValue", {"Address": "203.0.113"}),
        ("InvalidParameterValue", {"NetworkBorderGroup": "mars"}),
        ("InvalidAddress.NotFound", {"Address": "192.0.2.1"}),
        ("InvalidAddress.NotFound", {"Address": "203.0.113.11"}),
        ("InvalidIPAddress.InUse", {"Address": "203.0.113.10"}),
        ("InvalidPublicIpv4PoolID.NotFound", {"PublicIpv4Pool": "other"}),
        ("UnsupportedOperation", {"CustomerOwnedIpv4Pool": "x"}),
    ):
        refused(tenant, code, "AllocateAddress", **params)


def test_limits_of_account_and_pool(tenant: Any, stranger: Any, refused: Any, cloud: Any) -> None:
    for _ in range(5):
        tenant("AllocateAddress")
    refused(tenant, "AddressLimitExceeded", "AllocateAddress")
    set_quota(cloud, tenant.account, ELASTIC_IPS, 6)
    tenant("AllocateAddress")
    for _ in range(2):
        stranger("AllocateAddress")
    refused(stranger, "InsufficientAddressCapacity", "AllocateAddress", status=500)
    tenant("ReleaseAddress", PublicIp="203.0.113.12")
    assert stranger("AllocateAddress")["PublicIp"] == "203.0.113.12"


def test_association_by_instance_and_public_ip(tenant: Any, touched: Any) -> None:
    instance = tenant.run()
    interface = instance["NetworkInterfaces"][0]
    public = tenant("AllocateAddress")["PublicIp"]
    answer = tenant("AssociateAddress", InstanceId=instance["InstanceId"], PublicIp=public)
    assert touched() == {("address", public)}
    (shown,) = tenant("DescribeAddresses")["Addresses"]
    assert {name: shown[name] for name in shown if "Network" in name or "Private" in name or "Ins" in name} == {
        "NetworkInterfaceId": interface["NetworkInterfaceId"],
        "NetworkInterfaceOwnerId": tenant.account,
        "NetworkBorderGroup": "us-east-1",
        "PrivateIpAddress": "172.31.0.4",
        "InstanceId": instance["InstanceId"],
    }
    assert shown["AssociationId"] == answer["AssociationId"]
    (seen,) = tenant("DescribeInstances")["Reservations"][0]["Instances"]
    association = {"PublicIp": public, "PublicDnsName": "", "IpOwnerId": tenant.account}
    assert seen["PublicIpAddress"] == public
    assert seen["NetworkInterfaces"][0]["Association"] == association
    assert seen["NetworkInterfaces"][0]["PrivateIpAddresses"][0]["Association"] == association


def test_the_same_again_changes_nothing(tenant: Any, cloud: Any) -> None:
    instance = tenant.run()
    allocation = tenant("AllocateAddress")["AllocationId"]
    interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    first = tenant("AssociateAddress", InstanceId=instance["InstanceId"], AllocationId=allocation)
    before = cloud.revision()
    for again in (
        {"InstanceId": instance["InstanceId"], "AllowReassociation": False},
        {"NetworkInterfaceId": interface},
        {"NetworkInterfaceId": interface, "PrivateIpAddress": "172.31.0.4"},
    ):
        assert tenant("AssociateAddress", AllocationId=allocation, **again) == first
    assert cloud.revision() == before


def test_moves(tenant: Any, touched: Any, refused: Any) -> None:
    one, two = (tenant.run()["InstanceId"] for _ in range(2))
    first, second = (tenant("AllocateAddress") for _ in range(2))
    tenant("AssociateAddress", InstanceId=one, AllocationId=first["AllocationId"])
    old = tenant("AssociateAddress", InstanceId=two, AllocationId=second["AllocationId"])
    error = refused(
        tenant,
        "Resource.AlreadyAssociated",
        "AssociateAddress",
        InstanceId=one,
        AllocationId=second["AllocationId"],
        AllowReassociation=False,
    )
    assert error.message == (
        f"resource {second['AllocationId']} is already associated with associate-id {old['AssociationId']}"
    )
    free = tenant("AllocateAddress")
    refused(
        tenant,
        "Resource.AlreadyAssociated",
        "AssociateAddress",
        InstanceId=one,
        AllocationId=free["AllocationId"],
        AllowReassociation=False,
    )
    # The address moves with a new association; the one that the target held is free again, and both are told.
    new = tenant("AssociateAddress", InstanceId=one, AllocationId=second["AllocationId"])
    assert new["AssociationId"] != old["AssociationId"]
    assert touched() == {("address", first["PublicIp"]), ("address", second["PublicIp"])}
    shown = {entry["PublicIp"]: entry.get("InstanceId") for entry in tenant("DescribeAddresses")["Addresses"]}
    assert shown == {first["PublicIp"]: None, second["PublicIp"]: one, free["PublicIp"]: None}
    refused(tenant, "InvalidAssociationID.NotFound", "DisassociateAddress", AssociationId=old["AssociationId"])


def test_refused_associations(tenant: Any, stranger: Any, refused: Any, states: Any) -> None:
    running, pending, ended, double = (tenant.run()["InstanceId"] for _ in range(4))
    states("pending", pending)
    tenant("TerminateInstances", InstanceIds=[ended])
    second = tenant.second_interface(double)
    far = tenant.run(SubnetId=tenant.subnet(vpc=_vpc_with_group(tenant)).id)["InstanceId"]
    theirs = stranger.run()
    their_eni = theirs["NetworkInterfaces"][0]["NetworkInterfaceId"]
    mine, other = tenant("AllocateAddress"), stranger("AllocateAddress")
    address, target = {"AllocationId": mine["AllocationId"]}, {"InstanceId": running}
    for code, params in (
        ("MissingParameter", address),
        ("MissingParameter", target),
        ("InvalidParameterCombination", address | target | {"PublicIp": mine["PublicIp"]}),
        ("InvalidParameterCombination", address | target | {"NetworkInterfaceId": their_eni}),
        ("InvalidAllocationID.NotFound", target | {"AllocationId": NO_ALLOCATION}),
        ("InvalidAllocationID.NotFound", target | {"AllocationId": other["AllocationId"]}),
        ("InvalidAllocationID.NotFound", target | {"AllocationId": "rubbish"}),
        ("InvalidAddress.NotFound", target | {"PublicIp": "192.0.2.1"}),
        ("InvalidAddress.NotFound", target | {"PublicIp": other["PublicIp"]}),
        ("InvalidAddress.NotFound", target | {"PublicIp": "203.0.113.17"}),
        ("InvalidParameterValue", target | {"PublicIp": "rubbish"}),
        ("InvalidInstanceID.NotFound", address | {"InstanceId": NO_INSTANCE}),
        ("InvalidInstanceID.NotFound", address | {"InstanceId": theirs["InstanceId"]}),
        ("InvalidInstanceID.Malformed", address | {"InstanceId": "rubbish"}),
        ("InvalidInstanceID", address | {"InstanceId": pending}),
        ("InvalidInstanceID", address | {"InstanceId": ended}),
        ("InvalidInstanceID", address | {"InstanceId": double}),
        ("InvalidNetworkInterfaceID.NotFound", address | {"NetworkInterfaceId": "eni-0000000000000dead"}),
        ("InvalidNetworkInterfaceID.NotFound", address | {"NetworkInterfaceId": their_eni}),
        ("InvalidNetworkInterfaceId.Malformed", address | {"NetworkInterfaceId": "rubbish"}),
        ("InvalidParameterValue", address | target | {"PrivateIpAddress": "172.31.0.200"}),
        ("Gateway.NotAttached", address | {"InstanceId": far}),
    ):
        refused(tenant, code, "AssociateAddress", **params)
    tenant("AssociateAddress", NetworkInterfaceId=second, **address)  # naming the interface helps


def _vpc_with_group(tenant: Any) -> str:
    vpc = tenant.second_vpc()
    with tenant.store.engine.begin() as connection:
        connection.execute(
            insert(groups).values(
                id="sg-00000000000000002",
                number=999_999,
                account=tenant.account,
                vpc=vpc,
                name="default",
                description="default VPC security group",
            )
        )
    return vpc


def test_disassociation(tenant: Any, stranger: Any, refused: Any, touched: Any) -> None:
    instance = tenant.run()["InstanceId"]
    address = tenant("AllocateAddress")
    for by in ("AssociationId", "PublicIp"):
        association = tenant("AssociateAddress", InstanceId=instance, PublicIp=address["PublicIp"])["AssociationId"]
        refused(stranger, "InvalidAssociationID.NotFound", "DisassociateAddress", AssociationId=association)
        refused(stranger, "InvalidAddress.NotFound", "DisassociateAddress", PublicIp=address["PublicIp"])
        value = {"AssociationId": association, "PublicIp": address["PublicIp"]}[by]
        assert tenant("DisassociateAddress", **{by: value}) == {}
        assert touched() == {("address", address["PublicIp"])}
        gone = {"AssociationId": "InvalidAssociationID.NotFound", "PublicIp": "InvalidParameterValue"}[by]
        refused(tenant, gone, "DisassociateAddress", **{by: value})
    for code, params in (
        ("MissingParameter", {}),
        ("InvalidParameterCombination", {"AssociationId": "eipassoc-1", "PublicIp": address["PublicIp"]}),
        ("InvalidAddress.NotFound", {"PublicIp": "192.0.2.1"}),
        ("InvalidParameterValue", {"PublicIp": "rubbish"}),
    ):
        refused(tenant, code, "DisassociateAddress", **params)
    assert "AssociationId" not in tenant("DescribeAddresses")["Addresses"][0]


def test_release(tenant: Any, stranger: Any, refused: Any, touched: Any, cloud: Any) -> None:
    instance = tenant.run()["InstanceId"]
    address = tenant("AllocateAddress")
    for code, params in (
        ("MissingParameter", {}),
        ("InvalidParameterCombination", {"AllocationId": address["AllocationId"], "PublicIp": address["PublicIp"]}),
        ("InvalidAllocationID.NotFound", {"AllocationId": NO_ALLOCATION}),
        ("InvalidAddress.NotFound", {"PublicIp": "203.0.113.17"}),
        ("InvalidAddress.NotFound", {"AllocationId": address["AllocationId"], "NetworkBorderGroup": "mars"}),
    ):
        refused(tenant, code, "ReleaseAddress", **params)
    refused(stranger, "InvalidAllocationID.NotFound", "ReleaseAddress", AllocationId=address["AllocationId"])
    refused(stranger, "InvalidAddress.NotFound", "ReleaseAddress", PublicIp=address["PublicIp"])
    tenant("AssociateAddress", InstanceId=instance, AllocationId=address["AllocationId"])
    assert tenant("ReleaseAddress", AllocationId=address["AllocationId"]) == {}
    assert touched() == {("address", address["PublicIp"])}
    refused(tenant, "InvalidAllocationID.NotFound", "ReleaseAddress", AllocationId=address["AllocationId"])
    assert tenant("DescribeAddresses") == {"Addresses": []}
    assert "PublicIpAddress" not in tenant("DescribeInstances")["Reservations"][0]["Instances"][0]


def test_release_outside_the_default_vpc_needs_a_disassociation(tenant: Any, refused: Any) -> None:
    far = tenant.run(SubnetId=tenant.subnet(vpc=_vpc_with_group(tenant)).id)["NetworkInterfaces"][0]
    address = tenant("AllocateAddress")
    with tenant.store.engine.begin() as connection:
        connection.execute(
            update(addresses)
            .where(addresses.c.allocation == address["AllocationId"])
            .values(association="eipassoc-1", interface=far["NetworkInterfaceId"], private_ip=far["PrivateIpAddress"])
        )
    refused(tenant, "InvalidIPAddress.InUse", "ReleaseAddress", AllocationId=address["AllocationId"])


def test_describe(tenant: Any, stranger: Any, refused: Any) -> None:
    instance = tenant.run()
    one, two, three = (tenant("AllocateAddress") for _ in range(3))
    theirs = stranger("AllocateAddress")
    association = tenant("AssociateAddress", InstanceId=instance["InstanceId"], PublicIp=two["PublicIp"])

    def shown(**params: Any) -> list[str]:
        return [entry["PublicIp"] for entry in tenant("DescribeAddresses", **params)["Addresses"]]

    assert shown() == [one["PublicIp"], two["PublicIp"], three["PublicIp"]]
    union = {"PublicIps": [three["PublicIp"]], "AllocationIds": [one["AllocationId"]]}
    assert shown(**union) == [one["PublicIp"], three["PublicIp"]]
    for name, value, expected in (
        ("allocation-id", one["AllocationId"], [one]),
        ("association-id", association["AssociationId"], [two]),
        ("domain", "vpc", [one, two, three]),
        ("domain", "standard", []),
        ("instance-id", instance["InstanceId"], [two]),
        ("network-border-group", "us-east-1", [one, two, three]),
        ("network-interface-id", instance["NetworkInterfaces"][0]["NetworkInterfaceId"], [two]),
        ("network-interface-owner-id", tenant.account, [two]),
        ("private-ip-address", "172.31.0.*", [two]),
        ("public-ip", three["PublicIp"], [three]),
        ("public-ip", theirs["PublicIp"], []),
        ("public-ipv4-pool", "public", [one, two, three]),
        ("tag:Name", "*", []),
    ):
        assert shown(Filters=[{"Name": name, "Values": [value]}]) == [entry["PublicIp"] for entry in expected], name
    assert shown(Filters=[{"Name": "instance-id", "Values": [instance["InstanceId"]]}], **union) == []
    for code, params in (
        ("InvalidAddress.NotFound", {"PublicIps": [one["PublicIp"], "203.0.113.17"]}),
        ("InvalidAddress.NotFound", {"PublicIps": [theirs["PublicIp"]]}),
        ("InvalidAllocationID.NotFound", {"AllocationIds": [one["AllocationId"], NO_ALLOCATION]}),
        ("InvalidAllocationID.NotFound", {"AllocationIds": [theirs["AllocationId"]]}),
        ("InvalidParameterValue", {"PublicIps": ["rubbish"]}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
    ):
        refused(tenant, code, "DescribeAddresses", **params)


def test_statements_do_not_grow_with_addresses(tenant: Any, statements: Any) -> None:
    tenant("AllocateAddress")
    few = statements(lambda: tenant("DescribeAddresses"))
    for _ in range(4):
        tenant("AssociateAddress", InstanceId=tenant.run()["InstanceId"], **_pick(tenant("AllocateAddress")))
    assert statements(lambda: tenant("DescribeAddresses")) == few


def _pick(answer: dict[str, Any]) -> dict[str, Any]:
    return {"AllocationId": answer["AllocationId"]}
