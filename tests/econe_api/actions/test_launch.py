"""RunInstances."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select

from econe_api.config import InstanceType
from econe_api.store import hosts
from econe_api.store.quotas import GROUPS_PER_INTERFACE, INSTANCES, set_quota
from econe_api.store.schema import instances, interfaces

NO_GROUP = "sg-0000000000000dead"


def _asked(tenant: Any, **params: Any) -> dict[str, Any]:
    image = tenant.store.config.images[0].id
    return {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1} | params


def test_a_launch(tenant: Any, touched: Any, clock: Any) -> None:
    tenant("CreateKeyPair", KeyName="key", KeyType="ed25519")
    answer = tenant("RunInstances", **_asked(tenant, MinCount=2, MaxCount=2, KeyName="key", ClientToken="token"))
    assert answer["ReservationId"].startswith("r-")
    assert answer["OwnerId"] == tenant.account
    first, second = answer["Instances"]
    assert [first["AmiLaunchIndex"], second["AmiLaunchIndex"]] == [0, 1]
    interface = first["NetworkInterfaces"][0]
    assert re.fullmatch("02(:[0-9a-f]{2}){5}", interface["MacAddress"])
    assert interface["MacAddress"] != second["NetworkInterfaces"][0]["MacAddress"]
    assert touched() == {("interface", item["NetworkInterfaces"][0]["NetworkInterfaceId"]) for item in (first, second)}
    subnet, default = tenant.subnet(), [{"GroupId": tenant.default_group(), "GroupName": "default"}]
    assert [first["PrivateIpAddress"], second["PrivateIpAddress"]] == ["172.31.0.4", "172.31.0.5"]
    assert first == {
        "InstanceId": first["InstanceId"],
        "ImageId": tenant.store.config.images[0].id,
        "InstanceType": "t2.nano",
        "State": {"Code": 0, "Name": "pending"},
        "StateTransitionReason": "",
        "KeyName": "key",
        "ClientToken": "token",
        "AmiLaunchIndex": 0,
        "LaunchTime": clock.now,
        "Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "", "Tenancy": "default"},
        "Monitoring": {"State": "disabled"},
        "PrivateDnsName": "ip-172-31-0-4.ec2.internal",
        "PublicDnsName": "",
        "ProductCodes": [],
        "Architecture": "x86_64",
        "Hypervisor": "xen",
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "EnaSupport": False,
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "CurrentInstanceBootMode": "legacy-bios",
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "HibernationOptions": {"Configured": False},
        "EnclaveOptions": {"Enabled": False},
        "MaintenanceOptions": {"AutoRecovery": "default"},
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "BlockDeviceMappings": [],
        "VirtualizationType": "hvm",
        "EbsOptimized": False,
        "MetadataOptions": {
            "State": "applied",
            "HttpTokens": "optional",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "disabled",
            "InstanceMetadataTags": "disabled",
        },
        "VpcId": subnet.vpc,
        "SubnetId": subnet.id,
        "PrivateIpAddress": "172.31.0.4",
        "SourceDestCheck": True,
        "SecurityGroups": default,
        "NetworkInterfaces": [
            {
                "NetworkInterfaceId": interface["NetworkInterfaceId"],
                "MacAddress": interface["MacAddress"],
                "SubnetId": subnet.id,
                "VpcId": subnet.vpc,
                "Description": "",
                "OwnerId": tenant.account,
                "Status": "in-use",
                "PrivateIpAddress": "172.31.0.4",
                "SourceDestCheck": True,
                "Groups": default,
                "InterfaceType": "interface",
                "Ipv6Addresses": [],
                "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": "172.31.0.4"}],
                "Attachment": {
                    "AttachmentId": interface["Attachment"]["AttachmentId"],
                    "DeviceIndex": 0,
                    "Status": "attaching",
                    "AttachTime": clock.now,
                    "DeleteOnTermination": True,
                    "NetworkCardIndex": 0,
                },
            }
        ],
    }
    shown = tenant("DescribeInstances")["Reservations"]
    assert shown == [answer | {"Groups": []}]


def test_the_default_size(tenant: Any) -> None:
    asked = _asked(tenant)
    del asked["InstanceType"]
    assert tenant("RunInstances", **asked)["Instances"][0]["InstanceType"] == "m1.small"


def test_refused_launches(tenant: Any, stranger: Any, refused: Any) -> None:
    subnet, mine = tenant.subnet(), tenant.group("mine")
    far_vpc = tenant.second_vpc()
    far = tenant.group("far", VpcId=far_vpc)
    used = tenant.run()["PrivateIpAddress"]
    nic = {"DeviceIndex": 0, "SubnetId": subnet.id}
    six = [tenant.group(f"g{number}") for number in range(6)]
    stranger("CreateKeyPair", KeyName="theirs", KeyType="ed25519")
    for code, params in (
        ("MissingParameter", {"ImageId": None}),
        ("MissingParameter", {"MinCount": None}),
        ("MissingParameter", {"MaxCount": None}),
        ("InvalidParameterValue", {"MinCount": 0}),
        ("InvalidParameterValue", {"MinCount": 2}),
        ("InvalidAMIID.NotFound", {"ImageId": "ami-00000000"}),
        ("InvalidAMIID.Malformed", {"ImageId": "debian"}),
        ("InvalidParameterValue", {"InstanceType": "t99.huge"}),
        ("InvalidParameterValue", {"Placement": {"AvailabilityZone": "mars-1a"}}),
        ("InvalidParameterValue", {"Placement": {"AvailabilityZone": "us-east-1b"}, "SubnetId": subnet.id}),
        ("UnsupportedOperation", {"Placement": {"HostId": "h-1"}}),
        ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000"}),
        ("InvalidSubnetID.NotFound", {"SubnetId": stranger.subnet().id}),
        ("InvalidGroup.NotFound", {"SecurityGroupIds": [NO_GROUP]}),
        ("InvalidGroup.NotFound", {"SecurityGroups": ["nobody"]}),
        ("InvalidGroup.NotFound", {"SecurityGroups": [NO_GROUP]}),
        ("InvalidGroup.NotFound", {"SecurityGroupIds": [stranger.group("theirs")]}),
        ("InvalidGroupId.Malformed", {"SecurityGroupIds": ["mine"]}),
        ("InvalidParameterValue", {"SecurityGroups": ["far"]}),
        ("InvalidParameter", {"SecurityGroupIds": [far]}),
        ("InvalidParameter", {"SecurityGroupIds": [mine], "SubnetId": tenant.subnet(vpc=far_vpc).id}),
        ("SecurityGroupsPerInterfaceLimitExceeded", {"SecurityGroupIds": six}),
        ("InvalidParameterValue", {"PrivateIpAddress": "10.0.0.9"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.16.9", "Placement": {"AvailabilityZone": subnet.zone}}),
        ("InvalidParameterCombination", {"PrivateIpAddress": "172.31.0.9", "SubnetId": subnet.id, "MaxCount": 2}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31", "SubnetId": subnet.id}),
        ("InvalidParameterValue", {"PrivateIpAddress": "10.0.0.9", "SubnetId": subnet.id}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.0.3", "SubnetId": subnet.id}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.15.255", "SubnetId": subnet.id}),
        ("InvalidIPAddress.InUse", {"PrivateIpAddress": used, "SubnetId": subnet.id}),
        ("InvalidUserData.Malformed", {"UserData": "%"}),
        ("InvalidParameterValue", {"UserData": base64.b64encode(bytes(16 * 1024 + 1)).decode()}),
        ("InvalidParameterValue", {"ClientToken": "x" * 65}),
        ("InvalidParameterCombination", {"NetworkInterfaces": [nic], "SubnetId": subnet.id}),
        ("InvalidParameterCombination", {"NetworkInterfaces": [nic], "SecurityGroupIds": [mine]}),
        ("InvalidParameterCombination", {"NetworkInterfaces": [nic], "SecurityGroups": ["mine"]}),
        ("InvalidParameterCombination", {"NetworkInterfaces": [nic], "PrivateIpAddress": "172.31.0.9"}),
        ("InvalidParameterValue", {"NetworkInterfaces": [nic | {"DeviceIndex": 1}]}),
        ("UnsupportedOperation", {"NetworkInterfaces": [nic | {"AssociatePublicIpAddress": True}]}),
        ("UnsupportedOperation", {"Ipv6AddressCount": 1}),
        ("UnsupportedOperation", {"LaunchTemplate": {"LaunchTemplateName": "x"}}),
        ("InvalidKeyPair.NotFound", {"KeyName": "absent"}),
        ("InvalidKeyPair.NotFound", {"KeyName": "theirs"}),
        ("InvalidParameterValue", {"InstanceInitiatedShutdownBehavior": "explode"}),
        ("InvalidParameterValue", {"IamInstanceProfile": {"Name": "admin"}}),
        ("UnsupportedOperation", {"EbsOptimized": True}),
        ("UnsupportedOperation", {"HibernationOptions": {"Configured": True}}),
        ("UnsupportedOperation", {"EnclaveOptions": {"Enabled": True}}),
        ("UnsupportedOperation", {"CpuOptions": {"CoreCount": 64}}),
        ("UnsupportedOperation", {"InstanceMarketOptions": {"MarketType": "spot"}}),
        ("UnsupportedOperation", {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 8}}]}),
        ("UnsupportedOperation", {"Placement": {"GroupName": "rack"}}),
    ):
        refused(tenant, code, "RunInstances", **_asked(tenant, **params))


def test_what_is_so_anyway_may_be_asked_for(tenant: Any) -> None:
    tenant.run(
        DisableApiTermination=False,
        EbsOptimized=False,
        EnablePrimaryIpv6=False,
        Placement={"Tenancy": "default", "GroupName": ""},
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": True}},
            {"DeviceName": "/dev/sdb", "NoDevice": ""},
            {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},
        ],
        CapacityReservationSpecification={"CapacityReservationPreference": "open"},
        CpuOptions={"CoreCount": 1, "ThreadsPerCore": 1},
        CreditSpecification={"CpuCredits": "unlimited"},
        EnclaveOptions={"Enabled": False},
        HibernationOptions={"Configured": False},
        MaintenanceOptions={"AutoRecovery": "default"},
        PrivateDnsNameOptions={"HostnameType": "ip-name", "EnableResourceNameDnsARecord": False},
        NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": False, "DeleteOnTermination": True}],
    )


def test_groups_by_id_by_name_and_by_id_in_the_name_slot(tenant: Any) -> None:
    web, db = tenant.group("web"), tenant.group("db")
    for params in (
        {"SecurityGroupIds": [web, db, web]},
        {"SecurityGroups": ["web", "db"]},
        {"SecurityGroups": [web, db]},
        {"SecurityGroupIds": [web], "SecurityGroups": ["db"]},
        {"NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [db, web]}]},
    ):
        groups = tenant.run(**params)["SecurityGroups"]
        assert {group["GroupId"] for group in groups} == {web, db}
        assert len(groups) == 2


def test_zone_subnet_and_address(tenant: Any, refused: Any) -> None:
    there = tenant.subnet("us-east-1b")
    by_zone = tenant.run(Placement={"AvailabilityZone": "us-east-1b"})
    assert by_zone["SubnetId"] == there.id
    assert by_zone["Placement"]["AvailabilityZone"] == "us-east-1b"
    by_subnet = tenant.run(SubnetId=there.id, PrivateIpAddress="172.31.16.9")
    assert (by_subnet["SubnetId"], by_subnet["PrivateIpAddress"]) == (there.id, "172.31.16.9")
    by_interface = tenant.run(
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": there.id, "PrivateIpAddress": "172.31.16.7"}]
    )
    assert (by_interface["SubnetId"], by_interface["PrivateIpAddress"]) == (there.id, "172.31.16.7")
    by_address = tenant.run(PrivateIpAddress="172.31.16.8")
    assert (by_address["SubnetId"], by_address["PrivateIpAddress"]) == (there.id, "172.31.16.8")
    free = [tenant.run(SubnetId=there.id)["PrivateIpAddress"] for _ in range(4)]
    assert free == ["172.31.16.5", "172.31.16.6", "172.31.16.10", "172.31.16.11"]  # .4 is by_zone's


def _hosts(tenant: Any) -> Counter[str]:
    with tenant.store.engine.connect() as connection:
        return Counter(connection.scalars(select(instances.c.host).where(instances.c.state != "terminated")))


def test_instances_are_spread(tenant: Any, reconfigure: Any, cloud: Any) -> None:
    same_zone = tuple(replace(host, zone="us-east-1a") for host in cloud.config.hypervisors)
    reconfigure(hypervisors=same_zone)
    for _ in range(4):
        tenant.run()
    assert _hosts(tenant) == {"hv1": 2, "hv2": 2}


def test_zones_are_spread(tenant: Any) -> None:
    for _ in range(4):
        tenant.run()
    assert _hosts(tenant) == {"hv1": 2, "hv2": 2}


def test_capacity(tenant: Any, stranger: Any, refused: Any, reconfigure: Any, cloud: Any, states: Any) -> None:
    reconfigure(
        hypervisors=tuple(replace(host, memory_mib=1024, vcpus=4) for host in cloud.config.hypervisors),
        instance_types=(*cloud.config.instance_types, InstanceType("flat", 4, 1)),
    )
    zone = {"Placement": {"AvailabilityZone": "us-east-1a"}}
    error = refused(
        tenant,
        "InsufficientInstanceCapacity",
        "RunInstances",
        status=500,
        **_asked(tenant, MinCount=3, MaxCount=3, **zone),
    )
    assert "t2.nano" in error.message
    assert "us-east-1a" in error.message
    # As many as there is room for, at least MinCount; other accounts' instances count.
    ids = [item["InstanceId"] for item in tenant("RunInstances", **_asked(tenant, MaxCount=9, **zone))["Instances"]]
    assert len(ids) == 2
    refused(stranger, "InsufficientInstanceCapacity", "RunInstances", status=500, **_asked(stranger, **zone))
    stranger.run()  # the other zone has room
    tenant("TerminateInstances", InstanceIds=ids)
    refused(tenant, "InsufficientInstanceCapacity", "RunInstances", status=500, **_asked(tenant, **zone))
    states("terminated", *ids)
    tenant.run(InstanceType="flat", **zone)
    refused(tenant, "InsufficientInstanceCapacity", "RunInstances", status=500, **_asked(tenant, **zone))


def test_instance_limit(tenant: Any, refused: Any, cloud: Any) -> None:
    set_quota(cloud, tenant.account, INSTANCES, 3)
    tenant.run()
    refused(tenant, "InstanceLimitExceeded", "RunInstances", **_asked(tenant, MinCount=3, MaxCount=3))
    ids = [item["InstanceId"] for item in tenant("RunInstances", **_asked(tenant, MaxCount=5))["Instances"]]
    assert len(ids) == 2
    tenant("TerminateInstances", InstanceIds=ids[:1])
    tenant.run()


def test_groups_limit_is_a_quota(tenant: Any, refused: Any, cloud: Any) -> None:
    set_quota(cloud, tenant.account, GROUPS_PER_INTERFACE, 1)
    two = [tenant.group("one"), tenant.group("two")]
    refused(
        tenant,
        "SecurityGroupsPerInterfaceLimitExceeded",
        "RunInstances",
        **_asked(tenant, NetworkInterfaces=[{"DeviceIndex": 0, "Groups": two}]),
    )


def test_addresses_of_a_small_subnet(tenant: Any, refused: Any, reconfigure: Any, cloud: Any) -> None:
    reconfigure(hypervisors=tuple(replace(host, vcpus=64) for host in cloud.config.hypervisors))
    vpc = tenant.second_vpc()
    group, subnet = tenant.group("far", VpcId=vpc), tenant.subnet(vpc=vpc)
    there = {"SubnetId": subnet.id, "SecurityGroupIds": [group]}
    first = tenant("RunInstances", **_asked(tenant, MinCount=6, MaxCount=6, **there))["Instances"]
    assert [item["PrivateIpAddress"] for item in first] == [f"10.1.0.{last}" for last in range(4, 10)]
    refused(
        tenant, "InsufficientFreeAddressesInSubnet", "RunInstances", **_asked(tenant, MinCount=6, MaxCount=6, **there)
    )
    second = tenant("RunInstances", **_asked(tenant, MaxCount=6, **there))["Instances"]
    assert [item["PrivateIpAddress"] for item in second] == [f"10.1.0.{last}" for last in range(10, 15)]
    tenant("TerminateInstances", InstanceIds=[first[2]["InstanceId"]])
    assert tenant.run(**there)["PrivateIpAddress"] == "10.1.0.6"


def test_a_zone_without_subnet(tenant: Any, refused: Any, reconfigure: Any, cloud: Any) -> None:
    first, *rest = cloud.config.hypervisors
    reconfigure(hypervisors=(replace(first, zone="us-east-1z"), *rest))
    refused(tenant, "InvalidInput", "RunInstances", **_asked(tenant, Placement={"AvailabilityZone": "us-east-1z"}))


def test_client_token(tenant: Any, stranger: Any, refused: Any, dump: Any, clock: Any) -> None:
    asked = _asked(tenant, ClientToken="once", MaxCount=2)
    first = tenant("RunInstances", **asked)
    before = {name: rows for name, rows in dump().items() if name != "audit"}
    assert tenant("RunInstances", **asked) == first
    assert {name: rows for name, rows in dump().items() if name != "audit"} == before
    refused(tenant, "IdempotentParameterMismatch", "RunInstances", **asked | {"MaxCount": 1})
    refused(tenant, "IdempotentParameterMismatch", "RunInstances", **asked | {"InstanceType": "t2.micro"})
    assert stranger("RunInstances", **asked)["ReservationId"] != first["ReservationId"]
    tenant("TerminateInstances", InstanceIds=[item["InstanceId"] for item in first["Instances"]])
    again = tenant("RunInstances", **asked)
    assert {item["State"]["Name"] for item in again["Instances"]} == {"shutting-down"}
    clock.advance(hours=49)
    assert tenant("RunInstances", **asked)["ReservationId"] != first["ReservationId"]


def test_user_data_is_kept(tenant: Any) -> None:
    text = base64.b64encode(b"#!/bin/sh\n").decode()
    instance = tenant.run(UserData=text)["InstanceId"]
    with tenant.store.engine.connect() as connection:
        query = select(instances.c.user_data).where(instances.c.id == instance)
        assert connection.scalar(query) == text


def test_statements_do_not_grow_with_instances(tenant: Any, statements: Any) -> None:
    group = tenant.group()
    one = statements(lambda: tenant("RunInstances", **_asked(tenant, SecurityGroupIds=[group])))
    many = statements(lambda: tenant("RunInstances", **_asked(tenant, SecurityGroupIds=[group], MaxCount=8)))
    assert many == one


def test_no_mac_is_given_twice(tenant: Any, monkeypatch: Any) -> None:
    drawn = [bytes([0, 0, 0, 0, last]) for last in (1, 1, 1, 2)]
    dice = SimpleNamespace(token_bytes=lambda _size: drawn.pop(0))
    monkeypatch.setattr("econe_api.actions.new_interfaces.secrets", dice)
    tenant.run()
    tenant.run()
    with tenant.store.engine.connect() as connection:
        macs = set(connection.scalars(select(interfaces.c.mac)))
    assert macs == {"02:00:00:00:00:01", "02:00:00:00:00:02"}


def test_nothing_new_comes_to_a_host_that_is_drained(tenant: Any, refused: Any) -> None:
    hosts.drain(tenant.store, "hv1", draining=True)
    answer = tenant("RunInstances", **_asked(tenant, MinCount=3, MaxCount=3))
    assert {item["Placement"]["AvailabilityZone"] for item in answer["Instances"]} == {"us-east-1b"}
    hosts.drain(tenant.store, "hv2", draining=True)
    refused(tenant, "InsufficientInstanceCapacity", "RunInstances", status=500, **_asked(tenant))
    hosts.drain(tenant.store, "hv1", draining=False)
    answer = tenant("RunInstances", **_asked(tenant))
    assert answer["Instances"][0]["Placement"]["AvailabilityZone"] == "us-east-1a"
