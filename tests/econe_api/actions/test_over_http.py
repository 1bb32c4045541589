"""The actions behind the real application, called by boto3 and boto 2 over loopback."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import boto.ec2.connection
import boto.regioninfo
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import update

from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.pools import Pool
from econe_api.store.schema import instances
from econe_api.store.store import Store

HTTP = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


def _code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_the_main_job(ec2: Any, store: Store, states_of: Any) -> None:
    image = ec2.describe_images()["Images"][0]["ImageId"]
    group = ec2.create_security_group(GroupName="web", Description="web servers")["GroupId"]
    launched = ec2.run_instances(
        ImageId=image, InstanceType="m1.small", MinCount=1, MaxCount=1, SecurityGroupIds=[group], UserData="hello"
    )["Instances"][0]
    states_of("running", launched["InstanceId"])
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(InstanceId=launched["InstanceId"], AllocationId=address["AllocationId"])
    opened = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=HTTP)
    assert opened["SecurityGroupRules"][0]["CidrIpv4"] == "0.0.0.0/0"
    (seen,) = ec2.describe_instances(InstanceIds=[launched["InstanceId"]])["Reservations"][0]["Instances"]
    assert seen["PublicIpAddress"] == address["PublicIp"]
    assert seen["State"] == {"Code": 16, "Name": "running"}
    assert seen["LaunchTime"] == launched["LaunchTime"]
    assert seen["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"][0]["FromPort"] == 80
    closed = ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=HTTP)
    assert closed["Return"] is True
    ec2.modify_instance_attribute(
        InstanceId=launched["InstanceId"],
        Groups=[ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]],
    )
    ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])
    assert "AssociationId" not in ec2.describe_addresses()["Addresses"][0]
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_security_group(GroupId=group)


@pytest.fixture
def states_of(store: Store) -> Any:
    """What the compute worker does."""

    def put(state: str, *ids: str) -> None:
        ended = {"terminated": datetime.now(UTC)} if state == "terminated" else {}
        with store.engine.begin() as connection:
            connection.execute(update(instances).where(instances.c.id.in_(ids)).values(state=state, **ended))

    return put


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_describe_is_rendered(ec2: Any) -> None:
    assert ec2.describe_addresses()["Addresses"] == []
    tags = [{"Key": "Name", "Value": "x"}]
    specification = [{"ResourceType": "elastic-ip", "Tags": tags}]
    allocation = ec2.allocate_address(TagSpecifications=specification)["AllocationId"]
    ec2.create_tags(Resources=[allocation], Tags=[{"Key": "Owner", "Value": ""}])
    assert ec2.describe_addresses(Filters=[{"Name": "tag:Name", "Values": ["x"]}])["Addresses"][0]["Tags"][0] == tags[0]
    ec2.delete_tags(Resources=[allocation], Tags=tags)
    assert [tag["Key"] for tag in ec2.describe_tags()["Tags"]] == ["Owner"]
    with pytest.raises(ClientError, match="must contain the parameter resourceIdSet"):
        ec2.create_tags(Resources=[], Tags=tags)
    assert ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"] == "us-east-1a"
    assert ec2.describe_instance_types(InstanceTypes=["t2.nano"])["InstanceTypes"][0]["MemoryInfo"]["SizeInMiB"] == 512
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_regions()["Regions"][0]["RegionName"] == "us-east-1"
    assert len(ec2.describe_security_group_rules()["SecurityGroupRules"]) == 2
    for number in range(12):
        ec2.create_security_group(GroupName=f"g{number}", Description="x")
    pages = ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["SecurityGroups"]) for page in pages] == [5, 5, 3]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_errors_reach_the_client(ec2: Any, store: Store) -> None:
    group = ec2.create_security_group(GroupName="web", Description="x")["GroupId"]
    before = store.revision()
    with pytest.raises(ClientError) as caught:
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1}]
        )
    assert _code(caught) == ("MissingParameter", 400)
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(ImageId="ami-0123456789abcdef0", InstanceType="m5.xlarge", MinCount=9, MaxCount=9)
    assert _code(caught) == ("InsufficientInstanceCapacity", 500)
    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId=group, DryRun=True)
    assert _code(caught) == ("DryRunOperation", 412)
    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId="sg-00000000", DryRun=True)
    assert _code(caught) == ("InvalidGroup.NotFound", 400)
    assert store.revision() == before


@pytest.fixture
def other_account(client_for: Any, store: Store) -> Any:
    return client_for(create_account(store, "stranger"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_network_interfaces(ec2: Any, states_of: Any, other_account: Any) -> None:
    launched = ec2.run_instances(ImageId="ami-0123456789abcdef0", InstanceType="m5.large", MinCount=1, MaxCount=1)
    instance = launched["Instances"][0]
    states_of("stopped", instance["InstanceId"])  # nobody has to plug anything in
    made = ec2.create_network_interface(
        SubnetId=instance["SubnetId"],
        SecondaryPrivateIpAddressCount=1,
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "second"}]}],
    )["NetworkInterface"]
    interface = made["NetworkInterfaceId"]
    ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[interface])
    attachment = ec2.attach_network_interface(
        NetworkInterfaceId=interface, InstanceId=instance["InstanceId"], DeviceIndex=1
    )["AttachmentId"]
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=interface, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True}
    )
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Description={"Value": "words"})
    ec2.reset_network_interface_attribute(NetworkInterfaceId=interface, SourceDestCheck="true")
    shown = ec2.describe_network_interface_attribute(NetworkInterfaceId=interface, Attribute="attachment")
    assert shown["Attachment"]["DeleteOnTermination"] is True
    assigned = ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, SecondaryPrivateIpAddressCount=1)
    address = assigned["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    public = ec2.allocate_address()
    ec2.associate_address(AllocationId=public["AllocationId"], NetworkInterfaceId=interface, PrivateIpAddress=address)
    pages = ec2.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5})
    found = {one["NetworkInterfaceId"]: one for page in pages for one in page["NetworkInterfaces"]}
    assert len(found) == 2
    assert found[interface]["TagSet"] == [{"Key": "Name", "Value": "second"}]
    assert found[interface]["Description"] == "words"
    assert [one["Primary"] for one in found[interface]["PrivateIpAddresses"]] == [True, False, False]
    assert found[interface]["PrivateIpAddresses"][2]["Association"]["PublicIp"] == public["PublicIp"]
    own = ec2.describe_instances()["Reservations"][0]["Instances"][0]["NetworkInterfaces"]
    assert [one["Attachment"]["DeviceIndex"] for one in own] == [0, 1]

    mine = {"NetworkInterfaceId": interface}
    for code, action, params in (
        ("InvalidParameterValue", "delete_network_interface", mine),
        ("OperationNotPermitted", "detach_network_interface", {"AttachmentId": own[0]["Attachment"]["AttachmentId"]}),
        ("InvalidParameterValue", "unassign_private_ip_addresses", mine | {"PrivateIpAddresses": ["172.31.0.250"]}),
        ("InvalidParameterValue", "assign_ipv6_addresses", mine | {"Ipv6AddressCount": 1}),
        ("InvalidParameterValue", "unassign_ipv6_addresses", mine | {"Ipv6Addresses": ["fd00::1"]}),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(ec2, action)(**params)
        assert _code(caught) == (code, 400)
        # To another account it is not there, whatever it is asked to do.
        with pytest.raises(ClientError) as caught:
            getattr(other_account, action)(**params)
        assert _code(caught)[0] in ("InvalidNetworkInterfaceID.NotFound", "InvalidAttachmentID.NotFound")
    assert other_account.describe_network_interfaces()["NetworkInterfaces"] == []

    ec2.unassign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=[address])
    ec2.detach_network_interface(AttachmentId=attachment)
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    assert "NetworkInterfaceId" not in ec2.describe_addresses()["Addresses"][0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_script_of_2012(port: int, account: NewAccount, pool: Pool, states_of: Any) -> None:
    connection = boto.ec2.connection.EC2Connection(
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret,
        is_secure=False,
        port=port,
        path="/services/Cloud/",
        region=boto.regioninfo.RegionInfo(name="us-east-1", endpoint="127.0.0.1"),
    )
    group = connection.create_security_group("web", "web servers")
    image = connection.get_all_images()[0]
    reservation = image.run(instance_type="m1.small", security_groups=[group.id])
    instance = reservation.instances[0]
    states_of("running", instance.id)
    assert instance.update() == "running"
    assert [member.id for member in instance.groups] == [group.id]
    assert group.authorize("tcp", 80, 80, "0.0.0.0/0")
    address = connection.allocate_address()
    assert connection.associate_address(instance.id, address.public_ip)
    instance.update()
    assert instance.ip_address == address.public_ip
    with pytest.raises(boto.exception.EC2ResponseError) as caught:
        group.authorize("tcp", 22, 22)
    assert (caught.value.error_code, caught.value.status) == ("MissingParameter", 400)
    assert connection.get_all_security_groups(["web"])[0].rules[0].grants[0].cidr_ip == "0.0.0.0/0"
    assert connection.disassociate_address(address.public_ip)
    assert address.release()
    assert group.revoke("tcp", 80, 80, "0.0.0.0/0")
    assert [ended.id for ended in connection.terminate_instances([instance.id])] == [instance.id]
    assert group.delete()


def test_states_attributes_and_keys(ec2: Any, states_of: Any) -> None:
    key = ec2.create_key_pair(KeyName="mine", KeyType="ed25519")
    assert "PRIVATE KEY" in key["KeyMaterial"]
    (shown,) = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    imported = ec2.import_key_pair(KeyName="again", PublicKeyMaterial=shown["PublicKey"].encode())
    assert imported["KeyFingerprint"] == key["KeyFingerprint"]
    launched = ec2.run_instances(
        ImageId=ec2.describe_images()["Images"][0]["ImageId"],
        InstanceType="t2.nano",
        MinCount=1,
        MaxCount=1,
        KeyName="mine",
        DisableApiTermination=True,
        Monitoring={"Enabled": True},
    )["Instances"][0]
    named = {"InstanceIds": [launched["InstanceId"]]}
    one = {"InstanceId": launched["InstanceId"]}
    for state, waiter in (("pending", "instance_exists"), ("running", "instance_running")):
        states_of(state, launched["InstanceId"])
        ec2.get_waiter(waiter).wait(**named)
    assert ec2.stop_instances(**named)["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
    states_of("stopped", launched["InstanceId"])
    ec2.get_waiter("instance_stopped").wait(**named)
    ec2.modify_instance_attribute(**one, UserData={"Value": b"#!/bin/sh\n"})
    ec2.modify_instance_attribute(**one, Attribute="instanceType", Value="t2.micro")
    data = ec2.describe_instance_attribute(**one, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data) == b"#!/bin/sh\n"
    assert ec2.describe_instance_attribute(**one, Attribute="instanceType")["InstanceType"] == {"Value": "t2.micro"}
    assert ec2.describe_instance_attribute(**one, Attribute="groupSet")["Groups"][0]["GroupName"] == "default"
    assert ec2.start_instances(**named)["StartingInstances"][0]["PreviousState"]["Name"] == "stopped"
    states_of("running", launched["InstanceId"])
    ec2.reboot_instances(**named)
    assert ec2.unmonitor_instances(**named)["InstanceMonitorings"][0]["Monitoring"] == {"State": "disabled"}
    (status,) = ec2.describe_instance_status(**named)["InstanceStatuses"]
    assert status["SystemStatus"]["Details"] == [{"Name": "reachability", "Status": "insufficient-data"}]
    assert ec2.get_console_output(**one)["InstanceId"] == launched["InstanceId"]
    assert ec2.get_password_data(**one)["PasswordData"] == ""
    with pytest.raises(ClientError) as caught:
        ec2.terminate_instances(**named)
    assert _code(caught) == ("OperationNotPermitted", 400)
    ec2.modify_instance_attribute(**one, DisableApiTermination={"Value": False})
    ec2.terminate_instances(**named)
    states_of("terminated", launched["InstanceId"])
    ec2.get_waiter("instance_terminated").wait(**named)
    assert ec2.delete_key_pair(KeyName="mine")["KeyPairId"] == key["KeyPairId"]
    assert ec2.delete_key_pair(KeyName="mine")["Return"] is True


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_instances_of_2012(port: int, account: NewAccount, states_of: Any) -> None:
    connection = boto.ec2.connection.EC2Connection(
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret,
        is_secure=False,
        port=port,
        path="/",
        region=boto.regioninfo.RegionInfo(name="us-east-1", endpoint="127.0.0.1"),
    )
    key = connection.create_key_pair("mine")
    assert key.material.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert [known.fingerprint for known in connection.get_all_key_pairs(["mine"])] == [key.fingerprint]
    image = connection.get_all_images(owners=["amazon"])[0]
    instance = image.run(instance_type="t2.nano", key_name="mine", monitoring_enabled=True).instances[0]
    states_of("running", instance.id)
    assert instance.update() == "running"
    assert (instance.root_device_type, instance.hypervisor, instance.monitored) == ("ebs", "xen", True)
    assert instance.modify_attribute("disableApiTermination", True)
    assert instance.get_attribute("disableApiTermination")["disableApiTermination"] is True
    assert instance.modify_attribute("disableApiTermination", False)
    instance.stop(force=True)
    assert instance.state == "stopping"
    states_of("stopped", instance.id)
    assert instance.modify_attribute("instanceType", "t2.micro")
    assert instance.get_attribute("instanceType")["instanceType"] == "t2.micro"
    instance.start()
    states_of("running", instance.id)
    assert instance.reboot()
    assert connection.get_all_instance_status([instance.id])[0].system_status.status == "insufficient-data"
    assert connection.get_all_volumes() == connection.get_all_snapshots() == []
    instance.terminate()
    assert key.delete()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_kind_that_there_is_none_of_is_rendered(ec2: Any) -> None:
    for call, member in (
        (ec2.describe_volumes, "Volumes"),
        (ec2.describe_volume_status, "VolumeStatuses"),
        (ec2.describe_snapshots, "Snapshots"),
        (ec2.describe_placement_groups, "PlacementGroups"),
        (ec2.describe_launch_templates, "LaunchTemplates"),
        (ec2.describe_spot_instance_requests, "SpotInstanceRequests"),
        (ec2.describe_reserved_instances, "ReservedInstances"),
        (ec2.describe_iam_instance_profile_associations, "IamInstanceProfileAssociations"),
        (ec2.describe_instance_credit_specifications, "InstanceCreditSpecifications"),
    ):
        assert call()[member] == []
    assert ec2.describe_instance_event_notification_attributes()["InstanceTagAttribute"]["InstanceTagKeys"] == []
    assert ec2.describe_instance_type_offerings(LocationType="availability-zone")["InstanceTypeOfferings"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    answer = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert answer["LaunchPermissions"] == [{"Group": "all"}]
    (size,) = ec2.describe_instance_types(InstanceTypes=["t2.nano"])["InstanceTypes"]
    assert size["VCpuInfo"]["ValidThreadsPerCore"] == [1]
    with pytest.raises(ClientError) as caught:
        ec2.create_image(InstanceId="i-00000000", Name="xyz")
    assert _code(caught) == ("UnsupportedOperation", 400)
